"""Where a person's parts may lie: the body's measures and distance fields, from the joints alone."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from worker.images.frame import HEIGHT
from worker.images.maps import Body25 as J
from worker.images.maps import Pose


@dataclass(frozen=True)
class Limb:
    """A chain of joints, float64 (n, 2), and the radius around each of its bones, (n - 1,)."""

    joints: np.ndarray
    radii: np.ndarray


@dataclass(frozen=True)
class Body:
    """The person's measures on the working grid; left and right are the person's own.

    Attributes:
        head: the face's height, hairline to chin: the unit of all other lengths.
        face_centre, face_up: the middle of the face and the unit vector from chin to forehead.
        face_width: half the face's width.
        neck, hips: midpoints of the shoulders and of the hips.
        shoulders: (right, left), float64 (2, 2).
        arms, legs, feet: (right, left) limbs; None where the joints are not there.
        hands: (right, left) middles of the hands; None alike.
    """

    head: float
    face_centre: np.ndarray
    face_up: np.ndarray
    face_width: float
    neck: np.ndarray
    hips: np.ndarray
    shoulders: np.ndarray
    arms: tuple[Limb | None, Limb | None]
    hands: tuple[np.ndarray | None, np.ndarray | None]
    legs: tuple[Limb, Limb]
    feet: tuple[Limb | None, Limb | None]

    @property
    def torso(self) -> float:
        """Length from the neck to the middle of the hips."""
        return float(np.linalg.norm(self.hips - self.neck))


def measure(pose: Pose, scale: float) -> Body:
    """Return the body of a pose whose shoulders are seen, on a grid `scale` times the canvas.

    A joint that is missing is put where the proportions of a standing person have it, except elbows
    and wrists: an arm that is not seen is not there.
    """
    xy = pose.body[:, :2].astype(np.float64) * scale

    def seen(*joints: J) -> bool:
        return all(pose.seen(joint) for joint in joints)

    shoulders = xy[[J.R_SHOULDER, J.L_SHOULDER]]
    neck = shoulders.mean(0)
    width = float(np.linalg.norm(shoulders[0] - shoulders[1]))

    # Measures of the same length; the middle one survives a person turned aside, bowed or seated.
    face = _face_height(xy, seen)
    torso = float(np.linalg.norm(xy[[J.R_HIP, J.L_HIP]].mean(0) - neck)) if seen(J.R_HIP, J.L_HIP) else None
    nose_to_neck = float(np.linalg.norm(xy[J.NOSE] - neck)) if seen(J.NOSE) else None
    guesses = [0.66 * width, 0.44 * torso if torso else None, nose_to_neck, face]
    # But a face is never much larger than the head it belongs to: children, and bodies guessed too small.
    head = max(float(np.median([guess for guess in guesses if guess])), 0.85 * (face or 0))

    # Hips that the photograph does not show are guessed by the pose model, too high when it ends early.
    trusted = torso is not None and (face is None or torso > 1.6 * face)
    hips = xy[[J.R_HIP, J.L_HIP]].mean(0) if trusted else neck + np.array([0, 2.3 * max(head, face or 0)])
    down = (hips - neck) / np.linalg.norm(hips - neck)

    nose = xy[J.NOSE] if seen(J.NOSE) else neck - down * head
    up = -down
    if seen(J.R_EYE, J.L_EYE):
        eyes = xy[J.L_EYE] - xy[J.R_EYE]
        apart = float(np.linalg.norm(eyes))
        if apart > 0.2 * head and eyes[0] > 0:
            up = np.array([eyes[1], -eyes[0]]) / apart
    across = np.array([-up[1], up[0]])
    sideways = 0.0
    if seen(J.R_EAR, J.L_EAR):
        sideways = float((xy[[J.R_EAR, J.L_EAR]].mean(0) - nose) @ across)
    face_centre = nose + 0.07 * head * up + np.clip(sideways, -0.25 * head, 0.25 * head) * across

    arms, hands = zip(*(_arm(xy, pose, side, head, scale) for side in ("R", "L")), strict=True)
    legs, feet = zip(
        *(
            _leg(xy, pose if trusted else None, side, head, hips, width, 0.97 * HEIGHT * scale)
            for side in ("R", "L")
        ),
        strict=True,
    )
    return Body(
        head=head,
        face_centre=face_centre,
        face_up=up,
        face_width=0.43 * head,
        neck=neck,
        hips=hips,
        shoulders=shoulders,
        arms=arms,
        hands=hands,
        legs=legs,
        feet=feet,
    )


def _face_height(xy: np.ndarray, seen: Callable[..., bool]) -> float | None:
    """Return the face's height by its width; too small when it is turned aside, never too large."""
    widths = [
        factor * float(np.linalg.norm(xy[one] - xy[other]))
        for one, other, factor in ((J.R_EYE, J.L_EYE, 2.7), (J.R_EAR, J.L_EAR, 1.2))
        if seen(one, other)
    ]
    return max(widths, default=None)


