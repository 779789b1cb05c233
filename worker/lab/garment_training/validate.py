"""Measures a network on the labelled validation photographs during training."""

from functools import cache
from pathlib import Path
from typing import Any

from worker.cloth.garment_reader import GarmentReader
from worker.images.arrays import Image
from worker.lab.evaluation.garments import read_photograph, summary
from worker.lab.garment_training.network import GarmentNetwork, forward_of
from worker.lab.garment_training.photographs import read, validation_rows

FIGURES = ("pck_0.05", "pck_0.08", "all_points_0.08", "sleeve_accuracy")
"""Figures of `worker.lab.evaluation.garments.summary` that are columns of the curve."""


def score(network: GarmentNetwork, folder: Path, size: int) -> dict[str, float]:
    """Return FIGURES of a network on the validation photographs of a folder.

    Args:
        network: the network.
        folder: the folder of labelled photographs.
        size: side of the network's input, pixels.
    """
    reader = GarmentReader(forward_of(network), size)
    figures = summary(
        [read_photograph(row, photo, reader.read, reader) for row, photo in _photographs(folder)]
    )
    return {name: figures[name] for name in FIGURES}


@cache
def _photographs(folder: Path) -> list[tuple[dict[str, Any], Image]]:
    return [(row, read(folder / "photos" / row["file"])) for row in validation_rows(folder)]
