"""Pairs out of people alone, to try training out: each with a garment cut out of their own photograph."""

import shutil
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from config.errors import InputValidationError
from worker.images.frame import HEIGHT, WIDTH
from worker.lab.evaluation.samples import people
from worker.viton_hd.labels import SEGMENTATION

BACKGROUND = 246
"""The grey that VITON-HD's garments lie on."""

_FILLED = 0.8  # part of the canvas, in one direction, that the garment takes up
_KEPT = ("image", "image-parse", "openpose-json", "openpose-img")


def make_pairs(source: Path, target: Path) -> int:
    """Write a folder laid out as VITON-HD with a garment for each person of another; return how many.

    The garment is what the parse calls so, moved to the middle of the canvas and enlarged: matching has
    something to undo. What covers it on the person is missing in it, so such pairs teach no network to dress
    anybody; they show that one learns.

    Args:
        source: with `image`, `image-parse`, `openpose-json` and `openpose-img`.
        target: a folder that is not there yet.

    Raises InputValidationError when the target is there, or a person wears no garment in the parse.
    """
    if target.exists():
        raise InputValidationError(f"{target} is there already: name a new folder.", input=str(target))
    made = [(person.name, *_cut_out(person.name, person.photo, person.parse)) for person in people(source)]
    for part in _KEPT:
        shutil.copytree(source / part, target / part)
    for part in ("cloth", "cloth-mask"):
        (target / part).mkdir()
    for name, garment, mask in made:
        Image.fromarray(garment).save(target / "cloth" / f"{name}.jpg", quality=95)
        Image.fromarray(mask).save(target / "cloth-mask" / f"{name}.jpg", quality=95)
    return len(made)


def _cut_out(name: str, photo: np.ndarray, parse: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the garment, RGB uint8 (1024, 768, 3), and its mask, uint8 (1024, 768) of 0 and 255."""
    worn = np.isin(parse, SEGMENTATION["upper"]).astype(np.uint8)
    if not worn.any():
        raise InputValidationError(f"The person {name} wears no upper garment in the parse.", input=name)
    left, top, width, height = cv2.boundingRect(worn)
    scale = _FILLED * min(WIDTH / width, HEIGHT / height)
    matrix = np.array(
        [
            [scale, 0, WIDTH / 2 - scale * (left + width / 2)],
            [0, scale, HEIGHT / 2 - scale * (top + height / 2)],
        ]
    )
    mask = cv2.warpAffine(worn * 255, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_NEAREST)
    moved = cv2.warpAffine(photo, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)
    return np.where(mask[..., None] > 0, moved, np.uint8(BACKGROUND)), mask
