"""Writes a run's averaged weights in the form that is shipped."""

from pathlib import Path

import torch
from torch import nn

from worker.cloth.garment_model import OUTPUTS
from worker.cloth.garment_output import ATTRIBUTES
from worker.cloth.garment_reader import SETTINGS
from worker.lab.garment_training.network import GarmentNetwork
from worker.lab.onnx_file import write_onnx
from worker.weights.checkpoint import load_state_dict, shapes


class _Flat(nn.Module):
    """The network with its outputs in the order of OUTPUTS."""

    def __init__(self, network: GarmentNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, ...]:
        output = self.network(pictures)
        attributes = (output.attributes[name] for name in ATTRIBUTES)
        return output.mask, output.maps, output.present, *attributes


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
    picture = torch.zeros(2, 3, size, size)
    write_onnx(_Flat(network), (picture,), target, ["pictures"], list(OUTPUTS), any_count=True)
