"""Where a hand is on the canvas, by its joints."""

import cv2
import numpy as np

_FINGERS = tuple((0, *range(first, first + 4)) for first in (1, 5, 9, 13, 17))
_PALM = (0, 1, 5, 9, 13, 17)
_WIDTH = 0.13  # of a finger, in units of the hand's length from the wrist to the middle finger's tip
_MIDDLE_TIP = 12


def hand_area(joints: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return where palm and fingers are, bool of the shape (h, w); nowhere where a joint is missing.

    joints: (21, 3) in OpenPose's order: x, y in pixels and confidence, 0 for a missing one.
    """
    area = np.zeros(shape[:2], np.uint8)
    if (joints[:, 2] > 0).all():
        points = joints[:, :2]
        width = max(1, round(_WIDTH * float(np.linalg.norm(points[_MIDDLE_TIP] - points[0]))))
        corners = np.clip(points, -shape[1], 2 * shape[1]).round().astype(np.int32)
        cv2.fillPoly(area, [corners[list(_PALM)]], 1)
        cv2.polylines(area, [corners[list(finger)] for finger in _FINGERS], False, 1, width)
    return area > 0
