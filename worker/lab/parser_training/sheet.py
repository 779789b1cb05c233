"""A contact sheet of a data set: each picture beside its labels in colours, to be looked at."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from config.errors import InputValidationError
from worker.lab.demo.sheet import sheet
from worker.parsing.classes import LABELS, SIDED, Class
from worker.parsing.palette import colourise

_BAG = np.array([128, 128, 128], np.uint8)


def contact_sheet(data: Path, subset: str = "train", pictures: int = 48, seed: int = 0) -> np.ndarray:
    """Return pictures of a part of the data set, drawn by lot, as RGB uint8.

    Args:
        data: the data set's folder, from `dataset.build`.
        subset: train, val or test.

    Raises InputValidationError when the folder holds none.
    """
    files = sorted((data / "images" / subset).glob("*.jpg"))
    if not files:
        raise InputValidationError(
            f"{data} holds no {subset} pictures: build the data set first with `tryon parser dataset`.",
            input=str(data),
        )
    drawn = np.random.default_rng(seed).choice(len(files), min(pictures, len(files)), replace=False)
    return sheet([_panel(files[number]) for number in sorted(drawn)], columns=6)


def _panel(file: Path) -> tuple[str, np.ndarray]:
    image = np.asarray(Image.open(file))
    labels = file.parents[2] / "labels" / file.parent.name / f"{file.stem}.txt"
    drawn = np.zeros_like(image)
    shown = np.zeros(image.shape[:2], np.uint8)
    # Larger things come first: what lies over them is drawn over them, as in training.
    for line in labels.read_text().splitlines():
        kind, *numbers = line.split()
        points = np.array(numbers, np.float64).reshape(-1, 2) * image.shape[1::-1]
        cv2.fillPoly(drawn, [points.round().astype(np.int32)], _colour(Class(int(kind))).tolist())
        cv2.fillPoly(shown, [points.round().astype(np.int32)], 1)
    mixed = np.where(shown[..., None] > 0, 0.35 * image + 0.65 * drawn, image).astype(np.uint8)
    return file.stem, np.hstack([image, mixed])


def _colour(kind: Class) -> np.ndarray:
    if kind is Class.BAG:
        return _BAG
    part = SIDED[kind][0] if kind in SIDED else LABELS[kind]
    return colourise(np.array([part], np.uint8))[0]
