"""Fits the score of `worker.geometric.rating` to pictures that a person has rated."""

import csv
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit
from scipy.stats import rankdata

from worker.geometric.rating import FACTORS, Factor
from worker.images.arrays import Floats

RATINGS = Path(__file__).with_name("ratings.csv")
"""Person, garment, rating (0 not to be shown, 1 acceptable, 2 good) and the values of FACTORS.

The files are those of the sample folders, of Clothing Co-Parsing's test photographs (`ccp_`), of the labelled
garment photographs (long names) and of the demonstration. `tryon evaluate panel` draws the pictures. No
command writes the values of `kept_dress`, `long_sleeves`, `shoulder_width` and `body_size`: they were
recorded once, together with the ratings.
"""

RIDGE = 2.0
"""Penalty on the squared weights, pictures: with some hundred pictures less lets chance decide."""

FOLDS, REPEATS = 8, 5
"""Parts of the cross-validation, and how often other parts are drawn; one person is always in one part."""

STEPS = 60
"""Newton steps of the fit; it has converged after about 10."""

SHOWN_FROM = 0.8
"""A picture with this score or more is promised to be good enough."""


@dataclass(frozen=True)
class Ratings:
    """Rated pictures: standardised values, float64 (n, factors), whether each can be shown, its person."""

    values: Floats
    shown: Floats
    people: list[str]
    factors: dict[str, Factor]


def read(file: Path = RATINGS) -> Ratings:
    """Return the rated pictures, with mean and spread of each factor measured on them."""
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    columns, factors = [], {}
    for name, factor in FACTORS.items():
        value = np.array([float(row[name]) for row in rows])
        value = np.sqrt(np.maximum(value, 0)) if factor.root else value
        factors[name] = replace(factor, mean=float(value.mean()), spread=float(value.std()))
        raw = [float(row[name]) for row in rows]
        columns.append([factors[name].standard(number) for number in raw])
    shown = np.array([float(int(row["rating"]) > 0) for row in rows])
    return Ratings(np.array(columns).T, shown, [row["person"] for row in rows], factors)


def fit(values: Floats, shown: Floats, ridge: float = RIDGE) -> Floats:
    """Return the weights and, last, the intercept of a logistic regression with a ridge penalty."""
    with_one = np.column_stack([values, np.ones(len(values))])
    penalty = np.diag([ridge] * values.shape[1] + [0.0])
    weights = np.zeros(with_one.shape[1])
    for _ in range(STEPS):
        probability = expit(with_one @ weights)
        curvature = (with_one.T * (probability * (1 - probability))) @ with_one + penalty
        weights -= np.linalg.solve(curvature, with_one.T @ (probability - shown) + penalty @ weights)
    return weights


def out_of_fold(ratings: Ratings, seed: int = 0) -> Floats:
    """Return each picture's probability by a fit on other people's pictures, the mean over the repeats."""
    people = sorted(set(ratings.people))
    rng = np.random.default_rng(seed)
    sums = np.zeros(len(ratings.shown))
    for _ in range(REPEATS):
        fold = dict(zip(people, rng.permutation(len(people)) % FOLDS, strict=True))
        folds = np.array([fold[person] for person in ratings.people])
        for number in range(FOLDS):
            test = folds == number
            weights = fit(ratings.values[~test], ratings.shown[~test])
            sums[test] += expit(np.column_stack([ratings.values[test], np.ones(test.sum())]) @ weights)
    return sums / REPEATS


def area_under_curve(scores: Floats, shown: Floats) -> float:
    """Return the area under the ROC curve: how often a picture that can be shown has the higher score."""
    ranks = rankdata(scores)
    good = int(shown.sum())
    return float((ranks[shown == 1].sum() - good * (good + 1) / 2) / (good * (len(shown) - good)))


def report(file: Path = RATINGS) -> dict[str, Any]:
    """Return the fit, and how reliable it is on people that it was not fitted to."""
    ratings = read(file)
    weights = fit(ratings.values, ratings.shown)
    scores = out_of_fold(ratings)
    sure = scores >= SHOWN_FROM
    bands = [(low, scores[(scores >= low) & (scores < low + 0.2)]) for low in (0.0, 0.2, 0.4, 0.6, 0.8)]
    return {
        "pictures": len(scores),
        "can_be_shown": round(float(ratings.shown.mean()), 4),
        "auc_out_of_fold": round(area_under_curve(scores, ratings.shown), 4),
        "scored_0.8_or_more": int(sure.sum()),
        "of_these_not_to_be_shown": round(1 - float(ratings.shown[sure].mean()), 4) if sure.any() else None,
        "reliability": {
            f"{low:.1f}": [
                len(band),
                round(float(ratings.shown[(scores >= low) & (scores < low + 0.2)].mean()), 3)
                if len(band)
                else None,
            ]
            for low, band in bands
        },
        "intercept": round(float(weights[-1]), 4),
        "factors": {
            name: {
                "mean": round(factor.mean, 4),
                "spread": round(factor.spread, 4),
                "weight": round(float(weight), 4),
            }
            for (name, factor), weight in zip(ratings.factors.items(), weights[:-1], strict=True)
        },
    }
