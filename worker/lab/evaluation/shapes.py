"""Structuring elements and bounding boxes that several measures use."""

import cv2
import numpy as np

from worker.images.arrays import Flags, Mask


def disc(radius: int) -> Mask:
    """Return a disc as a structuring element, uint8 (2 * radius + 1,) * 2, pixels."""
    element = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return np.asarray(element, np.uint8)


def square(radius: int) -> Mask:
    """Return a square as a structuring element, uint8 (2 * radius + 1,) * 2, pixels."""
    return np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)


def bounding_box(area: Flags) -> tuple[int, int, int, int]:
    """Return (x0, y0, x1, y1) of an area, bool (h, w), not empty; x1 and y1 are just outside of it."""
    rows, columns = np.flatnonzero(area.any(1)), np.flatnonzero(area.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
