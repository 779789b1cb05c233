"""Rates a finished try-on: measured values, a score from 0 to 1, and warnings."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from skimage.color import deltaE_ciede2000, rgb2lab

from config.errors import SynthesisError
from worker.cloth.landmarks import GarmentLandmarks
from worker.images.arrays import Canvas, Flags, Floats, Image, Indices, Mask
from worker.images.compare import max_difference
from worker.images.maps import Body25 as J
from worker.images.maps import Pose

FOLDED = 0.06  # share of a part's area that may be turned over before the picture is refused
TORN = 0.15  # share of a part's area that may be torn before the picture is refused

_SAMPLES = 400  # pixels of each picture that are matched; the assignment takes about 10 ms
_CHANGED = 3  # grey levels: a pixel that differs by less in every channel counts as unchanged
_LIKELIHOOD_RATIO = 6.0  # of a colour on the old garment and beside it, from which it counts as left over
_WARNING_SCORE = 0.5  # checks with a lower score give a warning

_FINGERS = (4, 5, 8, 9, 12, 13, 16, 17, 20)  # knuckles and tips in OpenPose's order; a cuff may hide the rest
_MIN_FINGERS = 5  # visible finger joints for a hand to be checked
_HAND_CHANGED = 16  # grey levels: a finger that differs by less in every channel is unchanged

_BODY = (J.R_SHOULDER, J.L_SHOULDER, J.R_ELBOW, J.L_ELBOW, J.R_HIP, J.L_HIP)
_CORE = ("r_neck", "l_neck", "r_shoulder", "l_shoulder", "r_armpit", "l_armpit", "r_hem", "l_hem")


@dataclass(frozen=True)
class Check:
    """One measured value.

    Attributes:
        value: the value, in the unit of the check's function.
        score: its quality, 0..1.
    """

    value: float
    score: float


@dataclass(frozen=True)
class Verdict:
    """The rating of a picture.

    Attributes:
        checks: name -> Check.
        warnings: what may look wrong, as sentences.
        probability: that the picture can be shown, 0..1, from a model fitted to rated pictures; None where
            the engine has no such model.
        reason: what lowers the probability most, in words; empty without one.
    """

    checks: Mapping[str, Check]
    warnings: list[str]
    probability: float | None = None
    reason: str = ""

    @property
    def score(self) -> float:
        """The probability, or without one the lowest score of all checks."""
        if self.probability is not None:
            return self.probability
        return min(check.score for check in self.checks.values())

    def record(self) -> dict[str, Any]:
        """Return the verdict as JSON values: warnings, checks, score and reason."""
        checks = {
            name: {"value": round(check.value, 4), "score": round(check.score, 3)}
            for name, check in self.checks.items()
        }
        return {
            "warnings": self.warnings,
            "checks": checks,
            "score": round(self.score, 3),
            "reason": self.reason,
        }


def require_score(verdict: Verdict, least: float) -> None:
    """Raise SynthesisError when the score is below the least one that the job accepts, 0..1."""
    if verdict.score >= least:
        return
    reason = verdict.reason or " ".join(verdict.warnings)
    raise SynthesisError(
        f"The picture would look wrong: {reason} (score {verdict.score:.2f}, least {least:.2f}). Use another "
        "photograph of the person or the garment, or accept poorer pictures by the option minimum_score."
    )


class _Scale(NamedTuple):
    """The values with the scores 1 and 0, and the warning for a low score; `{}` stands for the value."""

    best: float
    worst: float
    warning: str


# Pictures with the worst value of `folded` or `stretched` are refused before they are rated.
_SCALES: dict[str, _Scale] = {
    "changed": _Scale(0.6, 0.05, "Little of the picture changed where the garment is ({:.0%})."),
    "colour": _Scale(
        5.0, 25.0, "The garment's colours on the body differ from its photograph (ΔE2000 {:.0f})."
    ),
    "outside": _Scale(0.0, 1.0, "{:.0f} pixels outside the region changed."),
    "left": _Scale(0.01, 0.10, "Some of the old garment may still be visible ({:.0%} of it)."),
    "guessed": _Scale(
        0.15,
        0.8,
        "Much of the background behind the old garment is guessed, because the new one is narrower.",
    ),
    "hands": _Scale(0.1, 0.6, "A hand may be covered by mistake."),
    "folded": _Scale(
        0.005, FOLDED, "The garment is creased where the warp turns too sharply ({:.1%} of a part)."
    ),
    "stretched": _Scale(0.01, TORN, "The garment is stretched far beyond its own shape ({:.0%} of a part)."),
    "landmarks": _Scale(
        0.6,
        0.1,
        "The garment's landmarks have a low confidence; collar, sleeves or hem may be misplaced.",
    ),
    "pose": _Scale(
        0.7, 0.1, "Some joints of the person have a low confidence; the garment may be misplaced."
    ),
}


def judge(values: Mapping[str, float], warnings: list[str]) -> Verdict:
    """Return the verdict on measured values, with the names of this module's functions.

    Args:
        values: those that apply to the engine: `changed` of `changed_share`, `colour` of `colour_distance`,
            `outside` of `changed_outside`, `left` of `left_over`, `guessed` of `guessed_share`, `hands` of
            `hands_covered`, `folded` and `stretched` the worst part's share of `warp.folded_share` and
            `warp.stretched_share`, `landmarks` and `pose` of the confidences.
        warnings: warnings that are known already.
    """
    checks, all_warnings = {}, list(warnings)
    for name, value in values.items():
        scale = _SCALES[name]
        score = np.clip((value - scale.worst) / (scale.best - scale.worst), 0, 1)
        checks[name] = Check(value, float(score))
        if checks[name].score < _WARNING_SCORE:
            all_warnings.append(scale.warning.format(value))
    return Verdict(checks, all_warnings)


def changed_share(before: Canvas, after: Canvas, region: Mask) -> float:
    """Return the share of the region's core, where its alpha is at least 128, that looks different.

    before, after: RGB uint8 (h, w, 3); region: uint8 (h, w). 0 for an empty region.
    """
    core = region >= 128
    if not core.any():
        return 0.0
    return float(np.mean(max_difference(before, after)[core] >= _CHANGED))


def changed_outside(before: Canvas, after: Canvas, region: Mask) -> int:
    """Return how many pixels differ at all where the region's alpha is 0; arrays as in `changed_share`."""
    return int(np.count_nonzero(max_difference(before, after)[region == 0]))


