"""Judges a drawn try-on: what was measured about it, a score from 0 to 1, and warnings in words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from skimage.color import deltaE_ciede2000, rgb2lab

from worker.cloth.landmarks import GarmentLandmarks
from worker.geometric.paint import farthest
from worker.geometric.warp import FOLDED, TORN
from worker.images.maps import Body25 as J
from worker.images.maps import Pose

_SAMPLES = 400  # pixels of each picture that are matched: their assignment takes some 10 ms
_SEEN = 3  # a pixel that differs by less than this in every channel counts as unchanged
_LIKELIER = 6.0  # how much likelier a colour must be on the old garment than beside it to count as left over
_WARN = 0.5  # checks that score less are put into words

_FINGERS = (4, 5, 8, 9, 12, 13, 16, 17, 20)  # knuckles and tips in OpenPose's order; a cuff may hide the rest
_FEWEST_FINGERS = 5
_SEEN_ON_HANDS = 16  # a finger that differs by less than this in its strongest channel is the one of before

_BODY = (J.R_SHOULDER, J.L_SHOULDER, J.R_ELBOW, J.L_ELBOW, J.R_HIP, J.L_HIP)
_CORE = ("r_neck", "l_neck", "r_shoulder", "l_shoulder", "r_armpit", "l_armpit", "r_hem", "l_hem")


@dataclass(frozen=True)
class Check:
    """One thing that was measured.

    Attributes:
        value: what was measured, in the unit that the check's function says.
        score: how good that is, 0..1.
    """

    value: float
    score: float


@dataclass(frozen=True)
class Verdict:
    """What is to be thought of a picture.

    Attributes:
        checks: name -> Check.
        warnings: what may look wrong, in words.
    """

    checks: Mapping[str, Check]
    warnings: list[str]

    @property
    def score(self) -> float:
        """The lowest score of all checks: a picture is as good as what is worst in it."""
        return min(check.score for check in self.checks.values())

    def record(self) -> dict[str, Any]:
        """Return the verdict as JSON values: warnings, checks and score."""
        checks = {
            name: {"value": round(check.value, 4), "score": round(check.score, 3)}
            for name, check in self.checks.items()
        }
        return {"warnings": self.warnings, "checks": checks, "score": round(self.score, 3)}


# name -> the value that is perfect, the value that is worth nothing, and what to say about a bad one. What is
# folded or stretched so far that it is worth nothing is refused.
_SCALES: dict[str, tuple[float, float, str]] = {
    "changed": (0.6, 0.05, "Little of the picture changed where the garment is ({:.0%})."),
    "colour": (5.0, 25.0, "The garment's colours on the body differ from its photograph (ΔE2000 {:.0f})."),
    "outside": (0.0, 1.0, "{:.0f} pixels outside the region changed."),
    "left": (0.01, 0.10, "Some of the old garment may still be seen ({:.0%} of it)."),
    "guessed": (0.15, 0.8, "Much of the background had to be guessed where the old garment was wider."),
    "hands": (0.1, 0.6, "A hand may have been painted over."),
    "folded": (0.005, FOLDED, "The garment is creased where it was bent too sharply ({:.1%} of a part)."),
    "stretched": (0.01, TORN, "The garment is stretched far beyond its own shape ({:.0%} of a part)."),
    "landmarks": (0.6, 0.1, "The garment's shape was hard to read; collar, sleeves or hem may sit wrongly."),
    "pose": (0.7, 0.1, "Some joints of the person were hardly seen; the garment may sit wrongly."),
}


def judge(values: Mapping[str, float], warnings: list[str]) -> Verdict:
    """Return the verdict on measured values, by name as in this module's functions.

    Args:
        values: `changed` of `changed_share`, `colour` of `colour_distance`, `outside` of `changed_outside`,
            `left` of `left_over`, `guessed` of `guessed_share`, `hands` of `hands_covered`, `folded` and
            `stretched` the worst part's share of `warp.folded_share` and `warp.stretched_share`, `landmarks`
            and `pose` of the confidences.
        warnings: what is known to be wrong already.
    """
    checks, said = {}, list(warnings)
    for name, value in values.items():
        best, worst, words = _SCALES[name]
        checks[name] = Check(value, float(np.clip((value - worst) / (best - worst), 0, 1)))
        if checks[name].score < _WARN:
            said.append(words.format(value))
    return Verdict(checks, said)


def changed_share(before: np.ndarray, after: np.ndarray, region: np.ndarray) -> float:
    """Return the share of the region's core, where its alpha is at least 128, that looks different.

    before, after: RGB uint8 (h, w, 3); region: uint8 (h, w). 0 where there is no region.
    """
    core = region >= 128
    if not core.any():
        return 0.0
    return float(np.mean(farthest(before, after)[core] >= _SEEN))


def changed_outside(before: np.ndarray, after: np.ndarray, region: np.ndarray) -> int:
    """Return how many pixels differ at all where the region's alpha is 0; arrays as in `changed_share`."""
    return int(np.count_nonzero(farthest(before, after)[region == 0]))


