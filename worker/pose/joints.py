"""The joints of Body25, COCO-17 and MPII-16, defined by MediaPipe's 33 pose landmarks."""

from collections.abc import Sequence
from enum import IntEnum

import numpy as np

from worker.images.arrays import Floats, Points


class Landmark(IntEnum):
    """The used ones of MediaPipe's pose landmarks; left and right are the person's own."""

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
"""Landmark -> the landmark that it is in the mirrored picture."""

SHOULDERS = [Landmark.R_SHOULDER, Landmark.L_SHOULDER]
HIPS = [Landmark.R_HIP, Landmark.L_HIP]

Definition = tuple[tuple[Landmark, float], ...]
"""A joint as a weighted sum of landmarks, with weights that add up to 1; empty: no such landmark."""

Table = tuple[tuple[str, Definition], ...]

_NONE: Definition = ()


def _at(landmark: Landmark) -> Definition:
    return ((landmark, 1.0),)


def _between(one: Landmark, other: Landmark) -> Definition:
    return ((one, 0.5), (other, 0.5))


def _on_face_axis(share: float) -> Definition:
    """Return a point on the line through the middle of the eyes (share 0) and of the mouth (share 1)."""
    eyes, mouth = (1 - share) / 2, share / 2
    return (
        (Landmark.R_EYE, eyes),
        (Landmark.L_EYE, eyes),
        (Landmark.R_MOUTH, mouth),
        (Landmark.L_MOUTH, mouth),
    )


_NECK = _between(Landmark.R_SHOULDER, Landmark.L_SHOULDER)
_MID_HIP = _between(Landmark.R_HIP, Landmark.L_HIP)
# The eyes are at half the height of the head, and the mouth 0.3 of the height below them (Loomis, Drawing the
# Head and Hands, 1956): the crown is 0.5 of the height above the eyes and the chin 0.5 below.
_CROWN, _CHIN = _on_face_axis(-0.5 / 0.3), _on_face_axis(0.5 / 0.3)

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
"""OpenPose's Body25. MediaPipe has one landmark for the toes, at the big toe."""

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
"""COCO's 17 keypoints; each is one landmark."""

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
"""MPII's 16 joints. Its upper neck, between head and neck, is placed at the height of the chin."""


def joints(table: Table, points: Points, confidence: Sequence[float] | Floats) -> Floats:
    """Return the table's joints, float32 (n, 3): x, y and confidence; 0, 0, 0 for a missing joint.

    A joint has the lowest confidence of the landmarks that define it, and is missing if one of them is.

    Args:
        table: the joints.
        points: float (33, 2), the positions of the landmarks, in any unit.
        confidence: (33,), 0 for a missing landmark.
    """
    table_joints = np.zeros((len(table), 3), np.float32)
    for row, (_, definition) in zip(table_joints, table, strict=True):
        lowest = min((float(confidence[landmark]) for landmark, _ in definition), default=0.0)
        if lowest > 0:
            row[:2] = sum(weight * points[landmark] for landmark, weight in definition)
            row[2] = lowest
    return table_joints


def torso_length(landmarks: Floats) -> float:
    """Return the distance between the middle of the shoulders and the middle of the hips.

    landmarks: float (33, 2 or more), x and y first; the result has their unit.
    """
    points = landmarks[:, :2]
    return float(np.linalg.norm(points[SHOULDERS].mean(0) - points[HIPS].mean(0)))