def colour_distance(garment: Image, mask: Mask, worn: Image, visible: Flags, exposure: float = 1.0) -> float:
    """Return the distance of a garment's colours on the body and in its own picture, median ΔE2000.

    The two sets of colours are matched one to one at the least total distance in CIELAB: the earth mover's
    distance (Rubner et al., "The Earth Mover's Distance as a Metric for Image Retrieval", IJCV 40(2), 2000)
    of evenly spaced samples. The distance of matched colours is CIEDE2000 (Sharma et al., Color Research
    and Application 30(1), 2005).

    Args:
        garment: the garment's picture, RGB uint8 (h, w, 3).
        mask: uint8 (h, w), 128 and more is garment.
        worn: the picture with the garment on the body, RGB uint8 (h', w', 3).
        visible: bool (h', w'), where the garment is visible there.
        exposure: the factor by which the garment was darkened on purpose; it is reversed first.

    100 where the garment is not visible at all.
    """
    in_garment, on_body = np.flatnonzero(mask >= 128), np.flatnonzero(visible)
    if not len(in_garment) or not len(on_body):
        return 100.0
    count = min(_SAMPLES, len(in_garment), len(on_body))
    samples = [
        picture.reshape(-1, 3)[_evenly_spaced(positions, count)].astype(np.float64)
        for picture, positions in ((garment, in_garment), (worn, on_body))
    ]
    samples[1] = np.clip(samples[1] / exposure, 0, 255)
    lab = [rgb2lab(colours[None] / 255)[0] for colours in samples]
    rows, columns = linear_sum_assignment(cdist(lab[0], lab[1], "sqeuclidean"))
    differences = deltaE_ciede2000(lab[0][rows], lab[1][columns])  # type: ignore[no-untyped-call]
    return float(np.median(differences))