def colour_distance(
    garment: np.ndarray, mask: np.ndarray, worn: np.ndarray, visible: np.ndarray, exposure: float = 1.0
) -> float:
    """Return how far a garment's colours on the body are from those of its picture, median ΔE2000.

    The two sets of colours are matched one to one at the least total distance in CIELAB, which is the
    earth mover's distance (Rubner et al., "The Earth Mover's Distance as a Metric for Image Retrieval",
    IJCV 40(2), 2000) of evenly drawn samples; between matched colours CIEDE2000 is taken (Sharma et al.,
    Color Research and Application 30(1), 2005).

    Args:
        garment: the garment's picture, RGB uint8 (h, w, 3).
        mask: uint8 (h, w), 128 and more is garment.
        worn: the picture with the garment on the body, RGB uint8 (h', w', 3).
        visible: bool (h', w'), where the garment is seen there.
        exposure: by how much the garment was darkened on purpose; the comparison takes that back.

    100 where the garment is not seen at all.
    """
    one, other = garment[mask >= 128], worn[visible]
    if not len(one) or not len(other):
        return 100.0
    count = min(_SAMPLES, len(one), len(other))
    drawn = [_even(colours, count).astype(np.float64) for colours in (one, other)]
    drawn[1] = np.clip(drawn[1] / exposure, 0, 255)
    lab = [rgb2lab(colours[None] / 255)[0] for colours in drawn]
    rows, columns = linear_sum_assignment(cdist(lab[0], lab[1], "sqeuclidean"))
    return float(np.median(deltaE_ciede2000(lab[0][rows], lab[1][columns])))


def left_over(
    before: np.ndarray, region: np.ndarray, old: np.ndarray, beside: np.ndarray, reach: int
) -> float:
    """Return how much of the old garment may still be seen, as a share of its area.

    Counted are pixels that kept the photograph's colours: those labelled as the old garment, and those
    within `reach` pixels of it, where labels err, whose colour is far likelier on the old garment than on
    what is labelled alike farther away.

    Args:
        before: the photograph, RGB uint8 (h, w, 3).
        region: uint8 (h, w), the alpha of what changed.
        old: bool (h, w), what was to be replaced.
        beside: bool (h, w), background and bare skin, where nothing of the old garment should be.
        reach: pixels.
    """
    area = np.count_nonzero(old)
    if not area:
        return 0.0
    kept = region < 128
    near = cv2.distanceTransform((~old).astype(np.uint8), cv2.DIST_L2, 3) <= reach
    lab = cv2.cvtColor(before, cv2.COLOR_RGB2LAB)
    elsewhere = beside & ~near
    stray = np.zeros_like(old)
    if elsewhere.any():
        likelier = _likelihood(lab, old) > _LIKELIER * _likelihood(lab, elsewhere)
        stray = near & beside & likelier & kept
        # Single pixels are noise.
        stray = cv2.morphologyEx(stray.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
    return float(np.count_nonzero((old & kept) | stray) / area)


def guessed_share(guessed: np.ndarray, garment: np.ndarray) -> float:
    """Return how much background was painted where none was to be seen, as a share of the garment's area.

    guessed: bool (h, w), what still shows of it; garment: float32 (h, w), the garment's alpha.
    """
    return float(guessed.sum() / max(float(garment.sum()), 1.0))


def hands_covered(before: np.ndarray, after: np.ndarray, pose: Pose, lower: np.ndarray) -> float:
    """Return the share of a hand's fingers and knuckles that no longer look alike, the worse hand's.

    before, after: RGB uint8 (h, w, 3); lower: bool (h, w), trousers and skirt: a finger there is in a pocket.
    0 where no hand is seen.
    """
    height, width = before.shape[:2]
    worst = 0.0
    for hand in (pose.left_hand, pose.right_hand):
        x, y = hand[list(_FINGERS), :2].astype(int).T
        seen = (hand[list(_FINGERS), 2] > 0) & (x >= 0) & (x < width) & (y >= 0) & (y < height)
        seen[seen] &= ~lower[y[seen], x[seen]]
        if seen.sum() >= _FEWEST_FINGERS:
            x, y = x[seen], y[seen]
            other = cv2.blur(farthest(before, after).astype(np.float32), (5, 5))[y, x] > _SEEN_ON_HANDS
            worst = max(worst, float(other.mean()))
    return worst


def landmark_confidence(found: GarmentLandmarks) -> float:
    """Return the mean confidence of a garment's collar, shoulders, armpits and hem, 0..1."""
    return float(np.mean([found.confidence[name] for name in _CORE]))


def pose_confidence(pose: Pose) -> float:
    """Return the mean confidence of shoulders, elbows and hips, 0..1; a joint that is not seen counts 0."""
    return float(np.mean(pose.body[list(_BODY), 2]))


def _even(colours: np.ndarray, count: int) -> np.ndarray:
    """Return that many of the colours (n, 3), evenly spaced in their order: no chance is needed."""
    return np.asarray(colours[np.linspace(0, len(colours) - 1, count).astype(int)])


def _likelihood(lab: np.ndarray, area: np.ndarray) -> np.ndarray:
    """Return how likely each pixel's colour is in the area, by a smoothed histogram, float32 (h, w)."""
    bins = 24
    counts = cv2.calcHist([lab], [0, 1, 2], area.astype(np.uint8), [bins] * 3, [0, 256] * 3)
    for axis in range(3):
        counts = (np.roll(counts, 1, axis) + 2 * counts + np.roll(counts, -1, axis)) / 4
    index = (lab.astype(np.int32) * bins) >> 8
    share = counts / counts.sum() + 1e-6
    return np.asarray(share[index[..., 0], index[..., 1], index[..., 2]], np.float32)
