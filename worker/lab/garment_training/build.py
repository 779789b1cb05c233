"""Builds the banks of examples that the garment network is trained on."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from config.errors import InputValidationError
from worker.lab.garment_training import bank, photographs
from worker.lab.garment_training.cutouts import cutout_examples
from worker.lab.garment_training.drawn import drawn as draw
from worker.lab.garment_training.examples import Example

PARTS = ("pieces", "labelled", "classed", "worn", "drawn", "cutouts")
"""What can be built: pieces of photographs as cloth and background, and the banks."""


def build(
    garments: Path,
    people: Path,
    data: Path,
    *,
    drawn: int,
    seed: int,
    parts: Sequence[str] = PARTS,
    everything: bool = False,
) -> dict[str, int]:
    """Build the named parts and return how many examples each holds.

    Args:
        garments: the folder of garment photographs with labels.
        people: the folder of Clothing Co-Parsing.
        data: where the banks are written; drawn garments are added to those that are there.
        everything: whether the validation photographs are trained on too.

    Raises InputValidationError for a part that is not one of PARTS.
    """
    if unknown := set(parts) - set(PARTS):
        raise InputValidationError(
            f"There is no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}."
        )
    data.mkdir(parents=True, exist_ok=True)
    counts = {}
    if "pieces" in parts:
        grounds, cloths = photographs.crops(garments)
        np.save(data / "grounds.npy", grounds)
        np.save(data / "cloths.npy", cloths)
        counts["pieces"] = len(grounds) + len(cloths)
    if "labelled" in parts:
        examples = photographs.labelled_examples(garments, everything)
        counts["labelled"] = bank.write(data / "labelled", examples)
    if "classed" in parts:
        counts["classed"] = bank.write(data / "classed", photographs.classed_examples(garments))
    if "worn" in parts:
        counts["worn"] = bank.write(data / "worn", photographs.worn_examples(people))
    if "drawn" in parts:
        counts["drawn"] = bank.write(data / "drawn", _drawn(data, drawn, seed), replace=False)
    if "cutouts" in parts:
        counts["cutouts"] = bank.write(data / "cutouts", cutout_examples(garments))
    return counts


def _drawn(data: Path, count: int, seed: int) -> Iterator[Example]:
    rng = np.random.default_rng(seed)
    cloths = np.load(data / "cloths.npy")
    for _ in range(count):
        yield draw(rng, cloths)
