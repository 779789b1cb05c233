"""Random weights for the benchmark: the speed does not depend on their values."""

from pathlib import Path

import torch
from torch import Tensor, nn

from worker.viton_hd.alias import AliasGenerator, AliasNorm
from worker.viton_hd.layers import SpectralConv2d
from worker.viton_hd.matching import GeometricMatching
from worker.viton_hd.segmentation import SegmentationGenerator

Files = tuple[Path, Path, Path]
"""The weights of the segmentation generator, of the matching and of the ALIAS generator."""

_POWER_ITERATIONS = 10
"""Iterations after which the estimated singular vectors have nearly converged."""

_NOISE_SCALE = 0.1
"""Standard deviation of the noise scales: not zero, so that the noise has an effect."""


def write_seeded_weights(folder: Path) -> Files:
    """Write random weights of seed 0, noise included, that keep the scale of activations."""
    torch.manual_seed(0)
    files = folder / "segmentation.pth", folder / "matching.pth", folder / "alias.pth"
    for kind, file in zip((SegmentationGenerator, GeometricMatching, AliasGenerator), files, strict=True):
        network = kind()
        for module in network.modules():
            _initialise(module)
        torch.save(network.state_dict(), file)
    return files


def _initialise(module: nn.Module) -> None:
    weight = getattr(module, "weight_orig", getattr(module, "weight", None))
    if isinstance(weight, Tensor) and weight.dim() > 1:
        bound = (3 / weight[0].numel()) ** 0.5  # the variance is 1 / inputs
        nn.init.uniform_(weight, -bound, bound)
    if isinstance(module, AliasNorm):
        nn.init.normal_(module.noise_scale, std=_NOISE_SCALE)
    if isinstance(module, SpectralConv2d):
        module.train()  # in training, each call does one power iteration
        for _ in range(_POWER_ITERATIONS):
            module.weight()
