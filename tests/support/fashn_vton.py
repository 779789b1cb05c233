"""Seeded weights of FASHN VTON's network, and its tiny configuration."""

import json
from pathlib import Path

import numpy as np
import torch

from tests.vectors import seeded
from worker.fashn_vton.network import Sizes, TryOnTransformer

VECTORS = Path(seeded.__file__).with_name("fashn_vton")
SHAPES = json.loads((VECTORS / "state_dict_shapes.json").read_text())
TINY = Sizes(
    **{
        key: tuple(value) if isinstance(value, list) else value
        for key, value in SHAPES["tiny_config"].items()
    }
)


def state_dict() -> dict[str, torch.Tensor]:
    """Return the seeded weights of the tiny network."""
    entries = seeded.state_dict({f"fashn.{key}": tuple(shape) for key, shape in SHAPES["tiny"].items()})
    return {key.removeprefix("fashn."): torch.from_numpy(np.asarray(value)) for key, value in entries.items()}


def network() -> TryOnTransformer:
    """Return the tiny network with its seeded weights."""
    with torch.device("meta"):
        tiny = TryOnTransformer(TINY)
    tiny.load_state_dict(state_dict(), strict=True, assign=True)
    return tiny.eval()
