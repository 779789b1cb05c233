"""OpenPose's JSON format, written and read: Body25 joints and both hands."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from config.errors import PoseError
from worker.images.arrays import Floats
from worker.images.maps import Body25, Pose

HAND_POINTS = 21
"""Joints of one hand in OpenPose's format."""


def to_openpose_json(pose: Pose) -> dict[str, Any]:
    """Return the pose in the format of OpenPose's ``--write_json`` (version 1.3), one person."""
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
    """Return the pose of the first person in OpenPose's JSON.

    Raises PoseError when the document has no person or its joints are not Body25's.
    """
    people = document.get("people")
    if not isinstance(people, list) or not people:
        raise PoseError("The pose file has no `people`. Use OpenPose's JSON of a picture with a person.")
    person = people[0]
    return Pose(
        _points(person, "pose_keypoints_2d", len(Body25), required=True),
        _points(person, "hand_left_keypoints_2d", HAND_POINTS),
        _points(person, "hand_right_keypoints_2d", HAND_POINTS),
    )


def _flat(points: Floats) -> list[float]:
    # Each float32 value is written with the fewest digits that restore it: a round trip is exact.
    return [float(str(value)) for value in points.astype(np.float32).ravel()]


def _points(person: Mapping[str, Any], key: str, count: int, *, required: bool = False) -> Floats:
    values = person.get(key) or []
    if not values and not required:
        return np.zeros((count, 3), np.float32)
    if len(values) != 3 * count:
        raise PoseError(f"The pose file's `{key}` has {len(values)} numbers, not {3 * count}.", input=key)
    return np.array(values, np.float32).reshape(count, 3)
