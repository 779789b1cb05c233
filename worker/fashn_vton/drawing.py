"""Draws a pose as one grey channel, as FASHN VTON expects it (DWPose, Yang et al. 2023)."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.images.arrays import Flags, Floats, Mask

LIMBS = (
    *((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13)),
    *((1, 0), (0, 14), (14, 16), (0, 15), (15, 17)),
)
"""Pairs of COCO-OpenPose's 18 points: nose, neck, right shoulder, elbow, wrist, left shoulder, elbow, wrist,
right hip, knee, ankle, left hip, knee, ankle, right eye, left eye, right ear, left ear."""

BODY_POINTS = 18

BONES = tuple((0 if point % 4 == 1 else point - 1, point) for point in range(1, 21))
"""Pairs of a hand's 21 points, in OpenPose's order."""

LIMB_LEVELS = np.linspace(20, 240, len(LIMBS) + 1).astype(int).tolist()
"""Grey of each limb before LIMB_OPACITY; the last of the 18 levels is used by no limb."""

LIMB_OPACITY, POINT_GAIN = 0.6, 1.3
"""Factors of a limb's grey: of the limb itself, and of the points whose first limb it is."""

BONE_LEVELS = np.linspace(160, 220, len(BONES)).astype(int).tolist()
HAND_POINT_LEVEL, FACE_POINT_LEVEL, WHITE = 240, 200, 255
LIMB_HALF_WIDTH, BONE_WIDTH, POINT_RADIUS, FACE_RADIUS = 4, 2, 4, 3
"""Pixels."""

MIN_POSITION = 0.01
"""Hand and face points at or left of or above this position, pixels, are not drawn."""

Pixel = tuple[int, int]


def draw_pose(body: Floats, hands: Floats, face: Floats, height: int, width: int) -> Mask:
    """Return the drawing, uint8 (height, width), on black.

    Args:
        body: (18, 2), x and y as shares of width and height; NaN for a point that is not visible.
        hands: (n, 21, 2), and face: (m, 2), likewise; negative for a point that is not visible.
        height, width: pixels.
    """
    drawing = np.zeros((height, width), np.uint8)
    _draw_body(drawing, body)
    for hand in hands:
        _draw_hand(drawing, _pixels(hand, height, width))
    for point in _pixels(face, height, width):
        if _drawn(point):
            cv2.circle(drawing, point, FACE_RADIUS, FACE_POINT_LEVEL, cv2.FILLED)
    return drawing


def _draw_body(drawing: Mask, body: Floats) -> None:
    visible: Flags = np.asarray(~np.isnan(body).any(1))
    points = _pixels(np.nan_to_num(body), *drawing.shape)
    for level, (one, other) in zip(LIMB_LEVELS, LIMBS, strict=False):
        if visible[one] and visible[other]:
            cv2.fillConvexPoly(drawing, _limb(points[one], points[other]), level)
    drawing[:] = (drawing * LIMB_OPACITY).astype(np.uint8)
    for index in range(BODY_POINTS):
        first_limb = next(number for number, limb in enumerate(LIMBS) if index in limb)
        if visible[index]:
            level = min(WHITE, int(LIMB_LEVELS[first_limb] * POINT_GAIN))
            cv2.circle(drawing, points[index], POINT_RADIUS, level, cv2.FILLED)


def _limb(one: Pixel, other: Pixel) -> NDArray[np.int32]:
    """Return the outline of the ellipse between two points, whole pixels (n, 2)."""
    across, down = one[0] - other[0], one[1] - other[1]
    centre = (one[0] + other[0]) // 2, (one[1] + other[1]) // 2
    half_length = int(math.hypot(across, down)) // 2
    angle = int(math.degrees(math.atan2(down, across)))
    outline = cv2.ellipse2Poly(centre, (half_length, LIMB_HALF_WIDTH), angle, 0, 360, 1)
    return np.asarray(outline, np.int32)


def _draw_hand(drawing: Mask, points: list[Pixel]) -> None:
    for level, (one, other) in zip(BONE_LEVELS, BONES, strict=True):
        if _drawn(points[one]) and _drawn(points[other]):
            cv2.line(drawing, points[one], points[other], level, BONE_WIDTH)
    for point in points:
        if _drawn(point):
            cv2.circle(drawing, point, POINT_RADIUS, HAND_POINT_LEVEL, cv2.FILLED)


def _pixels(points: Floats, height: int, width: int) -> list[Pixel]:
    """Return points (n, 2), shares of width and height, as whole pixels, rounded toward zero."""
    return [(int(x * width), int(y * height)) for x, y in points]


def _drawn(point: Pixel) -> bool:
    return min(point) > MIN_POSITION
