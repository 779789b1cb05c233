"""Writes a run's averaged weights in the form that is shipped."""

from collections.abc import Sequence
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


def export(runs: Sequence[Path], target: Path) -> Path:
    """Write the mean of the weights of one or more runs as an ONNX file for `GarmentReader.load`.

    Runs that started from each other may be averaged: the mean reads better than each (Wortsman et al.,
    "Model soups", ICML 2022).

    Args:
        runs: the averaged.pt of each run.
        target: the file to write, which is returned.

    Raises WeightsMissingError when one holds another network's weights.
    """
    network = GarmentNetwork()
    weights = [load_state_dict(file, shapes(network)) for file in runs]
    mean = {
        name: torch.stack([run[name].double() for run in weights]).mean(0).to(value.dtype)
        for name, value in weights[0].items()
    }
    network.load_state_dict(mean)
    export_network(network, target)
    return target


def export_network(network: GarmentNetwork, target: Path, size: int = SETTINGS.size) -> None:
    """Write a network as an ONNX file for any number of pictures of size × size."""
    picture = torch.zeros(2, 3, size, size)
    write_onnx(_Flat(network), (picture,), target, ["pictures"], list(OUTPUTS), any_count=True)
