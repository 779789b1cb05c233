"""Converts the pose of the stage `pose` to the points that FASHN VTON's drawing takes."""

from dataclasses import replace

import numpy as np

from worker.fashn_vton.drawing import draw_pose
from worker.images.arrays import Flags, Floats, Mask
from worker.images.frame import Frame
from worker.images.maps import Body25 as J
from worker.images.maps import Pose

COCO18 = (
    *(J.NOSE, J.NECK, J.R_SHOULDER, J.R_ELBOW, J.R_WRIST, J.L_SHOULDER, J.L_ELBOW, J.L_WRIST),
    *(J.R_HIP, J.R_KNEE, J.R_ANKLE, J.L_HIP, J.L_KNEE, J.L_ANKLE, J.R_EYE, J.L_EYE, J.R_EAR, J.L_EAR),
)
"""Body25's joint for each of the drawing's body points."""

MIN_CONFIDENCE = 0.3
"""Joints and hands of less confidence are not drawn: the limit of DWPose's drawings in the training."""

NOT_DRAWN = -1.0
"""Position of a hand point that is not drawn."""


LEGS = {J.R_KNEE: 26, J.R_ANKLE: 28, J.L_KNEE: 25, J.L_ANKLE: 27}
"""Joint of a leg -> MediaPipe's landmark of it."""


def with_whole_legs(pose: Pose, landmarks: Floats, frame: Frame) -> Pose:
    """Return the pose with the knees and ankles that the photograph shows below the canvas.

    Args:
        pose: the joints on the canvas, which may end at the knees.
        landmarks: (33, 3), MediaPipe's: x, y in canvas pixels, and visibility, 0..1.
        frame: from the photograph to the canvas.
    """
    body = pose.body.copy()
    for joint, landmark in LEGS.items():
        x, y = frame.points_to_photo(landmarks[landmark, :2])
        shown = 0 <= x < frame.photo_width and 0 <= y < frame.photo_height
        if not pose.seen(joint) and shown:
            body[joint] = landmarks[landmark]
    return replace(pose, body=body)


def person_drawing(pose: Pose, frame: Frame, height: int, width: int) -> Mask:
    """Return the drawing of a person's pose, uint8 (height, width).

    Face points are not drawn: the stage `pose` finds none.

    Args:
        pose: the joints on the canvas.
        frame: from the photograph to the canvas.
        height, width: size of the drawing, pixels: that of the whole photograph after `preparation.shrunk`.
    """
    body = np.where(_seen(pose.body)[:, None], _shares(pose.body, frame), np.nan)[list(COCO18)]
    hands = [
        np.where(_seen(hand)[:, None], _shares(hand, frame), NOT_DRAWN)
        for hand in (pose.left_hand, pose.right_hand)
    ]
    return draw_pose(body, np.stack(hands), np.zeros((0, 2)), height, width)


def _seen(points: Floats) -> Flags:
    """Return whether each of the points (n, 3) is drawn, bool (n,)."""
    return np.asarray(points[:, 2] >= MIN_CONFIDENCE)


def _shares(points: Floats, frame: Frame) -> Floats:
    """Return points (n, 3) of the canvas as shares of the photograph's width and height, (n, 2)."""
    size = np.array([frame.photo_width, frame.photo_height])
    return np.asarray(frame.points_to_photo(points[:, :2].astype(np.float64)) / size)
