"""Seeded weights of VITON-HD's networks, in files like the published ones."""

import json
from pathlib import Path

import numpy as np
import torch

from tests.vectors import seeded

SHAPES = json.loads((Path(seeded.__file__).with_name("state_dict_shapes.json")).read_text())
FILES = {"seg": "seg_final.pth", "gmm": "gmm_final.pth", "alias": "alias_final.pth"}


def state_dict(network: str) -> dict[str, torch.Tensor]:
    """Return the seeded weights of `seg`, `gmm` or `alias`."""
    names = {f"{network}.{key}": tuple(shape) for key, shape in SHAPES[network].items()}
    entries = seeded.state_dict(names, power_iterations=1)
    return {key.removeprefix(f"{network}."): torch.from_numpy(np.asarray(a)) for key, a in entries.items()}


def write(folder: Path) -> Path:
    """Write all three files; returns their folder."""
    for network, file in FILES.items():
        torch.save(state_dict(network), folder / file)
    return folder
