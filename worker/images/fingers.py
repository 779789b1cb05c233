"""The area of a hand on the canvas, from its joints."""

import cv2
import numpy as np

from worker.images.arrays import Flags, Floats

_WRIST, _MIDDLE_TIP = 0, 12
_FINGERS = tuple((_WRIST, *range(first, first + 4)) for first in (1, 5, 9, 13, 17))
_PALM = (_WRIST, 1, 5, 9, 13, 17)
_FINGER_WIDTH = 0.13
"""Width of a finger, in units of the hand's length from the wrist to the middle finger's tip."""


def hand_area(joints: Floats, shape: tuple[int, ...]) -> Flags:
    """Return where the palm and the fingers are, bool (h, w); empty when a joint is missing.

    Args:
        joints: (21, 3) in OpenPose's order: x, y in pixels and the confidence, 0 for a missing joint.
        shape: the height and width of the area; further dimensions are ignored.
    """
    area = np.zeros(shape[:2], np.uint8)
    if (joints[:, 2] > 0).all():
        points = joints[:, :2]
        length = float(np.linalg.norm(points[_MIDDLE_TIP] - points[_WRIST]))
        width = max(1, round(_FINGER_WIDTH * length))
        corners = np.clip(points, -shape[1], 2 * shape[1]).round().astype(np.int32)
        cv2.fillPoly(area, [corners[list(_PALM)]], 1)
        cv2.polylines(area, [corners[list(finger)] for finger in _FINGERS], False, 1, width)
    return area > 0
