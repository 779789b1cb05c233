"""Measures the garment mask against published masks."""

import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from worker.cloth.mask import segment
from worker.evaluation import samples

TOLERANCE = 3
"""How far two outlines may lie apart and still agree, pixels of a 768×1024 picture."""


def evaluate(folder: Path) -> dict[str, Any]:
    """Return IoU, boundary F-score and milliseconds of each garment, and the mean and worst of each score."""
    rows = {}
    for garment in samples.garments(folder):
        began = time.perf_counter()
        found = segment(garment.photo) >= 128
        milliseconds = 1000 * (time.perf_counter() - began)
        rows[garment.name] = {
            "iou": round(iou(found, garment.mask), 4),
            "boundary_f": round(boundary_f(found, garment.mask), 4),
            "ms": round(milliseconds),
        }
    scores = {name: [row[name] for row in rows.values()] for name in ("iou", "boundary_f")}
    rows["mean"] = {name: round(float(np.mean(values)), 4) for name, values in scores.items()}
    rows["worst"] = {name: min(values) for name, values in scores.items()}
    return rows


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


def _outline(mask: np.ndarray) -> np.ndarray:
    solid = mask.astype(np.uint8)
    return (solid - cv2.erode(solid, np.ones((3, 3), np.uint8))).astype(bool)
