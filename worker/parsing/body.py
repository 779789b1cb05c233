"""Where a person's parts may be: the body's proportions and distance fields, from the joints alone."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from worker.images.arrays import Floats, Points
from worker.images.frame import HEIGHT
from worker.images.maps import Body25 as J
from worker.images.maps import Pose

# Proportions of a standing person, in units of the face's height `head` unless another unit is named.
_HEAD_PER_SHOULDER_WIDTH = 0.66
_HEAD_PER_TORSO = 0.44  # the torso goes from the shoulders' to the hips' midpoint
_FACE_PER_EYE_DISTANCE = 2.7
_FACE_PER_EAR_DISTANCE = 1.2
_MIN_HEAD_PER_FACE = 0.85  # the estimates are too small for children, whose heads are relatively large
_MIN_TORSO_PER_FACE = 1.6  # a shorter torso has hips that were guessed too high, below the photograph's end
_TORSO = 2.3
_FACE_CENTRE_ABOVE_NOSE = 0.07
_MAX_FACE_OFFSET = 0.25  # most that the ears' midpoint moves the face's middle sideways
_HALF_FACE_WIDTH = 0.43
_MIN_EYE_DISTANCE = 0.2  # a smaller one does not give the direction of the face
_HIP_OFFSET = 0.35  # of a hip from the hips' midpoint, in units of the shoulders' width
_THIGH, _SHIN = 2.4, 2.2
_FOOT = 0.45
_HAND_BEYOND_WRIST = 0.4
_MIN_HAND_FOREARM = 0.5  # a forearm shorter than this points at the camera: the hand is nearer to the wrist
_MIN_FOREARM = 0.45  # a shorter forearm was not seen by the pose model, unless it found the hand there

# Radii of the limbs around their bones, in units of `head`.
_ARM_RADII = (0.24, 0.2, 0.3)  # upper arm, forearm, hand
_LEG_RADII = (0.42, 0.32)  # thigh, shin
_FOOT_RADIUS = 0.28

_MIN_FINGER_CONFIDENCE = 0.1
_MIN_FINGERS = 5  # hand joints that make a hand
_LOWEST_ANKLE = 0.97  # share of the canvas height: an ankle below it has no visible foot


@dataclass(frozen=True)
class Limb:
    """A chain of joints, float64 (n, 2), and the radius around each of its bones, (n - 1,)."""

    joints: Points
    radii: Floats


@dataclass(frozen=True)
class Body:
    """The person's measures in pixels of the working grid; left and right are the person's own.

    Attributes:
        head: the face's height, hairline to chin: the unit of all other lengths.
        face_centre, face_up: the middle of the face and the unit vector from chin to forehead.
        face_width: half the face's width.
        neck, hips: midpoints of the shoulders and of the hips.
        shoulders: (right, left), float64 (2, 2).
        arms, legs, feet: (right, left) limbs; None where the joints are missing.
        hands: (right, left) middles of the hands; None where they are missing.
    """

    head: float
    face_centre: Points
    face_up: Points
    face_width: float
    neck: Points
    hips: Points
    shoulders: Points
    arms: tuple[Limb | None, Limb | None]
    hands: tuple[Points | None, Points | None]
    legs: tuple[Limb, Limb]
    feet: tuple[Limb | None, Limb | None]

    @property
    def torso(self) -> float:
        """Length from the neck to the middle of the hips."""
        return float(np.linalg.norm(self.hips - self.neck))


def measure(pose: Pose, scale: float) -> Body:
    """Return the body of a pose with both shoulders, on a grid `scale` times the canvas.

    A missing joint is placed by the proportions of a standing person, except elbows and wrists: an arm
    without joints is None.
    """
    xy = pose.body[:, :2].astype(np.float64) * scale

    def seen(*joints: J) -> bool:
        return all(pose.seen(joint) for joint in joints)

    shoulders = xy[[J.R_SHOULDER, J.L_SHOULDER]]
    neck = shoulders.mean(0)
    width = float(np.linalg.norm(shoulders[0] - shoulders[1]))
    face = _face_height(xy, seen)
    torso = float(np.linalg.norm(xy[[J.R_HIP, J.L_HIP]].mean(0) - neck)) if seen(J.R_HIP, J.L_HIP) else None
    nose_to_neck = float(np.linalg.norm(xy[J.NOSE] - neck)) if seen(J.NOSE) else None
    head = _head_height(width, torso, nose_to_neck, face)

    # The pose model guesses hips below the photograph's end, often too high.
    hips_trusted = torso is not None and (face is None or torso > _MIN_TORSO_PER_FACE * face)
    estimated_hips = neck + np.array([0, _TORSO * max(head, face or 0)])
    hips = xy[[J.R_HIP, J.L_HIP]].mean(0) if hips_trusted else estimated_hips
    face_centre, face_up = _face(xy, seen, neck, hips, head)
    arms, hands = zip(*(_arm(xy, pose, side, head, scale) for side in ("R", "L")), strict=True)
    legs, feet = zip(
        *(
            _leg(xy, pose if hips_trusted else None, side, head, hips, width, _LOWEST_ANKLE * HEIGHT * scale)
            for side in ("R", "L")
        ),
        strict=True,
    )
    return Body(
        head=head,
        face_centre=face_centre,
        face_up=face_up,
        face_width=_HALF_FACE_WIDTH * head,
        neck=neck,
        hips=hips,
        shoulders=shoulders,
        arms=arms,
        hands=hands,
        legs=legs,
        feet=feet,
    )


def _face_height(xy: Points, seen: Callable[..., bool]) -> float | None:
    """Return the face's height from its width; too small for a face turned aside, never too large."""
    heights = [
        factor * float(np.linalg.norm(xy[one] - xy[other]))
        for one, other, factor in (
            (J.R_EYE, J.L_EYE, _FACE_PER_EYE_DISTANCE),
            (J.R_EAR, J.L_EAR, _FACE_PER_EAR_DISTANCE),
        )
        if seen(one, other)
    ]
    return max(heights, default=None)


