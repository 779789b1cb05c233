"""Gives hands that lie before the clothes back to the arms: their joints say where the fingers are."""

import cv2
import numpy as np

from worker.images.fingers import hand_area
from worker.images.maps import Part, Pose

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
        area = hand_area(joints, labels.shape)
        if area.any() and like_face[area].mean() > _MOSTLY:
            labels[area & np.isin(labels, _CLOTHES)] = arm
    return labels
