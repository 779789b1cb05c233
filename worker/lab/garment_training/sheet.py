"""Draws a contact sheet of training inputs."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from worker.cloth.garment_output import ATTRIBUTES
from worker.cloth.landmarks import NAMES
from worker.images.arrays import Image
from worker.lab.demo.sheet import landmark_colour, sheet
from worker.lab.garment_training.bank import Bank
from worker.lab.garment_training.compose import Sample, compose

_SIZE = 192  # side of an input on the sheet, pixels
_COUNT, _COLUMNS = 60, 10
_SHOWN = ("kind", "sleeve", "neckline", "whole")


def training_sheet(data: Path, parts: Sequence[str], seed: int) -> Image:
    """Return random inputs of the banks with mask outlines, landmarks and attributes."""
    rng = np.random.default_rng(seed)
    grounds = np.load(data / "grounds.npy", mmap_mode="r")
    banks = [Bank(data / part) for part in parts]
    samples = [compose(rng, banks[i % len(banks)].draw(rng), _SIZE, grounds) for i in range(_COUNT)]
    return sheet([(_title(sample), _drawn(sample)) for sample in samples], columns=_COLUMNS, height=_SIZE)


def _title(sample: Sample) -> str:
    named = dict(zip(ATTRIBUTES, sample.attributes, strict=True))
    return " ".join(ATTRIBUTES[name][named[name]][:5] if named[name] >= 0 else "?" for name in _SHOWN)


def _drawn(sample: Sample) -> Image:
    picture = sample.picture.copy()
    if sample.mask_known:
        mask = cv2.resize(sample.mask, picture.shape[1::-1])
        contours, _ = cv2.findContours((mask >= 128).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
        cv2.drawContours(picture, contours, -1, (255, 220, 0), 1)
    for name, point, weight in zip(NAMES, sample.points, sample.weights, strict=True):
        if weight > 0:
            cv2.circle(
                picture, (round(float(point[0])), round(float(point[1]))), 3, landmark_colour(name), -1
            )
    return picture
