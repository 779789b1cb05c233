"""Runs the shipped garment network with OpenCV: a worker of the `cpu` queue needs no PyTorch."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from config.errors import WeightsMissingError
from worker.cloth.garment_output import ATTRIBUTES, Forward, GarmentOutput
from worker.images.network_input import MEAN, SPREAD

OUTPUTS = ("mask", "maps", "present", *ATTRIBUTES)
"""The names of the model's outputs."""


def load_forward(file: Path) -> Forward:
    """Return the function that runs an ONNX file of `tryon garment export`.

    An ONNX file is a list of layers with their weights: loading it evaluates nothing.

    Raises WeightsMissingError when the file is missing, or is not such a model.
    """
    if not file.is_file():
        raise WeightsMissingError(
            f"The model file {file} is missing. Download it with `tryon weights fetch`."
        )
    try:
        network = cv2.dnn.readNetFromONNX(str(file))
    except cv2.error as error:
        raise WeightsMissingError(f"The model file {file} is damaged or no ONNX file.") from error
    if set(network.getUnconnectedOutLayersNames()) != set(OUTPUTS):
        raise WeightsMissingError(f"The model file {file} is of another network: its outputs differ.")

    def forward(pictures: NDArray[np.uint8]) -> GarmentOutput:
        inputs = ((pictures.astype(np.float32) - MEAN) / SPREAD).transpose(0, 3, 1, 2)
        network.setInput(np.ascontiguousarray(inputs))
        outputs = (np.asarray(value, np.float32) for value in network.forward(OUTPUTS))
        values = dict(zip(OUTPUTS, outputs, strict=True))
        mask, maps, present = (values.pop(name) for name in OUTPUTS[:3])
        return GarmentOutput(mask, maps, present, values)

    return forward
