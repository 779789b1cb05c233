"""Seeded weights of VITON-HD's networks, in files with the published names."""

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

from tests.vectors import seeded
from worker.viton_hd.alias import AliasGenerator
from worker.viton_hd.matching import GeometricMatching
from worker.viton_hd.segmentation import SegmentationGenerator

SHAPES = json.loads((Path(seeded.__file__).with_name("state_dict_shapes.json")).read_text())
FILES = {"seg": "seg_final.pth", "gmm": "gmm_final.pth", "alias": "alias_final.pth"}
NETWORKS = {"seg": SegmentationGenerator, "gmm": GeometricMatching, "alias": AliasGenerator}


def state_dict(network: str, power_iterations: int = 15) -> dict[str, torch.Tensor]:
    """Return the seeded weights of `seg`, `gmm` or `alias`; the vectors have 15 power iterations."""
    names = {f"{network}.{key}": tuple(shape) for key, shape in SHAPES[network].items()}
    entries = seeded.state_dict(names, power_iterations)
    return {key.removeprefix(f"{network}."): torch.from_numpy(np.asarray(a)) for key, a in entries.items()}


def network(name: str) -> nn.Module:
    """Return the network of this name with its seeded weights."""
    with torch.device("meta"):
        seeded_network = NETWORKS[name]()
    seeded_network.load_state_dict(state_dict(name), strict=True, assign=True)
    return seeded_network.eval()


def write(folder: Path) -> Path:
    """Write all three files; return their folder."""
    for network, file in FILES.items():
        torch.save(state_dict(network, power_iterations=1), folder / file)
    return folder
