"""Labels hands in front of the clothes as arms: their joints give the area of the fingers."""

import cv2
import numpy as np

from worker.images.arrays import Canvas, Labels
from worker.images.fingers import hand_area
from worker.images.maps import Part, Pose

_CLOTHES = (Part.UPPER_CLOTHES, Part.DRESS, Part.COAT)
_MAX_FACE_DIFFERENCE = (80.0, 14.0, 16.0)
"""Largest difference between a hand's colour and the face's, in L, a and b of OpenCV's 8-bit Lab."""
_MIN_SKIN_SHARE = 0.5
"""Least share of a hand's pixels with the face's colour: joints may be guessed inside a sleeve."""
_MIN_FACE_PIXELS = 100
"""Least pixels of the face, so that its median colour is reliable."""


def with_hands(labels: Labels, image_rgb: Canvas, pose: Pose) -> Labels:
    """Return the labels with the hands that are visible in front of the old garment labelled as arms.

    Rings, nails, watches and shaded fingers do not look like skin, so that a parser labels a hand in front
    of the clothes as part of them.

    Args:
        labels: CIHP labels, uint8 (1024, 768).
        image_rgb: uint8 (1024, 768, 3).
        pose: the person's joints with the hands.

    A hand whose pixels mostly differ from the face's colour keeps its labels: it wears a glove, or its
    joints are guessed.
    """
    lab = cv2.cvtColor(image_rgb, cv2.COLOR_RGB2LAB)
    face = labels == Part.FACE
    if np.count_nonzero(face) < _MIN_FACE_PIXELS:
        return labels
    tone = np.median(lab[face], axis=0)
    labels = labels.copy()
    for joints, arm in ((pose.left_hand, Part.LEFT_ARM), (pose.right_hand, Part.RIGHT_ARM)):
        area = hand_area(joints, labels.shape)
        like_face = (np.abs(lab[area] - tone) < _MAX_FACE_DIFFERENCE).all(-1)
        if area.any() and like_face.mean() > _MIN_SKIN_SHARE:
            labels[area] = np.where(np.isin(labels[area], _CLOTHES), arm, labels[area])
    return labels
