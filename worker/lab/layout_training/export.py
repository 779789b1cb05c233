"""Writes a run's averaged weights in the form that is shipped."""

from pathlib import Path

from safetensors.torch import save_file

from worker.geometric.layout import LayoutNetwork
from worker.weights.checkpoint import load_state_dict, shapes


def export(averaged: Path, target: Path) -> Path:
    """Write a run's averaged.pt as safetensors in half precision and return the file.

    Raises WeightsMissingError when it holds another network's weights.
    """
    tensors = load_state_dict(averaged, shapes(LayoutNetwork()))
    halved = {
        key: (value.half() if value.is_floating_point() else value).contiguous()
        for key, value in tensors.items()
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    save_file(halved, target)
    return target
