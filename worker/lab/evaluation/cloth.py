"""Measures the garment mask against published masks, and on hard cases made from the same garments."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from config.errors import GarmentMaskError
from worker.cloth.mask import segment
from worker.lab.demo.sheet import sheet
from worker.lab.evaluation import hard_garments, samples

TOLERANCE = 3
"""How far two outlines may lie apart and still agree, pixels of a 768×1024 picture."""

PUBLISHED = "published"
"""The case of a photograph as it was published, with its published mask."""

HARD = tuple(hard_garments.CASES)
"""The hard cases."""

_MISSED, _TOO_MUCH, _AGREED = (0, 90, 255), (255, 0, 0), (255, 255, 255)


@dataclass(frozen=True)
class Measured:
    """One picture and what was made of it.

    Attributes:
        case: PUBLISHED or one of the hard cases.
        garment: the garment's name.
        photo: RGB uint8 (h, w, 3).
        truth, found: bool (h, w); nothing is found where the mask was refused.
        milliseconds: how long it took.
    """

    case: str
    garment: str
    photo: np.ndarray
    truth: np.ndarray
    found: np.ndarray
    milliseconds: float


def measure(folder: Path, cases: Iterable[str] = (PUBLISHED, *HARD)) -> list[Measured]:
    """Return every case of every garment of the folder, segmented."""
    garments = list(samples.garments(folder))
    return [_measured(case, sample, number) for case in cases for number, sample in enumerate(garments)]


def by_garment(results: Sequence[Measured]) -> dict[str, dict[str, Any]]:
    """Return IoU, boundary F-score and milliseconds of each garment, and the mean and worst of each score."""
    rows: dict[str, dict[str, Any]] = {
        result.garment: {**_scores(result), "ms": round(result.milliseconds)} for result in results
    }
    return rows | _mean_and_worst(list(rows.values()))


def by_case(results: Sequence[Measured]) -> dict[str, dict[str, Any]]:
    """Return the mean and the worst IoU and boundary F-score of each case, and of all of them together."""
    scores: dict[str, list[Mapping[str, float]]] = {}
    for result in results:
        scores.setdefault(result.case, []).append(_scores(result))
    scores["all"] = [row for rows in scores.values() for row in rows]
    table = {}
    for case, rows in scores.items():
        both = _mean_and_worst(rows)
        table[case] = {
            f"{which}_{name}": both[which][name]
            for name in ("iou", "boundary_f")
            for which in ("mean", "worst")
        }
    return table


def contact_sheet(results: Sequence[Measured]) -> np.ndarray:
    """Return each result as photograph, truth and mask, RGB uint8; red: too much, blue: missed."""
    panels = []
    for result in results:
        truth, ours = (np.zeros_like(result.photo) for _ in range(2))
        truth[result.truth] = _AGREED
        ours[result.found & result.truth] = _AGREED
        ours[result.found & ~result.truth] = _TOO_MUCH
        ours[~result.found & result.truth] = _MISSED
        title = f"{result.garment} {result.case}: {iou(result.found, result.truth):.3f}"
        panels.append((title, np.hstack([result.photo, truth, ours])))
    return sheet(panels, columns=3, height=260)


def iou(found: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union of two masks, bool (h, w); 1 when both are empty."""
    union = np.count_nonzero(found | truth)
    return np.count_nonzero(found & truth) / union if union else 1.0


def boundary_f(found: np.ndarray, truth: np.ndarray, tolerance: int = TOLERANCE) -> float:
    """F-score of two masks' outlines: of the pixels of each that lie near the other's.

    After Perazzi et al., A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation,
    CVPR 2016.
    """
    outlines = [_outline(mask) for mask in (found, truth)]
    near = [
        cv2.distanceTransform((~outline).astype(np.uint8), cv2.DIST_L2, 5) <= tolerance
        for outline in outlines
    ]
    precision = np.mean(near[1][outlines[0]]) if outlines[0].any() else 0.0
    recall = np.mean(near[0][outlines[1]]) if outlines[1].any() else 0.0
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def _measured(case: str, sample: samples.GarmentSample, number: int) -> Measured:
    given = sample if case == PUBLISHED else hard_garments.make(case, sample, number)
    began = time.perf_counter()
    try:
        found = segment(given.photo) >= 128
    except GarmentMaskError:
        # To refuse a garment that is there is to miss all of it.
        found = np.zeros_like(given.mask)
    milliseconds = 1000 * (time.perf_counter() - began)
    return Measured(case, sample.name, given.photo, given.mask, found, milliseconds)


def _scores(result: Measured) -> dict[str, float]:
    return {
        "iou": round(iou(result.found, result.truth), 4),
        "boundary_f": round(boundary_f(result.found, result.truth), 4),
    }


def _mean_and_worst(rows: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    scores = {name: [row[name] for row in rows] for name in ("iou", "boundary_f")}
    return {
        "mean": {name: round(float(np.mean(values)), 4) for name, values in scores.items()},
        "worst": {name: min(values) for name, values in scores.items()},
    }


def _outline(mask: np.ndarray) -> np.ndarray:
    solid = mask.astype(np.uint8)
    return (solid - cv2.erode(solid, np.ones((3, 3), np.uint8))).astype(bool)
