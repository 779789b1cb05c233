"""Removes the hook of a hanger from the mask of the garment that hangs on it."""

import cv2
import numpy as np

from worker.images.arrays import Flags
from worker.images.shapes import opened

HALF_THICKNESS, MIN_RADIUS = 0.02, 2
"""Half the largest thickness of a hook: garment widths, and the minimum in pixels. A strap may be as thin."""

MIN_HEIGHT = 0.04
"""Lowest height of a hook above the garment, garment widths."""

MAX_OFFSET = 0.12
"""Largest distance of a hook from the garment's middle, garment widths: straps are further out."""

_SQUARE = np.ones((3, 3), np.uint8)


def without_hook(garment: Flags) -> Flags:
    """Return a garment's mask, bool (h, w), without the hook of its hanger.

    A hook is thin, rises from the middle of the upper edge, and is connected to the garment at one place; a
    strap around the neck is connected at two.
    """
    columns = np.flatnonzero(garment.any(0))
    if len(columns) == 0:
        return garment
    width, middle = int(np.ptp(columns)) + 1, float(columns[0] + columns[-1]) / 2
    radius = max(MIN_RADIUS, round(HALF_THICKNESS * width))
    solid = opened(garment, radius)
    thin = (garment & ~solid).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(thin, connectivity=8)
    remaining = garment.copy()
    for index in range(1, count):
        top, height = stats[index, cv2.CC_STAT_TOP], stats[index, cv2.CC_STAT_HEIGHT]
        if height < MIN_HEIGHT * width:
            continue
        piece = np.asarray(labels == index)
        touching = (np.asarray(cv2.dilate(piece.astype(np.uint8), _SQUARE), np.bool_) & solid).astype(
            np.uint8
        )
        joints, _, joint_stats, centres = cv2.connectedComponentsWithStats(touching, connectivity=8)
        if joints != 2:  # the background and one joint
            continue
        joint_bottom = joint_stats[1, cv2.CC_STAT_TOP] + joint_stats[1, cv2.CC_STAT_HEIGHT]
        is_above_joint = top + height <= joint_bottom + radius
        if is_above_joint and abs(float(centres[1, 0]) - middle) < MAX_OFFSET * width:
            remaining &= ~piece
    return remaining
