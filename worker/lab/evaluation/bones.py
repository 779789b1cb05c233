"""The bones inside a worn garment: where they are on the person, and where they go in a product picture."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from worker.images.arrays import Flags, Floats, Points
from worker.images.frame import HEIGHT, WIDTH
from worker.images.maps import Body25 as J
from worker.images.maps import Pose

TRUNK, SLEEVES = 1, {"r": 2, "l": 3}
"""The numbers of the garment's parts; the sides are the person's own."""

_ARM_JOINTS = {"r": (J.R_SHOULDER, J.R_ELBOW, J.R_WRIST), "l": (J.L_SHOULDER, J.L_ELBOW, J.L_WRIST)}

_POINTS_PER_BONE = 20

_SLEEVE_ANGLES = (20.0, 35.0)
"""The range of the angle between the sleeves and the vertical, degrees: as product pictures show them."""

_ANGLE_DIFFERENCE = 2.0
"""Standard deviation of the difference between the two sleeves' angles, degrees."""

_MAX_LENGTHENING = 1.25
"""A foreshortened bone may become this many times as long: more would stretch its texture visibly."""

_BARE_RUN = 3
"""An arm is bare from where this many points in a row are outside the garment: fewer may be label noise."""

_MIN_SLEEVE_POINTS = 8
"""A garment that covers fewer points of the upper arms has no sleeves."""


@dataclass(frozen=True)
class Bone:
    """Points along a bone and where they go.

    Attributes:
        part: the number of the part that the bone moves.
        points: float64 (n, 2), on the person's canvas.
        targets: float64 (n, 2), in the product picture.
    """

    part: int
    points: Points
    targets: Points

    def rotation(self) -> Floats:
        """Return by how much the bone rotates at each point, radians, float64 (n,)."""
        before, after = np.gradient(self.points, axis=0), np.gradient(self.targets, axis=0)
        return np.asarray(np.arctan2(after[:, 1], after[:, 0]) - np.arctan2(before[:, 1], before[:, 0]))


@dataclass(frozen=True)
class Skeleton:
    """Spine, shoulder line and the covered part of the arms.

    Attributes:
        spine, shoulders: the trunk's bones.
        arms: `r`, `l` -> the sleeve's bone; empty for a garment without sleeves.
        shoulder_width: canvas pixels.
    """

    spine: Bone
    shoulders: Bone
    arms: dict[str, Bone]
    shoulder_width: float

    @property
    def bones(self) -> list[Bone]:
        """All bones, the spine first."""
        return [self.spine, self.shoulders, *self.arms.values()]


def build_skeleton(pose: Pose, garment: Flags, rng: np.random.Generator) -> Skeleton:
    """Return the bones; their targets have level shoulders and straight sleeves beside the body.

    Args:
        pose: the joints; shoulders, elbows and hips are visible.
        garment: bool (1024, 768).
        rng: chooses the sleeves' angles.
    """
    joints = {joint: pose.xy(joint).astype(float) for joint in J if pose.seen(joint)}
    right, left = joints[J.R_SHOULDER], joints[J.L_SHOULDER]
    neck, hips = (right + left) / 2, (joints[J.R_HIP] + joints[J.L_HIP]) / 2
    width = float(np.linalg.norm(left - right))
    half = np.array([width / 2, 0.0])
    length = np.array([0.0, np.linalg.norm(hips - neck)])
    spine = Bone(TRUNK, _line(neck, hips), _line(np.zeros(2), length))
    shoulders = Bone(TRUNK, _line(right, left), _line(-half, half))
    arms = _arms(joints, half, rng)
    return Skeleton(spine, shoulders, _covered(arms, garment), width)


def _arms(joints: dict[J, Points], half: Points, rng: np.random.Generator) -> dict[str, Bone]:
    """Return both arms, from the shoulder to the last visible joint; `half` is half the shoulder line."""
    chains = {side: [joints[joint] for joint in _ARM_JOINTS[side] if joint in joints] for side in SLEEVES}
    lengths = {side: np.linalg.norm(np.diff(chains[side], axis=0), axis=1) for side in SLEEVES}
    angle = rng.uniform(*_SLEEVE_ANGLES)
    arms = {}
    for side, other, sign in (("r", "l", -1.0), ("l", "r", 1.0)):
        lean = np.deg2rad(angle + rng.normal(0, _ANGLE_DIFFERENCE))
        direction = np.array([sign * np.sin(lean), np.cos(lean)])
        targets = [sign * half]
        # A bone that points at the camera looks short: its target is about as long as the other arm's bone.
        for number, own_length in enumerate(lengths[side]):
            longest = max([own_length, *lengths[other][number : number + 1]])
            targets.append(targets[-1] + direction * min(longest, _MAX_LENGTHENING * own_length))
        arms[side] = Bone(SLEEVES[side], _polyline(chains[side]), _polyline(targets))
    return arms


def _covered(arms: dict[str, Bone], garment: Flags) -> dict[str, Bone]:
    """Return the arms as far as the shorter sleeve covers them, or none."""
    ends = []
    for bone in arms.values():
        x, y = np.clip(bone.points.astype(int), 0, [WIDTH - 1, HEIGHT - 1]).T
        bare = np.convolve(~garment[y, x], np.ones(_BARE_RUN), "valid") >= _BARE_RUN
        ends.append(int(np.argmax(bare)) if bare.any() else len(x))
    end = min(ends)
    if end < _MIN_SLEEVE_POINTS:
        return {}
    return {side: Bone(bone.part, bone.points[:end], bone.targets[:end]) for side, bone in arms.items()}


def _line(start: Points, end: Points) -> Points:
    return np.asarray(start + (end - start) * np.linspace(0, 1, _POINTS_PER_BONE)[:, None])


def _polyline(corners: list[Points]) -> Points:
    return np.concatenate([_line(a, b) for a, b in pairwise(corners)])
