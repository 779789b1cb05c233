"""The garment network with the weights of the project."""

from functools import cache
from pathlib import Path

import worker.cloth
from worker.cloth.garment_reader import GarmentReader

WEIGHTS = Path(worker.cloth.__file__).parent / "model" / "garment.onnx"


@cache
def garment_reader() -> GarmentReader:
    """Return the reader, loaded once."""
    return GarmentReader.load(WEIGHTS)
