"""Pairs to learn from: people and the garments that they wear, in a folder laid out as VITON-HD."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import Dataset

from config.errors import ImageLoadError, InputValidationError, PoseError
from worker.images.agnostic import checked_joints
from worker.images.frame import HEIGHT, WIDTH
from worker.images.maps import Part
from worker.lab.cascade_training.sizes import Size
from worker.images.openpose import from_openpose_json
from worker.viton_hd.inputs import Tensors, TryOnInput, one_hot, scaled
from worker.viton_hd.labels import SYNTHESIS, UPPER, segmentation_labels, synthesis_labels

_PARTS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "image": (("image",), "{}.jpg"),
    "cloth": (("cloth",), "{}.jpg"),
    "cloth-mask": (("cloth-mask",), "{}.jpg"),
    "image-parse": (("image-parse", "image-parse-v3"), "{}.png"),
    "openpose-json": (("openpose-json", "openpose_json"), "{}_keypoints.json"),
    "openpose-img": (("openpose-img", "openpose_img"), "{}_rendered.png"),
}
"""What a pair consists of -> the folders that releases of VITON-HD keep it in, and its file's name."""

_SHOWN = 3  # names that a message gives of many
_KEPT = 32  # examples of a small folder that stay in memory


@dataclass(frozen=True)
class Pair:
    """A person and the garment that the person wears, by their files' names without ending."""

    person: str
    garment: str


@dataclass(frozen=True)
class PairFolder:
    """A folder's pairs.

    Attributes:
        pairs: those to learn from.
        left_out: person -> why not that one.
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
        """A hash of the pairs' names: the same pairs in the same order give the same."""
        return hashlib.sha256(json.dumps([(p.person, p.garment) for p in self.pairs]).encode()).hexdigest()


def open_folder(folder: Path, pairs_file: Path | None = None) -> PairFolder:
    """Return the folder's pairs, every file looked at from outside.

    Args:
        folder: with `image`, `cloth`, `cloth-mask`, `image-parse`, `openpose-json` and `openpose-img`, all
            pictures of 768×1024 pixels.
        pairs_file: lines of a person's and a garment's file name; without it, a person wears the garment of
            the same name.

    Raises:
        InputValidationError: the folder lacks something, or no pair is left.
        ImageLoadError: a file is no picture.
    """
    parts = {part: _folder_of(folder, part) for part in _PARTS}
    pairs = tuple(_listed(pairs_file) if pairs_file else _of_one_name(parts))
    if not pairs:
        raise InputValidationError(
            f"{pairs_file or folder} names no pair: a person in image/ wears the garment of the same name in "
            "cloth/, or the one that a --pairs file gives.",
            input=str(pairs_file or folder),
        )
    everything = PairFolder(pairs, {}, parts)
    _check_files(everything, folder)
    reasons = {pair.person: reason for pair in pairs if (reason := _unusable(everything, pair.person))}
    kept = tuple(pair for pair in pairs if pair.person not in reasons)
    if not kept:
        name, reason = next(iter(reasons.items()))
        raise InputValidationError(
            f"None of the {len(pairs)} people of {folder} can be learnt from; of {name}: {reason}",
            input=str(folder),
        )
    return PairFolder(kept, reasons, parts)


class Examples(Dataset[dict[str, Tensor]]):
    """The pairs as uint8 tensors at the pictures' size.

    Keys: photo, agnostic, pose, garment (h, w, 3); garment_mask, parse, parse_agnostic (h, w), of CIHP.
    """

    def __init__(self, data: PairFolder, size: Size) -> None:
        self.data = data
        self.size = size
        self._kept: dict[int, dict[str, Tensor]] = {}

    def __len__(self) -> int:
        return len(self.data.pairs)

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        """Return a pair. Raises ImageLoadError or InputValidationError when a file cannot be used."""
        if number in self._kept:
            return self._kept[number]
        example = self._read(self.data.pairs[number])
        if len(self) <= _KEPT:
            self._kept[number] = example
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
        shown = {"photo": photo, "agnostic": item.image_agnostic, "pose": item.pose, "garment": item.garment}
        told = {"garment_mask": item.garment_mask, "parse": parse, "parse_agnostic": item.parse_agnostic}
        shown = {name: self._resized(array, cv2.INTER_AREA) for name, array in shown.items()}
        told = {name: self._resized(array, cv2.INTER_NEAREST) for name, array in told.items()}
        return {name: torch.from_numpy(array) for name, array in (shown | told).items()}

    def _resized(self, array: np.ndarray, how: int) -> np.ndarray:
        rows, columns = self.size.picture
        if array.shape[:2] == (rows, columns):
            return array.copy()  # torch wants arrays that it may write to
        return cv2.resize(array, (columns, rows), interpolation=how)

    def _picture(self, part: str, name: str) -> np.ndarray:
        return _pixels(self.data.file(part, name), "RGB")

    def _labels(self, name: str) -> np.ndarray:
        file = self.data.file("image-parse", name)
        labels = _pixels(file, None)
        if labels.max() >= len(Part):
            raise InputValidationError(
                f"{file} holds the label {labels.max()}; CIHP's end at {len(Part) - 1}.", input=str(file)
            )
        return labels


