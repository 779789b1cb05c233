"""Scores a network on the labelled validation photographs while it is trained."""

from functools import cache
from pathlib import Path

import numpy as np

from worker.cloth.garment_network import GarmentNetwork
from worker.cloth.garment_reader import GarmentReader
from worker.cloth.landmarks import NAMES
from worker.lab.garment_training.photographs import read, validation_rows


def score(network: GarmentNetwork, folder: Path, size: int) -> dict[str, float]:
    """Return the shares of landmarks within 5 % and 8 %, of sleeves and of photographs wholly right.

    Errors are in units of the diagonal of the labelled points' bounding box.
    """
    reader = GarmentReader(network, size)
    errors, whole, sleeves = [], [], []
    for photo, points, sleeve in _photographs(folder):
        reading = reader.read(photo)
        known = ~np.isnan(points[:, 0])
        diagonal = float(np.linalg.norm(points[known].max(0) - points[known].min(0)))
        distances = np.linalg.norm(reading.points[known] - points[known], axis=1) / diagonal
        errors.append(distances)
        whole.append(bool((distances < 0.08).all()))
        sleeves.append(_THREE[reading.best("sleeve")] == _THREE[sleeve])
    together = np.concatenate(errors)
    return {
        "pck_0.05": round(float((together < 0.05).mean()), 4),
        "pck_0.08": round(float((together < 0.08).mean()), 4),
        "all_points_0.08": round(float(np.mean(whole)), 4),
        "sleeve": round(float(np.mean(sleeves)), 4),
    }


_THREE = {
    **dict.fromkeys(("none", "strap", "cap"), "none"),
    **dict.fromkeys(("short", "elbow"), "short"),
    "long": "long",
}


@cache
def _photographs(folder: Path) -> list[tuple[np.ndarray, np.ndarray, str]]:
    found = []
    for row in validation_rows(folder):
        points = np.array([row["points"][name] or (np.nan, np.nan) for name in NAMES])
        found.append((read(folder / "photos" / row["file"]), points, row["sleeve"]))
    return found
