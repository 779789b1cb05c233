"""MediaPipe's landmarks made a pose: which of them count as seen, and where OpenPose would have them."""

import numpy as np

from worker.images.frame import HEIGHT, WIDTH
from worker.pose.joints import BODY25, COCO17, MPII16, Landmark, joints

MIN_VISIBILITY = 0.3
"""Below this MediaPipe guesses: OpenPose would not report the joint."""

HIDDEN_VISIBILITY = 0.1
"""An elbow behind the body has more than this: MediaPipe infers it from the shoulder and the sleeve, and so
does OpenPose. Wrists behind the body have less than this, or are reported by neither."""

LONGEST_UPPER_ARM = 0.8
"""Of the torso's length. By a body's proportions it is 0.65 (0.186 and 0.288 of the stature: Winter,
Biomechanics and Motor Control of Human Movement); a leaning torso looks shorter."""

MARGIN = 0.05
"""How far outside the canvas, of its height, a joint may lie and still be reported (at the edge)."""

KNEE_LIMIT = 0.95
"""OpenPose puts a knee below the picture at the visible end of the thigh, about here (of the height)."""

KNEE_REACH = 0.1
"""How far below the canvas, of its height, a knee may lie and still be reported. Of the knees of VITON-HD's
people OpenPose reports those up to 0.06 below, none at 0.14."""

EAR_SHIFT = 0.035
"""MediaPipe's ears lie nearer to the face than OpenPose's, by this much of the torso's length."""

GUESSED_CONFIDENCE = 0.1
"""Confidence of a joint that is not to be seen but known: above OpenPose's drawing threshold, below any seen
joint."""

_ARMS = ((Landmark.R_SHOULDER, Landmark.R_ELBOW), (Landmark.L_SHOULDER, Landmark.L_ELBOW))
_THIGHS = ((Landmark.R_HIP, Landmark.R_KNEE), (Landmark.L_HIP, Landmark.L_KNEE))
_HIPS = [Landmark.R_HIP, Landmark.L_HIP]
_SHOULDERS = [Landmark.R_SHOULDER, Landmark.L_SHOULDER]


def to_body25(landmarks: np.ndarray, person: np.ndarray) -> np.ndarray:
    """Return Body25 joints, float32 (25, 3), as OpenPose would report them.

    landmarks: float32 (33, 4), MediaPipe's, canvas pixels. person: uint8 (1024, 768), the person's mask.

    A joint is kept when its visibility is above 0.3 and it lies no further outside the canvas than 5 % of
    the height, and is then moved to the edge. An elbow of less visibility, down to 0.1, is kept with
    confidence 0.1 when it is hidden by the person's own body: within the outline, at an arm's length. A knee
    below the canvas is moved up along the thigh into it, as OpenPose has it. The ears are moved away from
    the face.

    The hips are the exception: both are always there, where MediaPipe places them, even far outside the
    canvas, because everything that draws a torso needs them; one that is not to be seen has confidence 0.1.
    """
    points = landmarks[:, :2].astype(np.float32).copy()
    torso = float(np.linalg.norm(points[_HIPS].mean(0) - points[_SHOULDERS].mean(0)))
    _move_ears(points, EAR_SHIFT * torso)
    for hip, knee in _THIGHS:
        points[knee] = _shown_knee(points[hip], points[knee])

    confidence = _seen(landmarks, points)
    for shoulder, elbow in _ARMS:
        near = float(np.linalg.norm(points[elbow] - points[shoulder])) < LONGEST_UPPER_ARM * torso
        inferred = HIDDEN_VISIBILITY < landmarks[elbow, 3] <= MIN_VISIBILITY
        if inferred and near and _within(person, points[elbow]):
            confidence[elbow] = GUESSED_CONFIDENCE
    shown = confidence > 0
    points[shown] = np.clip(points[shown], 0, (WIDTH - 1, HEIGHT - 1))
    confidence[_HIPS] = np.maximum(confidence[_HIPS], GUESSED_CONFIDENCE)
    return joints(BODY25, points, confidence)


def to_coco17(landmarks: np.ndarray) -> np.ndarray:
    """Return COCO's keypoints, float32 (17, 3), of MediaPipe landmarks, float32 (33, 4), canvas pixels.

    A keypoint is missing when its visibility is below 0.3 or it lies outside the canvas by more than 5 % of
    the height; it keeps the place that MediaPipe gives it.
    """
    return joints(COCO17, landmarks[:, :2], _seen(landmarks, landmarks[:, :2]))


def to_mpii16(landmarks: np.ndarray) -> np.ndarray:
    """Return MPII's joints, float32 (16, 3), of MediaPipe landmarks, float32 (33, 4), as `to_coco17` does."""
    return joints(MPII16, landmarks[:, :2], _seen(landmarks, landmarks[:, :2]))


def _seen(landmarks: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return each landmark's visibility, float32 (33,), or 0 where it is not to be seen."""
    margin = MARGIN * HEIGHT
    near = ((points >= -margin) & (points < np.array([WIDTH, HEIGHT]) + margin)).all(1)
    visibility = landmarks[:, 3]
    return np.where(near & (visibility > MIN_VISIBILITY), visibility, 0).astype(np.float32)


def _move_ears(points: np.ndarray, distance: float) -> None:
    face = points[[Landmark.NOSE, Landmark.L_EYE, Landmark.R_EYE]].mean(0)
    for ear in (Landmark.L_EAR, Landmark.R_EAR):
        away = points[ear] - face
        points[ear] += away * (distance / max(float(np.linalg.norm(away)), 1.0))


def _shown_knee(hip: np.ndarray, knee: np.ndarray) -> np.ndarray:
    """Return where OpenPose has a knee that may lie below the canvas: on the thigh, within the canvas.

    One within stays. One just below goes as far above the edge as it lies below it, so that nothing jumps
    when a knee crosses the edge; one further below goes to the visible end of the thigh, and one far below
    stays there.
    """
    below = knee[1] - HEIGHT
    if below <= 0 or below > KNEE_REACH * HEIGHT:
        return knee
    end = max(HEIGHT - below, KNEE_LIMIT * HEIGHT)
    if hip[1] >= end:
        return knee
    return hip + (knee - hip) * (end - hip[1]) / (knee[1] - hip[1])


def _within(person: np.ndarray, point: np.ndarray) -> bool:
    x, y = (int(value) for value in point)
    return bool(0 <= x < WIDTH and 0 <= y < HEIGHT and person[y, x] >= 128)
