"""Measures the human parse against published label maps."""

from pathlib import Path
from typing import Any

import numpy as np

from worker.evaluation import samples
from worker.evaluation.cloth import iou
from worker.frame import FILL
from worker.maps import Part
from worker.models import Models
from worker.parsing import landmark

PARTS = {
    "upper clothes": (Part.UPPER_CLOTHES, Part.DRESS, Part.COAT),
    "lower clothes": (Part.PANTS, Part.SKIRT),
    "arms": (Part.LEFT_ARM, Part.RIGHT_ARM),
    "hair": (Part.HAIR,),
    "face": (Part.FACE,),
    "neck": (Part.NECK,),
}


def evaluate(folder: Path, models: Models) -> dict[str, Any]:
    """Return the IoU of each part for each person, and its mean over those who show it."""
    rows: dict[str, dict[str, float]] = {}
    for person in samples.people(folder):
        found = models.pose_estimator.estimate(person.photo)
        canvas = found.frame.to_canvas(person.photo, fill=FILL)
        labels = landmark.parse(canvas, found.pose, found.mask)
        truth = found.frame.to_canvas(person.parse, interpolation=0)
        rows[person.name] = {
            name: round(iou(np.isin(labels, parts), np.isin(truth, parts)), 3)
            for name, parts in PARTS.items()
            if np.isin(truth, parts).any()
        }
    means = {
        name: round(float(np.mean([row[name] for row in rows.values() if name in row])), 3) for name in PARTS
    }
    return rows | {"mean": means}
