"""The bones within a worn garment: where they are, and where they lie when the garment is laid flat."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from worker.images.frame import HEIGHT, WIDTH
from worker.images.maps import Body25 as J
from worker.images.maps import Pose

TRUNK, SLEEVES = 1, {"r": 2, "l": 3}
"""The garment's parts."""

_JOINTS = {"r": (J.R_SHOULDER, J.R_ELBOW, J.R_WRIST), "l": (J.L_SHOULDER, J.L_ELBOW, J.L_WRIST)}
_POINTS = 20  # along each bone
_ANGLES = (20.0, 35.0)  # degrees between a sleeve and the vertical
_UNEVEN = 2.0  # degrees, the standard deviation of the one sleeve's angle from the other's
_LONGER = 1.25  # how much longer a foreshortened bone may be laid out
_SHORTEST = 8  # what covers fewer points of an upper arm is no sleeve


@dataclass(frozen=True)
class Bone:
    """Points along a bone, float64 (n, 2), their targets, float64 (n, 2), and the part that it moves."""

    part: int
    points: np.ndarray
    targets: np.ndarray

    def turn(self) -> np.ndarray:
        """Return by how much the bone turns at each point, radians, float64 (n,)."""
        before, after = np.gradient(self.points, axis=0), np.gradient(self.targets, axis=0)
        return np.asarray(np.arctan2(after[:, 1], after[:, 0]) - np.arctan2(before[:, 1], before[:, 0]))


@dataclass(frozen=True)
class Skeleton:
    """Spine, shoulders and arms as far as there are sleeves; `size` is the shoulders' width, pixels."""

    spine: Bone
    shoulders: Bone
    arms: dict[str, Bone]
    size: float

    @property
    def bones(self) -> list[Bone]:
        """All of them, the spine first."""
        return [self.spine, self.shoulders, *self.arms.values()]


def skeleton(pose: Pose, own: np.ndarray, rng: np.random.Generator) -> Skeleton:
    """Return the bones within a garment, laid flat: shoulders level, sleeves straight beside the body.

    Args:
        pose: the joints; shoulders, elbows and hips are seen.
        own: bool (1024, 768), the garment.
        rng: draws the sleeves' angle.
    """
    at = {joint: pose.xy(joint).astype(float) for joint in J if pose.seen(joint)}
    right, left = at[J.R_SHOULDER], at[J.L_SHOULDER]
    neck, hips = (right + left) / 2, (at[J.R_HIP] + at[J.L_HIP]) / 2
    size = float(np.linalg.norm(left - right))
    half = np.array([size / 2, 0.0])
    spine = Bone(TRUNK, _line(neck, hips), _line(np.zeros(2), np.array([0.0, np.linalg.norm(hips - neck)])))
    shoulders = Bone(TRUNK, _line(right, left), _line(-half, half))

    joints = {side: [at[joint] for joint in _JOINTS[side] if joint in at] for side in SLEEVES}
    lengths = {side: np.linalg.norm(np.diff(joints[side], axis=0), axis=1) for side in SLEEVES}
    angle = rng.uniform(*_ANGLES)
    arms = {}
    for side, other, sign in (("r", "l", -1.0), ("l", "r", 1.0)):
        lean = np.deg2rad(angle + rng.normal(0, _UNEVEN))
        down = np.array([sign * np.sin(lean), np.cos(lean)])
        laid = [sign * half]
        # A bone that points towards the camera looks short: it is laid out about as long as the other arm's.
        for number, own_length in enumerate(lengths[side]):
            longer = max([own_length, *lengths[other][number : number + 1]])
            laid.append(laid[-1] + down * min(longer, _LONGER * own_length))
        arms[side] = Bone(SLEEVES[side], *(_along(corners) for corners in (joints[side], laid)))
    return Skeleton(spine, shoulders, _sleeved(arms, own), size)


def _sleeved(arms: dict[str, Bone], own: np.ndarray) -> dict[str, Bone]:
    """Return the arms without what is bare: as far as the shorter sleeve goes, or none."""
    ends = []
    for bone in arms.values():
        x, y = np.clip(bone.points.astype(int), 0, [WIDTH - 1, HEIGHT - 1]).T
        # Bare for good: three points of it in a row.
        bare = np.convolve(~own[y, x], np.ones(3), "valid") >= 3
        ends.append(int(np.argmax(bare)) if bare.any() else len(x))
    end = min(ends)
    if end < _SHORTEST:
        return {}
    return {side: Bone(bone.part, bone.points[:end], bone.targets[:end]) for side, bone in arms.items()}


def _line(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    return np.asarray(start + (end - start) * np.linspace(0, 1, _POINTS)[:, None])


def _along(corners: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([_line(a, b) for a, b in pairwise(corners)])
