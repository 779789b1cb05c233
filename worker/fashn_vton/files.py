"""Loads the network from its weight file."""

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
    with torch.device("meta"):  # saves the time and memory of initial values
        network = TryOnTransformer(sizes)
    network.load_state_dict(load_state_dict(file, shapes(network)), strict=True, assign=True)
    return network.eval()
