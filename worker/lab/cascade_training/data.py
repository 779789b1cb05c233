"""Training pairs: people and the garments that they wear, in a folder laid out as VITON-HD."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import UnidentifiedImageError
from torch import Tensor
from torch.utils.data import Dataset

from config.errors import ImageLoadError, InputValidationError, PoseError
from worker.images.agnostic import checked_joints
from worker.images.arrays import Canvas, Floats, Labels
from worker.images.frame import HEIGHT, WIDTH
from worker.images.maps import Part
from worker.images.openpose import from_openpose_json
from worker.lab.cascade_training.sizes import Size
from worker.viton_hd.inputs import InputMaps, TryOnInput, from_uint8, one_hot
from worker.viton_hd.labels import SYNTHESIS, UPPER, segmentation_labels, synthesis_labels

_PARTS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "image": (("image",), "{}.jpg"),
    "cloth": (("cloth",), "{}.jpg"),
    "cloth-mask": (("cloth-mask",), "{}.jpg"),
    "image-parse": (("image-parse", "image-parse-v3"), "{}.png"),
    "openpose-json": (("openpose-json", "openpose_json"), "{}_keypoints.json"),
    "openpose-img": (("openpose-img", "openpose_img"), "{}_rendered.png"),
}
"""Part of a pair -> the folder names in the releases of VITON-HD, and the pattern of the file's name."""

_MAX_NAMED_FILES = 3
"""Missing files that an error message names."""

_MAX_CACHED_EXAMPLES = 32
"""A folder with at most this many pairs is kept in memory: about 0.4 GB at full size."""


@dataclass(frozen=True)
class Pair:
    """A person and the garment that the person wears: their files' names without suffix."""

    person: str
    garment: str


@dataclass(frozen=True)
class PairFolder:
    """A folder's pairs.

    Attributes:
        pairs: the pairs for training.
        left_out: person -> why this person cannot be used.
        parts: part -> its folder.
    """

    pairs: tuple[Pair, ...]
    left_out: Mapping[str, str]
    parts: Mapping[str, Path]

    def file(self, part: str, name: str) -> Path:
        """Return the file of a part ("image", "cloth", …) of this name."""
        return self.parts[part] / _PARTS[part][1].format(name)

    @cached_property
    def digest(self) -> str:
        """A hash of the pairs' names: the same pairs in the same order have the same hash."""
        names = [(pair.person, pair.garment) for pair in self.pairs]
        return hashlib.sha256(json.dumps(names).encode()).hexdigest()


def open_folder(folder: Path, pairs_file: Path | None = None) -> PairFolder:
    """Return the folder's pairs, after a check of every file's existence, size and mode.

    Args:
        folder: with `image`, `cloth`, `cloth-mask`, `image-parse`, `openpose-json` and `openpose-img`, all
            pictures of 768×1024 pixels.
        pairs_file: lines of a person's and a garment's file name; without it, a person wears the garment of
            the same name.

    Raises:
        InputValidationError: the folder lacks a file or a part, or no pair is left.
        ImageLoadError: a file is not a picture.
    """
    parts = {part: _part_folder(folder, part) for part in _PARTS}
    pairs = tuple(_listed_pairs(pairs_file) if pairs_file else _pairs_of_equal_names(parts))
    if not pairs:
        raise InputValidationError(
            f"{pairs_file or folder} names no pair: a person in image/ wears the garment of the same name in "
            "cloth/, or the garment that a --pairs file names.",
            input=str(pairs_file or folder),
        )
    all_pairs = PairFolder(pairs, {}, parts)
    _check_files(all_pairs, folder)
    reasons = {pair.person: reason for pair in pairs if (reason := _unusable(all_pairs, pair.person))}
    usable_pairs = tuple(pair for pair in pairs if pair.person not in reasons)
    if not usable_pairs:
        name, reason = next(iter(reasons.items()))
        raise InputValidationError(
            f"None of the {len(pairs)} people of {folder} can be used for training; {name}: {reason}",
            input=str(folder),
        )
    return PairFolder(usable_pairs, reasons, parts)


