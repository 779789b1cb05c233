"""Tells a hanger's hook from the garment that hangs on it."""

import cv2
import numpy as np

_WIRE = 0.02
"""Half the thickness, of the garment's width, that a hook may have: a strap may be as thin."""
_HIGH = 0.04
"""How far a hook stands above the garment at least, of its width."""
_MIDDLE = 0.12
"""How far from the garment's middle a hook may rise, of its width: straps lie further out."""


def without_hook(garment: np.ndarray) -> np.ndarray:
    """Return a garment's mask, bool (h, w), without the hook of the hanger that it hangs on.

    A hook is thin, rises from the middle of the upper edge, and is joined to the garment at one place; a
    strap around the neck is joined at two.
    """
    columns = np.flatnonzero(garment.any(0))
    if len(columns) == 0:
        return garment
    width, middle = int(np.ptp(columns)) + 1, float(columns[0] + columns[-1]) / 2
    radius = max(2, round(_WIRE * width))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2)
    solid = cv2.morphologyEx(garment.astype(np.uint8), cv2.MORPH_OPEN, disc)
    thin = (garment & (solid == 0)).astype(np.uint8)
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(thin, connectivity=8)
    kept = garment.copy()
    for piece in range(1, count):
        _, top, _, high, _ = stats[piece]
        if high < _HIGH * width:
            continue
        mine = (pieces == piece).astype(np.uint8)
        joint = cv2.bitwise_and(cv2.dilate(mine, np.ones((3, 3))), solid)
        joints, _, places, centres = cv2.connectedComponentsWithStats(joint, connectivity=8)
        if joints != 2:
            continue
        lowest = top + high <= places[1, cv2.CC_STAT_TOP] + places[1, cv2.CC_STAT_HEIGHT] + radius
        if lowest and abs(float(centres[1, 0]) - middle) < _MIDDLE * width:
            kept &= pieces != piece
    return kept
