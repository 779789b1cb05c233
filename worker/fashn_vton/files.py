"""The weight file of the network: the published one, as the catalogue names it."""

from pathlib import Path

import torch

from worker.fashn_vton.network import Sizes, TryOnTransformer
from worker.weights.checkpoint import load_state_dict, shapes


def load_network(file: Path, sizes: Sizes | None = None) -> TryOnTransformer:
    """Return the network on the CPU, in the type of the file's tensors.

    Args:
        file: a safetensors file with the keys and shapes of the published one.
        sizes: the sizes of the network; None for the published ones.

    Raises WeightsMissingError when the file is missing, damaged or truncated, contains anything else than
    tensors, or belongs to another network.
    """
    network = _without_values(sizes)
    network.load_state_dict(load_state_dict(file, shapes(network)), strict=True, assign=True)
    return network.eval()


def check(file: Path) -> None:
    """Raise WeightsMissingError unless the file contains the published network's weights."""
    load_state_dict(file, shapes(_without_values(None)))


def _without_values(sizes: Sizes | None) -> TryOnTransformer:
    """Return the network without memory for its weights: initial values would take time and memory."""
    with torch.device("meta"):
        return TryOnTransformer(sizes)
