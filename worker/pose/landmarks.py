"""MediaPipe's 33 pose landmarks, and how they become Body25 joints."""

from enum import IntEnum

import numpy as np

from worker.frame import HEIGHT, WIDTH
from worker.maps import Body25


class Landmark(IntEnum):
    """MediaPipe's pose landmarks that are used here; left and right are the person's own."""

    NOSE = 0
    L_EYE = 2
    R_EYE = 5
    L_EAR = 7
    R_EAR = 8
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

MIN_VISIBILITY = 0.3
"""Below this MediaPipe guesses: OpenPose would not report the joint."""

MARGIN = 0.05
"""How far outside the canvas, of its height, a joint may lie and still be reported (at the edge)."""

KNEE_LIMIT = 0.95
"""OpenPose puts a knee below the picture at the visible end of the thigh, about here (of the height)."""

EAR_SHIFT = 0.035
"""MediaPipe's ears lie nearer to the face than OpenPose's, by this much of the torso's length."""

GUESSED_CONFIDENCE = 0.1
"""Confidence of a hip that is not to be seen: above OpenPose's drawing threshold, below any seen joint."""

_DIRECT = {
    Body25.NOSE: Landmark.NOSE,
    Body25.R_SHOULDER: Landmark.R_SHOULDER,
    Body25.R_ELBOW: Landmark.R_ELBOW,
    Body25.R_WRIST: Landmark.R_WRIST,
    Body25.L_SHOULDER: Landmark.L_SHOULDER,
    Body25.L_ELBOW: Landmark.L_ELBOW,
    Body25.L_WRIST: Landmark.L_WRIST,
    Body25.R_HIP: Landmark.R_HIP,
    Body25.R_KNEE: Landmark.R_KNEE,
    Body25.R_ANKLE: Landmark.R_ANKLE,
    Body25.L_HIP: Landmark.L_HIP,
    Body25.L_KNEE: Landmark.L_KNEE,
    Body25.L_ANKLE: Landmark.L_ANKLE,
    Body25.R_EYE: Landmark.R_EYE,
    Body25.L_EYE: Landmark.L_EYE,
    Body25.R_EAR: Landmark.R_EAR,
    Body25.L_EAR: Landmark.L_EAR,
    Body25.L_BIG_TOE: Landmark.L_TOE,
    Body25.L_HEEL: Landmark.L_HEEL,
    Body25.R_BIG_TOE: Landmark.R_TOE,
    Body25.R_HEEL: Landmark.R_HEEL,
}
"""Joints that are a landmark; the small toes have none and stay missing."""


def to_body25(landmarks: np.ndarray) -> np.ndarray:
    """Return Body25 joints, float32 (25, 3), of MediaPipe landmarks, float32 (33, 4), both in canvas pixels.

    A joint is kept when its visibility is above 0.3 and it lies no further outside the canvas than 5 % of
    the height, and is then moved to the edge. A knee below 0.95 of the height is moved up along the thigh to
    there, as OpenPose has it. The ears are moved away from the face. Neck and mid-hip are the midpoints of
    the shoulders and of the hips.

    The hips are the exception: both are always there, where MediaPipe places them, even far outside the
    canvas, because everything that draws a torso needs them; one that is not to be seen has confidence 0.1.
    """
    points = landmarks[:, :2].astype(np.float32).copy()
    visibility = landmarks[:, 3]
    hips, shoulders = [Landmark.R_HIP, Landmark.L_HIP], [Landmark.R_SHOULDER, Landmark.L_SHOULDER]
    torso = float(np.linalg.norm(points[hips].mean(0) - points[shoulders].mean(0)))
    _move_ears(points, EAR_SHIFT * torso)
    for hip, knee in ((Landmark.R_HIP, Landmark.R_KNEE), (Landmark.L_HIP, Landmark.L_KNEE)):
        points[knee] = _cut_below(points[hip], points[knee], KNEE_LIMIT * HEIGHT)

    body = np.zeros((len(Body25), 3), np.float32)
    for joint, landmark in _DIRECT.items():
        if visibility[landmark] > MIN_VISIBILITY and _near_canvas(points[landmark]):
            body[joint, :2] = np.clip(points[landmark], 0, (WIDTH - 1, HEIGHT - 1))
            body[joint, 2] = visibility[landmark]
    for joint in (Body25.R_HIP, Body25.L_HIP):
        if body[joint, 2] == 0:
            body[joint] = (*points[_DIRECT[joint]], GUESSED_CONFIDENCE)
    _set_midpoint(body, Body25.NECK, Body25.R_SHOULDER, Body25.L_SHOULDER)
    _set_midpoint(body, Body25.MID_HIP, Body25.R_HIP, Body25.L_HIP)
    return body


def _move_ears(points: np.ndarray, distance: float) -> None:
    face = points[[Landmark.NOSE, Landmark.L_EYE, Landmark.R_EYE]].mean(0)
    for ear in (Landmark.L_EAR, Landmark.R_EAR):
        away = points[ear] - face
        points[ear] += away * (distance / max(float(np.linalg.norm(away)), 1.0))


def _cut_below(hip: np.ndarray, knee: np.ndarray, limit: float) -> np.ndarray:
    """Return where the thigh leaves the picture at the bottom, or the knee if it does not."""
    if hip[1] < limit < knee[1]:
        return hip + (knee - hip) * (limit - hip[1]) / (knee[1] - hip[1])
    return knee


def _near_canvas(point: np.ndarray) -> bool:
    margin = MARGIN * HEIGHT
    return bool(-margin <= point[0] < WIDTH + margin and -margin <= point[1] < HEIGHT + margin)


def _set_midpoint(body: np.ndarray, joint: Body25, one: Body25, other: Body25) -> None:
    if body[one, 2] > 0 and body[other, 2] > 0:
        body[joint, :2] = (body[one, :2] + body[other, :2]) / 2
        body[joint, 2] = min(body[one, 2], body[other, 2])
