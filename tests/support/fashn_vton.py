"""Seeded weights of FASHN VTON's network, and its tiny configuration."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from tests.vectors import seeded
from worker import weights
from worker.fashn_vton.engine import WEIGHTS, FashnVtonEngine
from worker.fashn_vton.network import Sizes, TryOnTransformer
from worker.fashn_vton.preparation import Padding, Prepared
from worker.stages import table
from worker.weights import folder

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


def prepared(seed: int = 0) -> Prepared:
    """Return a job for the tiny network: seeded pictures without a pose."""
    person, garment = (
        ((seeded.image(name, 3, *TINY.input_shape) + 1) * 127.5).astype(np.uint8).transpose(1, 2, 0)
        for name in ("fashn-ca", "fashn-garment")
    )
    pose = np.zeros(TINY.input_shape, np.uint8)
    return Prepared(person, pose, garment, 1, seed, Padding(0, 0, 0, 0))


def write(models_dir: Path) -> Path:
    """Write the seeded weights as the installed weight file, with its recorded hash; return the file."""
    models_dir.mkdir(parents=True, exist_ok=True)
    downloaded = models_dir / "downloaded.safetensors"
    save_file(state_dict(), downloaded)
    entry = weights.catalogue()[WEIGHTS]
    folder.install(entry, downloaded, models_dir, report=str, trust=lambda *_: True)
    return models_dir / entry.file


def install() -> None:
    """Put an engine of the tiny network into the table of stages, in place of the full-size one."""
    tiny = FashnVtonEngine(TINY)
    table.STAGES = tuple(
        replace(row, methods=tuple(tiny if real.name == tiny.name else real for real in row.methods))
        for row in table.STAGES
    )