class Examples(Dataset[dict[str, Tensor]]):
    """The pairs as uint8 tensors at the size of the training pictures.

    Keys: photo, agnostic, pose, garment (h, w, 3); garment_mask (h, w); parse, parse_agnostic (h, w), CIHP
    labels.
    """

    def __init__(self, data: PairFolder, size: Size) -> None:
        self.data = data
        self.size = size
        self._cache: dict[int, dict[str, Tensor]] = {}

    def __len__(self) -> int:
        return len(self.data.pairs)

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        """Return a pair. Raises ImageLoadError or InputValidationError when a file cannot be used."""
        if number in self._cache:
            return self._cache[number]
        example = self._read(self.data.pairs[number])
        if len(self) <= _MAX_CACHED_EXAMPLES:
            self._cache[number] = example
        return example

    def _read(self, pair: Pair) -> dict[str, Tensor]:
        photo, parse = self._picture("image", pair.person), self._labels(pair.person)
        item = TryOnInput.of_person(
            photo,
            _joints(self.data, pair.person),
            parse,
            self._picture("openpose-img", pair.person),
            self._picture("cloth", pair.garment),
            self._picture("cloth-mask", pair.garment)[..., 0],
            seed=0,
        )
        pictures = {
            "photo": photo,
            "agnostic": item.image_agnostic,
            "pose": item.pose,
            "garment": item.garment,
        }
        labels = {"garment_mask": item.garment_mask, "parse": parse, "parse_agnostic": item.parse_agnostic}
        resized = {name: self._resized(array, cv2.INTER_AREA) for name, array in pictures.items()}
        resized |= {name: self._resized(array, cv2.INTER_NEAREST) for name, array in labels.items()}
        return {name: torch.from_numpy(array) for name, array in resized.items()}

    def _resized(self, array: NDArray[np.uint8], interpolation: int) -> NDArray[np.uint8]:
        rows, columns = self.size.picture
        if array.shape[:2] == (rows, columns):
            return array.copy()  # torch needs writable arrays
        return np.asarray(cv2.resize(array, (columns, rows), interpolation=interpolation), np.uint8)

    def _picture(self, part: str, name: str) -> Canvas:
        return _pixels(self.data.file(part, name), "RGB")

    def _labels(self, name: str) -> Labels:
        file = self.data.file("image-parse", name)
        labels = _pixels(file, None)
        if labels.max() >= len(Part):
            raise InputValidationError(
                f"{file} contains the label {labels.max()}; the last label of CIHP is {len(Part) - 1}.",
                input=str(file),
            )
        return labels


@dataclass(frozen=True)
class Batch:
    """Examples as the networks take them, on a device.

    Attributes:
        maps: the cascade's input maps, with a batch of b.
        photo: (b, 3, h, w) in [-1, 1], the person who wears the garment.
        labels: int64 (b, h, w), labels of `worker.viton_hd.labels.SEGMENTATION`.
        parse: (b, 7, h, w), the labels of SYNTHESIS, one-hot.
    """

    maps: InputMaps
    photo: Tensor
    labels: Tensor
    parse: Tensor

    @property
    def worn_mask(self) -> Tensor:
        """The region of the worn garment, (b, 1, h, w) of 0 and 1."""
        return self.parse[:, UPPER : UPPER + 1]

    def __len__(self) -> int:
        return len(self.photo)

    @classmethod
    def of(cls, examples: Mapping[str, Tensor], device: torch.device) -> "Batch":
        """Return collated items of `Examples` as the networks take them."""
        tensors = {name: value.to(device, non_blocking=True) for name, value in examples.items()}
        labels = segmentation_labels(tensors["parse"])
        return cls(
            maps=InputMaps.of(
                pose=tensors["pose"],
                agnostic=tensors["agnostic"],
                garment=tensors["garment"],
                garment_mask=tensors["garment_mask"],
                parse_agnostic=tensors["parse_agnostic"],
            ),
            photo=from_uint8(tensors["photo"]),
            labels=labels,
            parse=one_hot(synthesis_labels(labels), len(SYNTHESIS)),
        )