def _arm(
    xy: np.ndarray, pose: Pose, side: str, head: float, scale: float
) -> tuple[Limb | None, np.ndarray | None]:
    shoulder, elbow, wrist = J[f"{side}_SHOULDER"], J[f"{side}_ELBOW"], J[f"{side}_WRIST"]
    if not (pose.seen(elbow) or pose.seen(wrist)):
        return None, None
    bend = xy[elbow] if pose.seen(elbow) else (xy[shoulder] + xy[wrist]) / 2
    joints = [xy[shoulder], bend]
    points = pose.right_hand if side == "R" else pose.left_hand
    fingers = points[points[:, 2] > 0.1, :2] * scale
    forearm = xy[wrist] - bend
    hand_seen = len(fingers) >= 5 and bool(np.linalg.norm(fingers.mean(0) - xy[wrist]) < head)
    # A forearm without length is one the pose model could not see, unless it found the hand there.
    if not pose.seen(wrist) or (np.linalg.norm(forearm) < 0.45 * head and not hand_seen):
        return Limb(np.array(joints), np.array([0.24 * head])), None
    if hand_seen:
        hand = fingers.mean(0)
    else:
        hand = xy[wrist] + forearm / max(float(np.linalg.norm(forearm)), 0.5 * head) * 0.4 * head
    joints += [xy[wrist], hand]
    return Limb(np.array(joints), np.array([0.24, 0.2, 0.3]) * head), hand


def _leg(
    xy: np.ndarray, pose: Pose | None, side: str, head: float, hips: np.ndarray, width: float, lowest: float
) -> tuple[Limb, Limb | None]:
    def seen(joint: J) -> bool:
        return pose is not None and pose.seen(joint)

    hip_joint, knee_joint, ankle_joint = J[f"{side}_HIP"], J[f"{side}_KNEE"], J[f"{side}_ANKLE"]
    outward = -0.35 * width if side == "R" else 0.35 * width
    hip = xy[hip_joint] if seen(hip_joint) else hips + np.array([outward, 0])
    knee = xy[knee_joint] if seen(knee_joint) else hip + np.array([0, 2.4 * head])
    ankle = xy[ankle_joint] if seen(ankle_joint) else knee + np.array([0, 2.2 * head])
    leg = Limb(np.array([hip, knee, ankle]), np.array([0.42, 0.32]) * head)
    if not seen(ankle_joint) or ankle[1] > lowest:
        return leg, None
    toes = [
        joint for joint in (J[f"{side}_BIG_TOE"], J[f"{side}_SMALL_TOE"], J[f"{side}_HEEL"]) if seen(joint)
    ]
    foot = [ankle, *(xy[joint] for joint in toes)] if toes else [ankle, ankle + np.array([0, 0.45 * head])]
    return leg, Limb(np.array(foot), np.full(len(foot) - 1, 0.28 * head))


def distance(limb: Limb, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how far each pixel is from the limb and where along it, both float32, the shape of x.

    The distance is in units of the nearest bone's radius; the place counts bones from the limb's root.
    """
    nearest = np.full(x.shape, np.inf, np.float32)
    place = np.zeros(x.shape, np.float32)
    for i, (start, end, radius) in enumerate(zip(limb.joints[:-1], limb.joints[1:], limb.radii, strict=True)):
        bone = end - start
        length2 = max(float(bone @ bone), 1e-6)
        along = np.clip(((x - start[0]) * bone[0] + (y - start[1]) * bone[1]) / length2, 0, 1)
        apart = np.hypot(x - start[0] - along * bone[0], y - start[1] - along * bone[1]) / radius
        closer = apart < nearest
        nearest[closer] = apart[closer]
        place[closer] = (i + along)[closer]
    return nearest, place
