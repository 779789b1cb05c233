"""Measures the garment mask against published masks, and on hard cases made from the same garments."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from config.errors import GarmentMaskError, GarmentUnsuitableError
from worker.cloth.garment import suitable_reading
from worker.cloth.garment_reader import GarmentReader
from worker.images.arrays import Flags, Image
from worker.images.regions import iou
from worker.images.shapes import square
from worker.lab.demo.sheet import sheet
from worker.lab.evaluation import hard_garments, samples

TOLERANCE = 3
"""Largest distance at which two outlines still agree, pixels of a 768×1024 picture."""

PUBLISHED = "published"
"""The case of an unchanged photograph with its published mask."""

HARD = tuple(hard_garments.CASES)
"""The names of the hard cases."""

_MISSED, _TOO_MUCH, _AGREED = (0, 90, 255), (255, 0, 0), (255, 255, 255)


@dataclass(frozen=True)
class SegmentedGarment:
    """One picture and the mask that the project computed for it.

    Attributes:
        case: PUBLISHED or one of the hard cases.
        garment: the garment's name.
        photo: RGB uint8 (h, w, 3).
        truth: bool (h, w).
        mask: bool (h, w); empty where the project refused the picture.
        milliseconds: time of the segmentation.
    """

    case: str
    garment: str
    photo: Image
    truth: Flags
    mask: Flags
    milliseconds: float


def measure(
    folder: Path, reader: GarmentReader, cases: Iterable[str] = (PUBLISHED, *HARD)
) -> list[SegmentedGarment]:
    """Return every case of every garment of the folder, segmented as in the stage `cloth`.

    Raises InputValidationError when the folder contains no garment.
    """
    garments = list(samples.garments(folder))
    return [
        _segment(case, sample, number, reader) for case in cases for number, sample in enumerate(garments)
    ]


def by_garment(results: Sequence[SegmentedGarment]) -> dict[str, dict[str, Any]]:
    """Return IoU, boundary F-score and milliseconds of each garment, and the mean and worst of each score."""
    rows: dict[str, dict[str, Any]] = {
        result.garment: {**_scores(result), "ms": round(result.milliseconds)} for result in results
    }
    return rows | _mean_and_worst(list(rows.values()))


def by_case(results: Sequence[SegmentedGarment]) -> dict[str, dict[str, Any]]:
    """Return the mean and the worst IoU and boundary F-score of each case, and of all of them together."""
    scores: dict[str, list[Mapping[str, float]]] = {}
    for result in results:
        scores.setdefault(result.case, []).append(_scores(result))
    scores["all"] = [row for rows in scores.values() for row in rows]
    table = {}
    for case, rows in scores.items():
        summary = _mean_and_worst(rows)
        table[case] = {
            f"{statistic}_{score}": summary[statistic][score]
            for score in ("iou", "boundary_f")
            for statistic in ("mean", "worst")
        }
    return table


def contact_sheet(results: Sequence[SegmentedGarment]) -> Image:
    """Return each result as photograph, truth and mask, RGB uint8; red: too much, blue: missed."""
    panels = []
    for result in results:
        truth, mask = (np.zeros_like(result.photo) for _ in range(2))
        truth[result.truth] = _AGREED
        mask[result.mask & result.truth] = _AGREED
        mask[result.mask & ~result.truth] = _TOO_MUCH
        mask[~result.mask & result.truth] = _MISSED
        title = f"{result.garment} {result.case}: {iou(result.mask, result.truth):.3f}"
        panels.append((title, np.hstack([result.photo, truth, mask])))
    return sheet(panels, columns=3, height=260)


def boundary_f(mask: Flags, truth: Flags, tolerance: int = TOLERANCE) -> float:
    """Return the F-score of two masks' outlines: a pixel agrees when it is near the other outline.

    After Perazzi et al., A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation,
    CVPR 2016.

    Args:
        mask, truth: bool (h, w).
        tolerance: how near, pixels.
    """
    outline, true_outline = _outline(mask), _outline(truth)
    near, near_truth = (
        cv2.distanceTransform((~edge).astype(np.uint8), cv2.DIST_L2, 5) <= tolerance
        for edge in (outline, true_outline)
    )
    precision = np.mean(near_truth[outline]) if outline.any() else 0.0
    recall = np.mean(near[true_outline]) if true_outline.any() else 0.0
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def _segment(
    case: str, sample: samples.GarmentSample, number: int, reader: GarmentReader
) -> SegmentedGarment:
    picture = sample if case == PUBLISHED else hard_garments.make(case, sample, number)
    began = time.perf_counter()
    try:
        _, mask = suitable_reading(picture.photo, reader)
    except (GarmentMaskError, GarmentUnsuitableError):
        # A picture that shows a garment and is refused counts as missed completely.
        mask = np.zeros_like(picture.mask)
    milliseconds = 1000 * (time.perf_counter() - began)
    return SegmentedGarment(case, sample.name, picture.photo, picture.mask, mask, milliseconds)


def _scores(result: SegmentedGarment) -> dict[str, float]:
    return {
        "iou": round(iou(result.mask, result.truth), 4),
        "boundary_f": round(boundary_f(result.mask, result.truth), 4),
    }


def _mean_and_worst(rows: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    scores = {name: [row[name] for row in rows] for name in ("iou", "boundary_f")}
    return {
        "mean": {name: round(float(np.mean(values)), 4) for name, values in scores.items()},
        "worst": {name: min(values) for name, values in scores.items()},
    }


def _outline(mask: Flags) -> Flags:
    solid = mask.astype(np.uint8)
    return (solid - cv2.erode(solid, square(1))).astype(np.bool_)