def batch_indices(pairs: int, batch: int, seed: int, start: int, stop: int) -> Iterator[list[int]]:
    """Yield the indices of each step's pairs, for the steps from `start` to `stop`.

    Each epoch has its own random order. The pairs at the end of an epoch that do not fill a batch are left
    out of it.

    Args:
        pairs: number of pairs.
        batch: pairs in a step.
        seed: decides the orders.
        start, stop: first step, and the one after the last.
    """
    for step in range(start, stop):
        epoch, number = divmod(step, pairs // batch)
        if number == 0 or step == start:
            order = np.random.default_rng((seed, epoch)).permutation(pairs)
        yield order[number * batch : (number + 1) * batch].tolist()


def _part_folder(folder: Path, part: str) -> Path:
    names = _PARTS[part][0]
    for name in names:
        if (folder / name).is_dir():
            return folder / name
    raise InputValidationError(
        f"{folder} has no folder {' or '.join(names)}: give a folder laid out as VITON-HD, with "
        f"{', '.join(_PARTS)}.",
        input=str(folder),
    )


def _listed_pairs(file: Path) -> Iterator[Pair]:
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputValidationError(
            f"{file} cannot be read as a list of pairs: {error}.", input=str(file)
        ) from error
    for number, line in enumerate(lines, 1):
        words = line.split()
        if len(words) not in (0, 2):
            raise InputValidationError(
                f"Line {number} of {file} is not a person's and a garment's file name: {line!r}.",
                input=str(file),
            )
        if words:
            person, garment = words
            yield Pair(Path(person).stem, Path(garment).stem)


def _pairs_of_equal_names(parts: Mapping[str, Path]) -> Iterator[Pair]:
    garments = {file.stem for file in parts["cloth"].glob("*.jpg")}
    people = sorted(file.stem for file in parts["image"].glob("*.jpg"))
    return (Pair(name, name) for name in people if name in garments)


def _check_files(data: PairFolder, folder: Path) -> None:
    missing: list[Path] = []
    for pair in data.pairs:
        for part in _PARTS:
            file = data.file(part, pair.garment if part.startswith("cloth") else pair.person)
            if not file.is_file():
                missing.append(file)
            elif part != "openpose-json":
                _check_picture(file)
    if missing:
        names = ", ".join(str(file.relative_to(folder)) for file in missing[:_MAX_NAMED_FILES])
        rest = len(missing) - _MAX_NAMED_FILES
        more = f" and {rest} more" if rest > 0 else ""
        raise InputValidationError(f"{folder} lacks {names}{more}.", input=str(folder))


def _check_picture(file: Path) -> None:
    """Check a picture's header: its size, and for a parse its mode."""
    try:
        with PillowImage.open(file) as image:
            size, mode = image.size, image.mode
    except (UnidentifiedImageError, OSError) as error:
        raise ImageLoadError(f"{file} cannot be read as an image: {error}.", input=str(file)) from error
    if size != (WIDTH, HEIGHT):
        raise InputValidationError(
            f"{file} has {size[0]}×{size[1]} pixels, not {WIDTH}×{HEIGHT}: resize the pair's pictures.",
            input=str(file),
        )
    if file.parent.name.startswith("image-parse") and mode not in ("P", "L"):
        raise InputValidationError(
            f"{file} is a colour picture ({mode}), not one of labels: give the PNG with a palette.",
            input=str(file),
        )


def _pixels(file: Path, mode: str | None) -> NDArray[np.uint8]:
    """Return a picture's pixels, uint8, converted to a Pillow mode; None for no conversion."""
    try:
        with PillowImage.open(file) as image:
            return np.asarray(image.convert(mode) if mode else image)
    except (OSError, SyntaxError, ValueError) as error:  # Pillow's errors for damaged files
        raise ImageLoadError(f"{file} cannot be read: {error}.", input=str(file)) from error


def _joints(data: PairFolder, name: str) -> Floats:
    file = data.file("openpose-json", name)
    try:
        document = json.loads(file.read_text())
    except ValueError as error:
        raise InputValidationError(f"{file} is not JSON: {error}.", input=str(file)) from error
    return from_openpose_json(document).body


def _unusable(data: PairFolder, name: str) -> str:
    """Return why a person cannot be used for training; empty if the person can."""
    try:
        checked_joints(_joints(data, name))
    except PoseError as error:
        return error.message
    return ""