@dataclass(frozen=True)
class Batch:
    """Examples as the networks take them, on a device.

    Attributes:
        seen: what the cascade is given, with a batch of b.
        photo: (b, 3, h, w) in [-1, 1], the person who wears the garment.
        labels: int64 (b, h, w), labels of `worker.viton_hd.labels.SEGMENTATION`.
        parse: (b, 7, h, w), the labels of SYNTHESIS, one-hot.
    """

    seen: Tensors
    photo: Tensor
    labels: Tensor
    parse: Tensor

    @property
    def worn(self) -> Tensor:
        """Where the garment is worn, (b, 1, h, w) of 0 and 1."""
        return self.parse[:, UPPER : UPPER + 1]

    def __len__(self) -> int:
        return len(self.photo)

    @classmethod
    def of(cls, examples: Mapping[str, Tensor], device: torch.device) -> "Batch":
        """Return collated examples of `Examples` as the networks take them."""
        given = {name: value.to(device, non_blocking=True) for name, value in examples.items()}
        seen = ("pose", "agnostic", "garment", "garment_mask", "parse_agnostic")
        labels = segmentation_labels(given["parse"])
        return cls(
            seen=Tensors.of(**{name: given[name] for name in seen}),
            photo=scaled(given["photo"]),
            labels=labels,
            parse=one_hot(synthesis_labels(labels), len(SYNTHESIS)),
        )


def batches(pairs: int, batch: int, seed: int, start: int, stop: int) -> Iterator[list[int]]:
    """Yield the pairs of each step from `start` up to `stop`: every epoch in an order of its own.

    What is left of an epoch that is no whole batch is left out; another epoch has it.
    """
    for step in range(start, stop):
        epoch, number = divmod(step, pairs // batch)
        if number == 0 or step == start:
            order = np.random.default_rng((seed, epoch)).permutation(pairs)
        yield order[number * batch : (number + 1) * batch].tolist()


def _folder_of(folder: Path, part: str) -> Path:
    names = _PARTS[part][0]
    for name in names:
        if (folder / name).is_dir():
            return folder / name
    raise InputValidationError(
        f"{folder} has no folder {' or '.join(names)}: give a folder laid out as VITON-HD, with "
        f"{', '.join(_PARTS)}.",
        input=str(folder),
    )


def _listed(file: Path) -> Iterable[Pair]:
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
            yield Pair(*(Path(word).stem for word in words))


def _of_one_name(parts: Mapping[str, Path]) -> list[Pair]:
    garments = {file.stem for file in parts["cloth"].glob("*.jpg")}
    people = sorted(file.stem for file in parts["image"].glob("*.jpg"))
    return [Pair(name, name) for name in people if name in garments]


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
        names = ", ".join(str(file.relative_to(folder)) for file in missing[:_SHOWN])
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        raise InputValidationError(f"{folder} lacks {names}{more}.", input=str(folder))


def _check_picture(file: Path) -> None:
    """Look at a picture's header."""
    try:
        with Image.open(file) as image:
            size, mode = image.size, image.mode
    except (UnidentifiedImageError, OSError) as error:
        raise ImageLoadError(f"{file} cannot be read as an image: {error}.", input=str(file)) from error
    if size != (WIDTH, HEIGHT):
        raise InputValidationError(
            f"{file} has {size[0]}×{size[1]} pixels, not {WIDTH}×{HEIGHT}: bring the pair to that size.",
            input=str(file),
        )
    if file.parent.name.startswith("image-parse") and mode not in ("P", "L"):
        raise InputValidationError(
            f"{file} is a picture in colours ({mode}), not of labels: give the PNG with a palette.",
            input=str(file),
        )


def _pixels(file: Path, mode: str | None) -> np.ndarray:
    """Return a picture's pixels, uint8, in a mode of Pillow's or as they are."""
    try:
        with Image.open(file) as image:
            return np.asarray(image.convert(mode) if mode else image)
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises for damaged files
        raise ImageLoadError(f"{file} cannot be read: {error}.", input=str(file)) from error


def _joints(data: PairFolder, name: str) -> np.ndarray:
    file = data.file("openpose-json", name)
    try:
        document = json.loads(file.read_text())
    except ValueError as error:
        raise InputValidationError(f"{file} is no JSON: {error}.", input=str(file)) from error
    return from_openpose_json(document).body


def _unusable(data: PairFolder, name: str) -> str:
    """Return why a person cannot be learnt from; empty if nothing is in the way."""
    try:
        checked_joints(_joints(data, name))
    except PoseError as error:
        return error.message
    return ""
