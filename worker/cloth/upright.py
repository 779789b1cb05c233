"""Rotates a garment upright."""

from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.cloth.garment_reader import GarmentReading
from worker.cloth.mask import Cutout
from worker.images.arrays import Floats, Image
from worker.images.frame import opencv_matrix

Picture = TypeVar("Picture", Image, Floats)


@dataclass(frozen=True)
class UprightSettings:
    """When a garment is rotated.

    Attributes:
        quarter: the rotation that loses nothing, degrees.
        tolerance: a garment that leans less stays as it is, degrees: resampling softens its texture, and
            most garments on the training photographs lean less.
    """

    quarter: float = 90.0
    tolerance: float = 9.0


SETTINGS = UprightSettings()


def upright(
    cutout: Cutout, reading: GarmentReading, settings: UprightSettings = SETTINGS
) -> tuple[Cutout, GarmentReading]:
    """Return a garment and its reading, rotated so that the garment is upright; all of it stays visible."""
    turns = round(reading.rotation / settings.quarter) % 4
    if turns:
        reading = reading.moved(_quarter_turns(turns, *cutout.alpha.shape))
        # np.rot90 turns counterclockwise, as the garment has to be turned.
        cutout = Cutout(
            np.ascontiguousarray(np.rot90(cutout.alpha, turns)),
            np.ascontiguousarray(np.rot90(cutout.image, turns)),
            np.ascontiguousarray(np.rot90(cutout.background, turns)),
            cutout.plain_share,
        )
    if abs(reading.rotation) <= settings.tolerance:
        return cutout, reading
    matrix, size = _rotation(-reading.rotation, *cutout.alpha.shape)

    def rotated(part: Picture, mode: int) -> Picture:
        turned = cv2.warpAffine(part, opencv_matrix(matrix)[:2], size, flags=cv2.INTER_CUBIC, borderMode=mode)
        return np.asarray(turned, part.dtype)

    upright_cutout = Cutout(
        rotated(cutout.alpha, cv2.BORDER_CONSTANT),
        rotated(cutout.image, cv2.BORDER_REPLICATE),
        rotated(cutout.background, cv2.BORDER_REPLICATE),
        cutout.plain_share,
    )
    return upright_cutout, reading.moved(matrix)


def _quarter_turns(turns: int, height: int, width: int) -> NDArray[np.float64]:
    """Return the map of points for `np.rot90(photo, turns)`, float64 (2, 3); 1 to 3 turns."""
    matrices = {
        1: [[0, 1, 0], [-1, 0, width]],
        2: [[-1, 0, width], [0, -1, height]],
        3: [[0, -1, height], [1, 0, 0]],
    }
    return np.array(matrices[turns], np.float64)


def _rotation(degrees: float, height: int, width: int) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """Return the clockwise rotation of points, (2, 3), and the (width, height) that hold the photograph."""
    angle = np.deg2rad(degrees)
    spin = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]]) @ spin.T
    low, high = corners.min(0), corners.max(0)
    new_width, new_height = (int(side) for side in np.ceil(high - low))
    return np.column_stack([spin, -low]), (new_width, new_height)
