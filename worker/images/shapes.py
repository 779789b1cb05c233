"""Structuring elements, morphology of bool masks with discs, bounding boxes."""

import math

import cv2
import numpy as np

from worker.images.arrays import Flags, Floats, Mask


def disc(radius: int) -> Mask:
    """Return the disc of this radius as a kernel, uint8 (2 radius + 1, 2 radius + 1)."""
    return np.asarray(
        cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)), np.uint8
    )


def square(radius: int) -> Mask:
    """Return a square as a kernel, uint8 (2 radius + 1, 2 radius + 1)."""
    return np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)


def dilated(area: Flags, radius: int) -> Flags:
    """Return the area dilated by a disc, bool (h, w)."""
    return np.asarray(cv2.dilate(area.astype(np.uint8), disc(radius)), np.bool_)


def eroded(area: Flags, radius: int) -> Flags:
    """Return the area eroded by a disc, bool (h, w); the edge of the picture does not erode it."""
    return np.asarray(cv2.erode(area.astype(np.uint8), disc(radius)), np.bool_)


def opened(area: Flags, radius: int) -> Flags:
    """Return the part of the area that a disc fits into, bool (h, w)."""
    return np.asarray(cv2.morphologyEx(area.astype(np.uint8), cv2.MORPH_OPEN, disc(radius)), np.bool_)


def closed(area: Flags, radius: int) -> Flags:
    """Return the area and the gaps that a disc does not fit into, bool (h, w)."""
    return np.asarray(cv2.morphologyEx(area.astype(np.uint8), cv2.MORPH_CLOSE, disc(radius)), np.bool_)


def depth(area: Flags) -> Floats:
    """Return each pixel's distance to the outside of the area, pixels, float32 (h, w)."""
    return np.asarray(cv2.distanceTransform(area.astype(np.uint8), cv2.DIST_L2, 5), np.float32)


def pixels(shape: tuple[int, ...], share: float) -> int:
    """Return a share of a picture's longer side, rounded to pixels, at least 1."""
    return max(1, round(share * max(shape[:2])))


def bounding_box(area: Flags) -> tuple[int, int, int, int]:
    """Return (x0, y0, x1, y1) of an area, bool (h, w), not empty; x1 and y1 are just outside of it."""
    rows, columns = np.flatnonzero(area.any(1)), np.flatnonzero(area.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


Window = tuple[slice, slice]
"""Rows and columns of a part of a picture."""


def window(area: Flags, margin: float = 0) -> Window:
    """Return the part of a picture that an area, bool (h, w), covers with a margin, pixels."""
    left, top, width, height = cv2.boundingRect(area.view(np.uint8))
    if not width:
        return slice(0, 0), slice(0, 0)
    reach = math.ceil(margin)
    rows = slice(max(0, top - reach), min(area.shape[0], top + height + reach))
    return rows, slice(max(0, left - reach), min(area.shape[1], left + width + reach))
