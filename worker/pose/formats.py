"""Poses in other formats: OpenPose's JSON, and the joint tables of COCO and MPII."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from worker.errors import PoseError
from worker.maps import Body25, Pose

HAND_POINTS = 21
FACE_POINTS = 70

COCO17: tuple[tuple[str, Body25], ...] = (
    ("nose", Body25.NOSE),
    ("left_eye", Body25.L_EYE),
    ("right_eye", Body25.R_EYE),
    ("left_ear", Body25.L_EAR),
    ("right_ear", Body25.R_EAR),
    ("left_shoulder", Body25.L_SHOULDER),
    ("right_shoulder", Body25.R_SHOULDER),
    ("left_elbow", Body25.L_ELBOW),
    ("right_elbow", Body25.R_ELBOW),
    ("left_wrist", Body25.L_WRIST),
    ("right_wrist", Body25.R_WRIST),
    ("left_hip", Body25.L_HIP),
    ("right_hip", Body25.R_HIP),
    ("left_knee", Body25.L_KNEE),
    ("right_knee", Body25.R_KNEE),
    ("left_ankle", Body25.L_ANKLE),
    ("right_ankle", Body25.R_ANKLE),
)
"""COCO's 17 keypoints in order, each with the Body25 joint that is the same."""

MPII16: tuple[tuple[str, Body25 | None], ...] = (
    ("right_ankle", Body25.R_ANKLE),
    ("right_knee", Body25.R_KNEE),
    ("right_hip", Body25.R_HIP),
    ("left_hip", Body25.L_HIP),
    ("left_knee", Body25.L_KNEE),
    ("left_ankle", Body25.L_ANKLE),
    ("pelvis", Body25.MID_HIP),
    ("thorax", Body25.NECK),
    ("upper_neck", None),
    ("head_top", None),
    ("right_wrist", Body25.R_WRIST),
    ("right_elbow", Body25.R_ELBOW),
    ("right_shoulder", Body25.R_SHOULDER),
    ("left_shoulder", Body25.L_SHOULDER),
    ("left_elbow", Body25.L_ELBOW),
    ("left_wrist", Body25.L_WRIST),
)
"""MPII's 16 joints in order; Body25 has neither the upper neck nor the top of the head."""


def to_coco17(pose: Pose) -> np.ndarray:
    """Return COCO's keypoints, float32 (17, 3)."""
    return pose.body[[joint for _, joint in COCO17]].copy()


def from_coco17(keypoints: np.ndarray) -> Pose:
    """Return the pose of COCO's keypoints (17, 3); neck and mid-hip are midpoints, the feet are missing."""
    body = np.zeros((len(Body25), 3), np.float32)
    for row, (_, joint) in zip(keypoints, COCO17, strict=True):
        body[joint] = row
    for middle, one, other in (
        (Body25.NECK, Body25.R_SHOULDER, Body25.L_SHOULDER),
        (Body25.MID_HIP, Body25.R_HIP, Body25.L_HIP),
    ):
        if body[one, 2] > 0 and body[other, 2] > 0:
            body[middle, :2] = (body[one, :2] + body[other, :2]) / 2
            body[middle, 2] = min(body[one, 2], body[other, 2])
    return Pose(body, _no_hand(), _no_hand())


def to_mpii16(pose: Pose) -> np.ndarray:
    """Return MPII's joints, float32 (16, 3); the two that Body25 lacks are 0, 0, 0."""
    joints = np.zeros((len(MPII16), 3), np.float32)
    for row, (_, joint) in zip(joints, MPII16, strict=True):
        if joint is not None:
            row[:] = pose.body[joint]
    return joints


def to_openpose_json(pose: Pose) -> dict[str, Any]:
    """Return the pose as OpenPose writes it with ``--write_json`` (version 1.3), one person."""
    return {
        "version": 1.3,
        "people": [
            {
                "person_id": [-1],
                "pose_keypoints_2d": _flat(pose.body),
                "face_keypoints_2d": [],
                "hand_left_keypoints_2d": _flat(pose.left_hand),
                "hand_right_keypoints_2d": _flat(pose.right_hand),
                "pose_keypoints_3d": [],
                "face_keypoints_3d": [],
                "hand_left_keypoints_3d": [],
                "hand_right_keypoints_3d": [],
            }
        ],
    }


def from_openpose_json(document: Mapping[str, Any]) -> Pose:
    """Return the first person's pose of OpenPose's JSON.

    Raises PoseError when the document has no person or its joints are not Body25's.
    """
    people = document.get("people")
    if not isinstance(people, list) or not people:
        raise PoseError("The pose file has no `people`. Give OpenPose's JSON of a picture with a person.")
    person = people[0]
    return Pose(
        _points(person, "pose_keypoints_2d", len(Body25), required=True),
        _points(person, "hand_left_keypoints_2d", HAND_POINTS),
        _points(person, "hand_right_keypoints_2d", HAND_POINTS),
    )


def _flat(points: np.ndarray) -> list[float]:
    # Float32 values written with the fewest digits that give them back: a round trip is exact.
    return [float(str(value)) for value in points.astype(np.float32).ravel()]


def _points(person: Mapping[str, Any], key: str, count: int, *, required: bool = False) -> np.ndarray:
    values = person.get(key) or []
    if not values and not required:
        return np.zeros((count, 3), np.float32)
    if len(values) != 3 * count:
        raise PoseError(f"The pose file's `{key}` has {len(values)} numbers, not {3 * count}.", input=key)
    return np.array(values, np.float32).reshape(count, 3)


def _no_hand() -> np.ndarray:
    return np.zeros((HAND_POINTS, 3), np.float32)
