"""Makes training pairs from photographs of people: each garment is cut out of the person's own photograph."""

import shutil
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as PillowImage

from config.errors import InputValidationError
from worker.images.arrays import Canvas, Image, Labels, Mask
from worker.images.frame import HEIGHT, WIDTH
from worker.lab.evaluation.samples import people
from worker.viton_hd.labels import SEGMENTATION

BACKGROUND = 246
"""The grey level of the background of VITON-HD's garment pictures."""

_GARMENT_SHARE = 0.8
"""Share of the canvas, along the limiting side, that the enlarged garment takes."""

_JPEG_QUALITY = 95
"""Little loss: the pictures are training data."""

_COPIED_PARTS = ("image", "image-parse", "openpose-json", "openpose-img")


def make_pairs(source: Path, target: Path) -> int:
    """Write a folder laid out as VITON-HD with a garment for each person of another; return their number.

    The garment is the region of the parse's upper garment labels, moved to the middle of the canvas and
    enlarged, so that matching has a warp to learn. The garment lacks what an arm or hair occludes in the
    photograph: such pairs show that a network learns, and do not train one for real use.

    Args:
        source: with `image`, `image-parse`, `openpose-json` and `openpose-img`.
        target: a folder that does not exist yet.

    Raises InputValidationError when the target exists, or a person has no upper garment in the parse.
    """
    if target.exists():
        raise InputValidationError(f"{target} exists already: name a new folder.", input=str(target))
    garments = [
        (person.name, *_cut_out(person.name, person.photo, person.parse)) for person in people(source)
    ]
    for part in _COPIED_PARTS:
        shutil.copytree(source / part, target / part)
    for part in ("cloth", "cloth-mask"):
        (target / part).mkdir()
    for name, garment, mask in garments:
        for part, picture in (("cloth", garment), ("cloth-mask", mask)):
            PillowImage.fromarray(picture).save(target / part / f"{name}.jpg", quality=_JPEG_QUALITY)
    return len(garments)


def _cut_out(name: str, photo: Image, parse: Labels) -> tuple[Canvas, Mask]:
    """Return the garment, RGB uint8 (1024, 768, 3), and its mask, uint8 (1024, 768) of 0 and 255."""
    worn = np.isin(parse, SEGMENTATION["upper"]).astype(np.uint8)
    if not worn.any():
        raise InputValidationError(f"The person {name} has no upper garment in the parse.", input=name)
    left, top, width, height = cv2.boundingRect(worn)
    scale = _GARMENT_SHARE * min(WIDTH / width, HEIGHT / height)
    matrix = np.array(
        [
            [scale, 0, WIDTH / 2 - scale * (left + width / 2)],
            [0, scale, HEIGHT / 2 - scale * (top + height / 2)],
        ]
    )
    mask = cv2.warpAffine(worn * 255, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_NEAREST)
    garment = cv2.warpAffine(photo, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)
    on_background = np.where(mask[..., None] > 0, garment, np.uint8(BACKGROUND))
    return np.asarray(on_background, np.uint8), np.asarray(mask, np.uint8)
