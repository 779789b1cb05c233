"""The probability that a picture can be shown to a customer: a logistic model fitted to rated pictures.

`tryon evaluate score` fits it again on `worker/lab/evaluation/ratings.csv` and prints its reliability.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Factor:
    """One term of the model.

    Attributes:
        mean, spread: mean and standard deviation of the values in the rated pictures.
        weight: what one standard deviation adds to the logarithm of the odds.
        reason: what a viewer may see where the term lowers the probability.
        root: whether the square root of the value is used: shares near 0 differ more than those near 1.
    """

    mean: float
    spread: float
    weight: float
    reason: str
    root: bool = False

    def standard(self, value: float) -> float:
        """Return the value in standard deviations from the mean, at most LIMIT of them."""
        moved = (math.sqrt(max(value, 0.0)) if self.root else value) - self.mean
        return max(-LIMIT, min(LIMIT, moved / self.spread))


LIMIT = 3.0
"""Standard deviations at which a value is clipped: beyond them there are no rated pictures."""

INTERCEPT = 0.5887
"""The logarithm of the odds of a picture with the mean of every factor."""

FACTORS: Mapping[str, Factor] = {
    "guessed": Factor(
        0.1833, 0.1277, -1.0564, "much of the background behind the old garment had to be guessed", root=True
    ),
    "stretched": Factor(
        0.0197, 0.0398, -0.6374, "the garment is stretched far beyond its own shape", root=True
    ),
    "kept_dress": Factor(0.1376, 0.3357, 0.5065, "the old garment ends at another height than the new one"),
    "long_sleeves": Factor(0.3099, 0.4624, -0.7492, "the new sleeves do not follow the arms"),
    "shoulder_width": Factor(1.0016, 0.1608, 0.4684, "the garment's shoulders are narrow or misread"),
    "body_size": Factor(0.3401, 0.0415, -0.4429, "the person is large, so that every flaw is visible"),
}


def probability(values: Mapping[str, float]) -> float:
    """Return the probability that the picture can be shown, 0..1.

    values: each name of FACTORS -> its value. `guessed` and `stretched` are those of `worker.verdict`;
    `kept_dress` is the share of the old garment that is a dress; `long_sleeves` is 1 for long sleeves;
    `shoulder_width` is the garment's width at the shoulders, in units of its width at the armpits;
    `body_size` is the width of the shoulders seen from the front, in units of the picture's width.
    """
    odds = INTERCEPT + sum(_term(name, values) for name in FACTORS)
    return 1 / (1 + math.exp(-odds))


def reason(values: Mapping[str, float]) -> str:
    """Return what lowers the probability most, a sentence; `values` as in `probability`."""
    return FACTORS[min(FACTORS, key=lambda name: _term(name, values))].reason


def _term(name: str, values: Mapping[str, float]) -> float:
    return FACTORS[name].weight * FACTORS[name].standard(values[name])
