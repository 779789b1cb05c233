"""Stores examples in memory-mapped files, so that training does not draw or decode them again."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from config.errors import InputValidationError
from worker.cloth.garment_output import ATTRIBUTES
from worker.lab.garment_training.examples import RECORD, SIZE, UNKNOWN, Example, from_record, record

_PICTURE = SIZE * SIZE * 4  # bytes


class Bank:
    """A folder with `pictures.bin`, `records.bin` and `count.json`; another process may add to it.

    A bank has the examples that the folder held when it was opened. Raises InputValidationError when the
    folder holds no bank.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self.count = _count(folder)
        except FileNotFoundError as error:
            raise InputValidationError(
                f"{folder} holds no examples: run `tryon garment dataset`.", input=str(folder)
            ) from error
        if self.count:
            shape = (self.count, SIZE, SIZE, 4)
            self.pictures: NDArray[np.uint8] = np.memmap(folder / "pictures.bin", np.uint8, "r", shape=shape)
            self.records = np.fromfile(folder / "records.bin", RECORD, self.count)
            self.shares = _shares(self.records["attributes"])

    def draw(self, rng: Generator) -> Example:
        """Return a random example; examples with rare attributes are oversampled."""
        return self[int(np.searchsorted(self.shares, rng.random()))]

    def __getitem__(self, index: int) -> Example:
        return from_record(np.array(self.pictures[index]), self.records[index])

    def __len__(self) -> int:
        return self.count


def write(folder: Path, examples: Iterable[Example], *, replace: bool = True, every: int = 100) -> int:
    """Write examples to a bank's folder and return how many it holds.

    Args:
        replace: start with an empty bank; otherwise add to the existing one.
        every: number of examples after which readers see the new ones.
    """
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    if not replace and (folder / "count.json").is_file():
        count = _count(folder)
    mode = "r+b" if count else "wb"
    with (folder / "pictures.bin").open(mode) as pictures, (folder / "records.bin").open(mode) as records:
        pictures.seek(count * _PICTURE)
        records.seek(count * RECORD.itemsize)
        for example in examples:
            pictures.write(example.rgba.tobytes())
            records.write(record(example))
            count += 1
            if count % every == 0:
                pictures.flush()
                records.flush()
                _publish(folder, count)
    _publish(folder, count)
    return count


def _count(folder: Path) -> int:
    """Return the number of examples that a bank's folder holds. Raises FileNotFoundError."""
    return int(json.loads((folder / "count.json").read_text())["count"])


_OVERSAMPLED = ("kind", "front", "view", "support")
"""Attributes whose rare values are oversampled: trousers, open fronts, back views, folded garments."""


def _shares(attributes: NDArray[np.int8]) -> NDArray[np.float64]:
    """Return the cumulative sampling probability of the examples, 0..1.

    The probability is proportional to the reciprocal square root of the frequency of the kind, and of the
    rarest other attribute: between the original and equal frequencies. Unknown values count as frequent.
    """
    rarity = [_rarity(attributes[:, list(ATTRIBUTES).index(name)]) for name in _OVERSAMPLED]
    ends = np.cumsum(rarity[0] * np.max(rarity[1:], axis=0))
    return np.asarray(ends / ends[-1])


def _rarity(values: NDArray[np.int8]) -> NDArray[np.float64]:
    """Return 1 / sqrt(frequency) of each example's value; 1 where it is unknown."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    known = max(1, int(np.count_nonzero(values != UNKNOWN)))
    return np.where(values == UNKNOWN, 1.0, np.sqrt(known / counts)[which])


def _publish(folder: Path, count: int) -> None:
    part = folder / "count.json.part"
    part.write_text(json.dumps({"count": count}))
    part.replace(folder / "count.json")