def _head_height(width: float, torso: float | None, nose_to_neck: float | None, face: float | None) -> float:
    """Return the head's height: the median of its estimates, which are wrong one at a time.

    A person turned aside has narrow shoulders, one who bows a short torso, one who sits both.
    """
    estimates = [
        _HEAD_PER_SHOULDER_WIDTH * width,
        _HEAD_PER_TORSO * torso if torso else None,
        nose_to_neck,
        face,
    ]
    median = float(np.median([estimate for estimate in estimates if estimate]))
    return max(median, _MIN_HEAD_PER_FACE * (face or 0))


def _face(
    xy: Points, seen: Callable[..., bool], neck: Points, hips: Points, head: float
) -> tuple[Points, Points]:
    """Return the middle of the face and the unit vector from chin to forehead."""
    down = (hips - neck) / np.linalg.norm(hips - neck)
    nose = xy[J.NOSE] if seen(J.NOSE) else neck - down * head
    up = -down
    if seen(J.R_EYE, J.L_EYE):
        eyes = xy[J.L_EYE] - xy[J.R_EYE]
        apart = float(np.linalg.norm(eyes))
        if apart > _MIN_EYE_DISTANCE * head and eyes[0] > 0:
            up = np.array([eyes[1], -eyes[0]]) / apart
    across = np.array([-up[1], up[0]])
    sideways = 0.0
    if seen(J.R_EAR, J.L_EAR):
        sideways = float((xy[[J.R_EAR, J.L_EAR]].mean(0) - nose) @ across)
    limit = _MAX_FACE_OFFSET * head
    return nose + _FACE_CENTRE_ABOVE_NOSE * head * up + np.clip(sideways, -limit, limit) * across, up


