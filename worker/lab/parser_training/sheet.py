"""A contact sheet of a data set: pictures beside their coloured labels, for visual inspection."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image as PillowImage

from config.errors import InputValidationError
from worker.images.arrays import Image
from worker.lab.demo.sheet import Panel, sheet
from worker.parsing.classes import LABELS, SIDED, Class
from worker.parsing.palette import colourise

_BAG_COLOUR = (128, 128, 128)
"""CIHP has no label and no colour for bags."""

_LABEL_OPACITY = 0.65


def contact_sheet(data: Path, subset: str = "train", pictures: int = 48, seed: int = 0) -> Image:
    """Return randomly selected pictures of a subset of the data set, RGB uint8.

    Args:
        data: the data set's folder, from `dataset.build`.
        subset: train, val or test.
        pictures: how many.
        seed: of the selection.

    Raises InputValidationError when the folder contains none.
    """
    files = sorted((data / "images" / subset).glob("*.jpg"))
    if not files:
        raise InputValidationError(
            f"{data} contains no {subset} pictures: build the data set first with `tryon parser dataset`.",
            input=str(data),
        )
    selected = np.random.default_rng(seed).choice(len(files), min(pictures, len(files)), replace=False)
    return sheet([_panel(files[number]) for number in sorted(selected)], columns=6)


def _panel(file: Path) -> Panel:
    image = np.asarray(PillowImage.open(file))
    label_file = file.parents[2] / "labels" / file.parent.name / f"{file.stem}.txt"
    colours = np.zeros_like(image)
    labelled = np.zeros(image.shape[:2], np.uint8)
    # Larger instances come first; the ones in front are drawn over them, as in training.
    for line in label_file.read_text().splitlines():
        kind, *numbers = line.split()
        points = np.array(numbers, np.float64).reshape(-1, 2) * image.shape[1::-1]
        polygon = points.round().astype(np.int32)
        cv2.fillPoly(colours, [polygon], _colour(Class(int(kind))))
        cv2.fillPoly(labelled, [polygon], 1)
    blended = (1 - _LABEL_OPACITY) * image + _LABEL_OPACITY * colours
    shown = np.where(labelled[..., None] > 0, blended, image).astype(np.uint8)
    return file.stem, np.hstack([image, shown])


def _colour(kind: Class) -> tuple[int, ...]:
    if kind is Class.BAG:
        return _BAG_COLOUR
    part = SIDED[kind][0] if kind in SIDED else LABELS[kind]
    return tuple(colourise(np.array([part], np.uint8))[0].tolist())