def left_over(before: Canvas, region: Mask, old: Flags, beside: Flags, reach: int) -> float:
    """Return how much of the old garment may still be visible, as a share of its area.

    Two kinds of unchanged pixels are counted: those labelled as the old garment, and those within `reach`
    pixels of it, where labels are unreliable, whose colour is much more likely on the old garment than on
    pixels of the `beside` labels farther away.

    Args:
        before: the photograph, RGB uint8 (h, w, 3).
        region: uint8 (h, w), the alpha of the change.
        old: bool (h, w), the old garment.
        beside: bool (h, w), background and bare skin, which are not part of the old garment.
        reach: pixels.
    """
    area = np.count_nonzero(old)
    if not area:
        return 0.0
    unchanged = region < 128
    near = cv2.distanceTransform((~old).astype(np.uint8), cv2.DIST_L2, 3) <= reach
    lab = np.asarray(cv2.cvtColor(before, cv2.COLOR_RGB2LAB), np.uint8)
    elsewhere = beside & ~near
    stray = np.zeros_like(old)
    candidates = near & beside & unchanged
    if elsewhere.any() and candidates.any():
        colours = lab[candidates]
        in_old, in_rest = (_likelihood(lab, area, colours) for area in (old, elsewhere))
        candidates[candidates] = in_old > _LIKELIHOOD_RATIO * in_rest
        # Single pixels are noise.
        opened = cv2.morphologyEx(candidates.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        stray = np.asarray(opened > 0)
    return float(np.count_nonzero((old & unchanged) | stray) / area)


def guessed_share(guessed: Flags, garment: Floats) -> float:
    """Return the area of visible guessed background, as a share of the garment's area.

    guessed: bool (h, w), where it is visible; garment: float32 (h, w), the garment's alpha.
    """
    return float(guessed.sum() / max(float(garment.sum()), 1.0))


def hands_covered(before: Canvas, after: Canvas, pose: Pose, lower: Flags) -> float:
    """Return the share of a hand's fingers and knuckles that changed, for the worse hand.

    before, after: RGB uint8 (h, w, 3); lower: bool (h, w), trousers and skirt: a finger there is in a pocket.
    0 where no hand is visible.
    """
    height, width = before.shape[:2]
    worst = 0.0
    for hand in (pose.left_hand, pose.right_hand):
        x, y = hand[list(_FINGERS), :2].astype(int).T
        visible = (hand[list(_FINGERS), 2] > 0) & (x >= 0) & (x < width) & (y >= 0) & (y < height)
        visible[visible] &= ~lower[y[visible], x[visible]]
        if visible.sum() >= _MIN_FINGERS:
            x, y = x[visible], y[visible]
            difference = cv2.blur(max_difference(before, after).astype(np.float32), (5, 5))
            worst = max(worst, float((difference[y, x] > _HAND_CHANGED).mean()))
    return worst


def landmark_confidence(landmarks: GarmentLandmarks) -> float:
    """Return the mean confidence of a garment's collar, shoulders, armpits and hem, 0..1."""
    return float(np.mean([landmarks.confidence[name] for name in _CORE]))


def pose_confidence(pose: Pose) -> float:
    """Return the mean confidence of shoulders, elbows and hips, 0..1; a missing joint counts 0."""
    return float(np.mean(pose.body[list(_BODY), 2]))


def _evenly_spaced(positions: Indices, count: int) -> Indices:
    """Return that many of the positions (n,), evenly spaced in their order: the choice is deterministic."""
    return np.asarray(positions[np.linspace(0, len(positions) - 1, count).astype(int)])


def _likelihood(lab: Image, area: Flags, colours: Image) -> Floats:
    """Return the likelihood of colours (n, 3) in the area, from a smoothed histogram, float32 (n,)."""
    bins = 24
    counts = cv2.calcHist([lab], [0, 1, 2], area.astype(np.uint8), [bins] * 3, [0, 256] * 3)
    for axis in range(3):
        counts = (np.roll(counts, 1, axis) + 2 * counts + np.roll(counts, -1, axis)) / 4
    index = (colours.astype(np.int32) * bins) >> 8
    share = counts / counts.sum() + 1e-6
    return np.asarray(share[index[..., 0], index[..., 1], index[..., 2]], np.float32)