def _arm(xy: Points, pose: Pose, side: str, head: float, scale: float) -> tuple[Limb | None, Points | None]:
    shoulder, elbow, wrist = J[f"{side}_SHOULDER"], J[f"{side}_ELBOW"], J[f"{side}_WRIST"]
    if not (pose.seen(elbow) or pose.seen(wrist)):
        return None, None
    middle = xy[elbow] if pose.seen(elbow) else (xy[shoulder] + xy[wrist]) / 2
    joints = [xy[shoulder], middle]
    points = pose.right_hand if side == "R" else pose.left_hand
    fingers = points[points[:, 2] > _MIN_FINGER_CONFIDENCE, :2] * scale
    forearm = xy[wrist] - middle
    length = float(np.linalg.norm(forearm))
    hand_seen = len(fingers) >= _MIN_FINGERS and bool(np.linalg.norm(fingers.mean(0) - xy[wrist]) < head)
    if not pose.seen(wrist) or (length < _MIN_FOREARM * head and not hand_seen):
        return Limb(np.array(joints), np.array([_ARM_RADII[0] * head])), None
    if hand_seen:
        hand = fingers.mean(0)
    else:
        hand = xy[wrist] + forearm / max(length, _MIN_HAND_FOREARM * head) * _HAND_BEYOND_WRIST * head
    joints += [xy[wrist], hand]
    return Limb(np.array(joints), np.array(_ARM_RADII) * head), hand


def _leg(
    xy: Points, pose: Pose | None, side: str, head: float, hips: Points, width: float, lowest: float
) -> tuple[Limb, Limb | None]:
    """Return a leg and its foot; with no pose the whole leg is placed by proportions.

    width: the shoulders' width; lowest: the row below which no foot is visible.
    """

    def seen(joint: J) -> bool:
        return pose is not None and pose.seen(joint)

    hip_joint, knee_joint, ankle_joint = J[f"{side}_HIP"], J[f"{side}_KNEE"], J[f"{side}_ANKLE"]
    outward = -_HIP_OFFSET * width if side == "R" else _HIP_OFFSET * width
    hip = xy[hip_joint] if seen(hip_joint) else hips + np.array([outward, 0])
    knee = xy[knee_joint] if seen(knee_joint) else hip + np.array([0, _THIGH * head])
    ankle = xy[ankle_joint] if seen(ankle_joint) else knee + np.array([0, _SHIN * head])
    leg = Limb(np.array([hip, knee, ankle]), np.array(_LEG_RADII) * head)
    if not seen(ankle_joint) or ankle[1] > lowest:
        return leg, None
    toes = [
        joint for joint in (J[f"{side}_BIG_TOE"], J[f"{side}_SMALL_TOE"], J[f"{side}_HEEL"]) if seen(joint)
    ]
    foot = [ankle, *(xy[joint] for joint in toes)] if toes else [ankle, ankle + np.array([0, _FOOT * head])]
    return leg, Limb(np.array(foot), np.full(len(foot) - 1, _FOOT_RADIUS * head))


def distance(limb: Limb, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Return each pixel's distance from the limb and its position along it, both float32, the shape of x.

    The distance is in units of the nearest bone's radius; the position counts bones from the limb's root.
    """
    nearest = np.full(x.shape, np.inf, np.float32)
    position = np.zeros(x.shape, np.float32)
    for i, (start, end, radius) in enumerate(zip(limb.joints[:-1], limb.joints[1:], limb.radii, strict=True)):
        # Python's numbers, unlike NumPy's, leave float32 arrays float32.
        bone_x, bone_y = (end - start).tolist()
        length2 = max(bone_x**2 + bone_y**2, 1e-6)  # not zero for two joints at one point
        dx, dy = x - float(start[0]), y - float(start[1])
        along = np.clip((dx * bone_x + dy * bone_y) / length2, 0, 1)
        apart = np.sqrt((dx - along * bone_x) ** 2 + (dy - along * bone_y) ** 2) / float(radius)
        closer = apart < nearest
        np.copyto(nearest, apart, where=closer)
        np.copyto(position, i + along, where=closer)
    return nearest, position
