"""Writes a run's averaged weights in the form that is shipped."""

import warnings
from pathlib import Path

import torch
from torch import nn

from worker.cloth.garment_model import OUTPUTS
from worker.cloth.garment_output import ATTRIBUTES
from worker.cloth.garment_reader import SETTINGS
from worker.lab.garment_training.network import GarmentNetwork
from worker.weights.checkpoint import load_state_dict, shapes

_OPSET = 17
"""Version of ONNX's operators: OpenCV reads all that the network uses."""


class _Flat(nn.Module):
    """The network with its outputs in the order of OUTPUTS."""

    def __init__(self, network: GarmentNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, ...]:
        output = self.network(pictures)
        attributes = (output.attributes[name] for name in ATTRIBUTES)
        return output.mask, output.maps, output.present, output.rotation, *attributes


def export(averaged: Path, target: Path) -> Path:
    """Write a run's averaged.pt as an ONNX file for `GarmentReader.load` and return the file.

    Raises WeightsMissingError when it holds another network's weights.
    """
    network = GarmentNetwork()
    network.load_state_dict(load_state_dict(averaged, shapes(network)))
    export_network(network, target)
    return target


def export_network(network: GarmentNetwork, target: Path, size: int = SETTINGS.size) -> None:
    """Write a network as an ONNX file for any number of pictures of size × size."""
    target.parent.mkdir(parents=True, exist_ok=True)
    names = list(OUTPUTS)
    with warnings.catch_warnings():
        # The newer exporter needs a further package and writes operators that OpenCV does not read.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            _Flat(network).eval(),
            (torch.zeros(2, 3, size, size),),
            str(target),
            input_names=["pictures"],
            output_names=names,
            dynamic_axes={name: {0: "count"} for name in ["pictures", *names]},
            opset_version=_OPSET,
            dynamo=False,
        )
