"""The joints of Body25, COCO-17 and MPII-16, each defined by MediaPipe's 33 landmarks."""

from collections.abc import Sequence
from enum import IntEnum

import numpy as np


class Landmark(IntEnum):
    """MediaPipe's pose landmarks that are used here; left and right are the person's own."""

    NOSE = 0
    L_EYE = 2
    R_EYE = 5
    L_EAR = 7
    R_EAR = 8
    L_MOUTH = 9
    R_MOUTH = 10
    L_SHOULDER = 11
    R_SHOULDER = 12
    L_ELBOW = 13
    R_ELBOW = 14
    L_WRIST = 15
    R_WRIST = 16
    L_PINKY = 17
    R_PINKY = 18
    L_INDEX = 19
    R_INDEX = 20
    L_HIP = 23
    R_HIP = 24
    L_KNEE = 25
    R_KNEE = 26
    L_ANKLE = 27
    R_ANKLE = 28
    L_HEEL = 29
    R_HEEL = 30
    L_TOE = 31
    R_TOE = 32


MIRROR = [0, 4, 5, 6, 1, 2, 3, 8, 7, 10, 9] + [i + 1 if i % 2 else i - 1 for i in range(11, 33)]
"""Which landmark each one is in the mirrored picture."""

Definition = tuple[tuple[Landmark, float], ...]
"""A joint as a weighted sum of landmarks, whose weights add up to 1; no landmark: it cannot be told."""
Table = tuple[tuple[str, Definition], ...]

_NONE: Definition = ()


def _at(landmark: Landmark) -> Definition:
    return ((landmark, 1.0),)


def _between(one: Landmark, other: Landmark) -> Definition:
    return ((one, 0.5), (other, 0.5))


def _down_the_face(share: float) -> Definition:
    """A point on the line from between the eyes (0) to the middle of the mouth (1), or beyond either."""
    eyes, mouth = (1 - share) / 2, share / 2
    return (
        (Landmark.R_EYE, eyes),
        (Landmark.L_EYE, eyes),
        (Landmark.R_MOUTH, mouth),
        (Landmark.L_MOUTH, mouth),
    )


_NECK = _between(Landmark.R_SHOULDER, Landmark.L_SHOULDER)
_MID_HIP = _between(Landmark.R_HIP, Landmark.L_HIP)
# The eyes are half-way down the head and the mouth 0.3 of the head below them (Loomis, Drawing the Head and
# Hands, 1956): the crown is 0.5 of the head above the eyes and the chin 0.5 below.
_CROWN, _CHIN = _down_the_face(-0.5 / 0.3), _down_the_face(0.5 / 0.3)

BODY25: Table = (
    ("nose", _at(Landmark.NOSE)),
    ("neck", _NECK),
    ("right_shoulder", _at(Landmark.R_SHOULDER)),
    ("right_elbow", _at(Landmark.R_ELBOW)),
    ("right_wrist", _at(Landmark.R_WRIST)),
    ("left_shoulder", _at(Landmark.L_SHOULDER)),
    ("left_elbow", _at(Landmark.L_ELBOW)),
    ("left_wrist", _at(Landmark.L_WRIST)),
    ("mid_hip", _MID_HIP),
    ("right_hip", _at(Landmark.R_HIP)),
    ("right_knee", _at(Landmark.R_KNEE)),
    ("right_ankle", _at(Landmark.R_ANKLE)),
    ("left_hip", _at(Landmark.L_HIP)),
    ("left_knee", _at(Landmark.L_KNEE)),
    ("left_ankle", _at(Landmark.L_ANKLE)),
    ("right_eye", _at(Landmark.R_EYE)),
    ("left_eye", _at(Landmark.L_EYE)),
    ("right_ear", _at(Landmark.R_EAR)),
    ("left_ear", _at(Landmark.L_EAR)),
    ("left_big_toe", _at(Landmark.L_TOE)),
    ("left_small_toe", _NONE),
    ("left_heel", _at(Landmark.L_HEEL)),
    ("right_big_toe", _at(Landmark.R_TOE)),
    ("right_small_toe", _NONE),
    ("right_heel", _at(Landmark.R_HEEL)),
)
"""OpenPose's Body25. MediaPipe has one point for the toes, at the big one."""

COCO17: Table = (
    ("nose", _at(Landmark.NOSE)),
    ("left_eye", _at(Landmark.L_EYE)),
    ("right_eye", _at(Landmark.R_EYE)),
    ("left_ear", _at(Landmark.L_EAR)),
    ("right_ear", _at(Landmark.R_EAR)),
    ("left_shoulder", _at(Landmark.L_SHOULDER)),
    ("right_shoulder", _at(Landmark.R_SHOULDER)),
    ("left_elbow", _at(Landmark.L_ELBOW)),
    ("right_elbow", _at(Landmark.R_ELBOW)),
    ("left_wrist", _at(Landmark.L_WRIST)),
    ("right_wrist", _at(Landmark.R_WRIST)),
    ("left_hip", _at(Landmark.L_HIP)),
    ("right_hip", _at(Landmark.R_HIP)),
    ("left_knee", _at(Landmark.L_KNEE)),
    ("right_knee", _at(Landmark.R_KNEE)),
    ("left_ankle", _at(Landmark.L_ANKLE)),
    ("right_ankle", _at(Landmark.R_ANKLE)),
)
"""COCO's 17 keypoints: all of them landmarks."""

MPII16: Table = (
    ("right_ankle", _at(Landmark.R_ANKLE)),
    ("right_knee", _at(Landmark.R_KNEE)),
    ("right_hip", _at(Landmark.R_HIP)),
    ("left_hip", _at(Landmark.L_HIP)),
    ("left_knee", _at(Landmark.L_KNEE)),
    ("left_ankle", _at(Landmark.L_ANKLE)),
    ("pelvis", _MID_HIP),
    ("thorax", _NECK),
    ("upper_neck", _CHIN),
    ("head_top", _CROWN),
    ("right_wrist", _at(Landmark.R_WRIST)),
    ("right_elbow", _at(Landmark.R_ELBOW)),
    ("right_shoulder", _at(Landmark.R_SHOULDER)),
    ("left_shoulder", _at(Landmark.L_SHOULDER)),
    ("left_elbow", _at(Landmark.L_ELBOW)),
    ("left_wrist", _at(Landmark.L_WRIST)),
)
"""MPII's 16 joints. Its upper neck, where head meets neck, is taken at the height of the chin."""


def joints(table: Table, points: np.ndarray, confidence: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return the table's joints, float32 (n, 3): x, y and confidence; 0, 0, 0 for one that cannot be told.

    points: float (33, 2), the landmarks' places, in any unit. confidence: (33,), 0 for a landmark that is
    missing. A joint is as sure as the least sure landmark that defines it, and missing when one of them is.
    """
    found = np.zeros((len(table), 3), np.float32)
    for row, (_, definition) in zip(found, table, strict=True):
        least = min((float(confidence[landmark]) for landmark, _ in definition), default=0.0)
        if least > 0:
            row[:2] = sum(weight * points[landmark] for landmark, weight in definition)
            row[2] = least
    return found
