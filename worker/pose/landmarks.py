"""Converts MediaPipe's landmarks to joints as OpenPose reports them: visibility and positions."""

import numpy as np

from worker.images.arrays import Flags, Floats, Mask, Points
from worker.images.frame import HEIGHT, WIDTH
from worker.pose.joints import BODY25, COCO17, HIPS, MPII16, Landmark, joints, torso_length

MIN_VISIBILITY = 0.3
"""Landmarks of lower visibility are guesses: OpenPose would not report the joint."""

HIDDEN_VISIBILITY = 0.1
"""An elbow behind the body has a higher visibility: MediaPipe infers it from the shoulder and the sleeve, and
so does OpenPose. Wrists behind the body have a lower one, or are reported by neither."""

MAX_UPPER_ARM = 0.8
"""Torso lengths. By the proportions of the body it is 0.65 (0.186 and 0.288 of the stature: Winter,
Biomechanics and Motor Control of Human Movement); a torso that leans to the camera appears shorter."""

MARGIN = 0.05
"""Canvas heights: a joint that is further outside the canvas is not reported; a nearer one is clamped."""

KNEE_LIMIT = 0.95
"""Canvas heights: OpenPose places a knee below the picture at the visible end of the thigh, about here."""

KNEE_REACH = 0.1
"""Canvas heights: a knee that is further below the canvas is not reported. Of the knees of VITON-HD's people,
OpenPose reports those up to 0.06 below the canvas, and none at 0.14."""

EAR_SHIFT = 0.035
"""Torso lengths by which MediaPipe's ears are nearer to the face than OpenPose's."""

GUESSED_CONFIDENCE = 0.1
"""Confidence of an inferred joint: above OpenPose's drawing threshold, below every visible joint."""

_ARMS = ((Landmark.R_SHOULDER, Landmark.R_ELBOW), (Landmark.L_SHOULDER, Landmark.L_ELBOW))
_THIGHS = ((Landmark.R_HIP, Landmark.R_KNEE), (Landmark.L_HIP, Landmark.L_KNEE))


def to_body25(landmarks: Floats, person: Mask) -> Floats:
    """Return Body25 joints, float32 (25, 3): x, y in canvas pixels and confidence, as OpenPose reports them.

    A joint is reported when its visibility is above MIN_VISIBILITY and it is at most MARGIN outside the
    canvas; it is then clamped to the canvas. An elbow of visibility above HIDDEN_VISIBILITY is reported with
    GUESSED_CONFIDENCE if the person's own body hides it: inside the outline, at an arm's length. A knee below
    the canvas is moved along the thigh into the canvas. The ears are moved away from the face.

    Both hips are always reported at MediaPipe's position, even far outside the canvas, because everything
    that draws a torso needs them; a hip that is not visible has GUESSED_CONFIDENCE.

    Args:
        landmarks: float32 (33, 4), MediaPipe's: x, y, z in canvas pixels and visibility.
        person: uint8 (1024, 768), the person's mask.
    """
    points = landmarks[:, :2].astype(np.float32).copy()
    torso = torso_length(points)
    _move_ears(points, EAR_SHIFT * torso)
    for hip, knee in _THIGHS:
        points[knee] = _visible_knee(points[hip], points[knee])

    confidence = _confidence(landmarks, points)
    for shoulder, elbow in _ARMS:
        near = float(np.linalg.norm(points[elbow] - points[shoulder])) < MAX_UPPER_ARM * torso
        inferred = HIDDEN_VISIBILITY < landmarks[elbow, 3] <= MIN_VISIBILITY
        if inferred and near and _is_inside(person, points[elbow]):
            confidence[elbow] = GUESSED_CONFIDENCE
    reported: Flags = confidence > 0
    points[reported] = np.clip(points[reported], 0, (WIDTH - 1, HEIGHT - 1))
    confidence[HIPS] = np.maximum(confidence[HIPS], GUESSED_CONFIDENCE)
    return joints(BODY25, points, confidence)


def to_coco17(landmarks: Floats) -> Floats:
    """Return COCO's keypoints, float32 (17, 3): x, y in canvas pixels and confidence.

    A keypoint is missing when its visibility is at most MIN_VISIBILITY or it is more than MARGIN outside the
    canvas; otherwise it has MediaPipe's position.

    landmarks: float32 (33, 4), MediaPipe's, canvas pixels.
    """
    return joints(COCO17, landmarks[:, :2], _confidence(landmarks, landmarks[:, :2]))


def to_mpii16(landmarks: Floats) -> Floats:
    """Return MPII's joints, float32 (16, 3), by the rules of `to_coco17`.

    landmarks: float32 (33, 4), MediaPipe's, canvas pixels.
    """
    return joints(MPII16, landmarks[:, :2], _confidence(landmarks, landmarks[:, :2]))


def _confidence(landmarks: Floats, points: Points) -> Floats:
    """Return each landmark's visibility, float32 (33,), or 0 if it is not reported."""
    margin = MARGIN * HEIGHT
    on_canvas = ((points >= -margin) & (points < np.array([WIDTH, HEIGHT]) + margin)).all(1)
    visibility = landmarks[:, 3]
    return np.where(on_canvas & (visibility > MIN_VISIBILITY), visibility, 0).astype(np.float32)


def _move_ears(points: Points, distance: float) -> None:
    face = points[[Landmark.NOSE, Landmark.L_EYE, Landmark.R_EYE]].mean(0)
    for ear in (Landmark.L_EAR, Landmark.R_EAR):
        outward = points[ear] - face
        points[ear] += outward * (distance / max(float(np.linalg.norm(outward)), 1.0))


def _visible_knee(hip: Points, knee: Points) -> Points:
    """Return the position at which OpenPose reports a knee: on the thigh, within the canvas.

    A knee within the canvas stays. A knee just below it is moved as far above the edge as it is below the
    edge, so that its position is continuous when a knee crosses the edge. A knee further below is moved to
    the visible end of the thigh, and a knee beyond KNEE_REACH stays.
    """
    below = knee[1] - HEIGHT
    if below <= 0 or below > KNEE_REACH * HEIGHT:
        return knee
    end = max(HEIGHT - below, KNEE_LIMIT * HEIGHT)
    if hip[1] >= end:
        return knee
    return np.asarray(hip + (knee - hip) * (end - hip[1]) / (knee[1] - hip[1]))


def _is_inside(person: Mask, point: Points) -> bool:
    x, y = (int(value) for value in point)
    return bool(0 <= x < WIDTH and 0 <= y < HEIGHT and person[y, x] >= 128)
