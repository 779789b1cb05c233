"""Gives hands that lie before the clothes back to the arms: their joints say where the fingers are."""

import cv2
import numpy as np

from worker.maps import Part, Pose

_FINGERS = tuple((0, *range(first, first + 4)) for first in (1, 5, 9, 13, 17))
_PALM = (0, 1, 5, 9, 13, 17)
_FINGER_WIDTH = 0.13  # of the hand's length, from the wrist to the middle finger's tip
_MIDDLE_TIP = 12
_CLOTHES = (Part.UPPER_CLOTHES, Part.DRESS, Part.COAT)
_LIKE_FACE = (80.0, 14.0, 16.0)  # most that a hand's colour differs from the face's, 8-bit CIELAB
_MOSTLY = 0.5  # share of a hand that must look so: joints may be guessed inside a sleeve
_LEAST_FACE = 100  # pixels


def with_hands(labels: np.ndarray, image_rgb: np.ndarray, pose: Pose) -> np.ndarray:
    """Return the labels with the hands that are seen before the old garment labelled as arms.

    Rings, nails, watches and shaded fingers look little like skin, so that a parser takes a hand before the
    clothes for a piece of them.

    Args:
        labels: CIHP labels, uint8 (1024, 768).
        image_rgb: uint8 (1024, 768, 3).
        pose: the person's joints, hands among them.

    A hand that has not the face's colour on the whole is left as it is labelled: it is gloved, or its joints
    are a guess.
    """
    lab = cv2.cvtColor(image_rgb, cv2.COLOR_RGB2LAB).astype(np.float32)
    face = labels == Part.FACE
    if np.count_nonzero(face) < _LEAST_FACE:
        return labels
    like_face = (np.abs(lab - np.median(lab[face], axis=0)) < _LIKE_FACE).all(-1)
    labels = labels.copy()
    for joints, arm in ((pose.left_hand, Part.LEFT_ARM), (pose.right_hand, Part.RIGHT_ARM)):
        if (joints[:, 2] > 0).all():
            area = outline(joints, labels.shape[:2])
            if area.any() and like_face[area].mean() > _MOSTLY:
                labels[area & np.isin(labels, _CLOTHES)] = arm
    return labels


def outline(joints: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return where a hand is, bool of the shape: palm and fingers about its joints (21, 3)."""
    points = joints[:, :2]
    length = float(np.linalg.norm(points[_MIDDLE_TIP] - points[0]))
    width = max(1, round(_FINGER_WIDTH * length))
    area = np.zeros(shape, np.uint8)
    corners = np.clip(points, -shape[1], 2 * shape[1]).round().astype(np.int32)
    cv2.fillPoly(area, [corners[list(_PALM)]], 1)
    cv2.polylines(area, [corners[list(finger)] for finger in _FINGERS], False, 1, width)
    return area > 0
