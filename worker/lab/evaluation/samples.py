"""Reads a folder laid out as VITON-HD's test set: people, poses, parses, garments, garment masks."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from config.errors import InputValidationError
from worker.images.arrays import Flags, Image, Labels
from worker.images.decode import decode_input
from worker.images.maps import Pose
from worker.images.openpose import from_openpose_json


@dataclass(frozen=True)
class PersonSample:
    """A person with the published pose and parse: RGB uint8 (h, w, 3), Pose, CIHP labels uint8 (h, w)."""

    name: str
    photo: Image
    pose: Pose
    parse: Labels


@dataclass(frozen=True)
class GarmentSample:
    """A garment with the published mask: RGB uint8 (h, w, 3), bool (h, w)."""

    name: str
    photo: Image
    mask: Flags


def people(folder: Path) -> Iterator[PersonSample]:
    """Yield the people of the folder. Raises InputValidationError when it contains none."""
    for path in picture_files(folder / "image"):
        joints = json.loads((folder / "openpose-json" / f"{path.stem}_keypoints.json").read_text())
        yield PersonSample(
            path.stem,
            decode_input(path.read_bytes(), name=str(path)),
            from_openpose_json(joints),
            np.asarray(PillowImage.open(folder / "image-parse" / f"{path.stem}.png")),
        )


def garments(folder: Path) -> Iterator[GarmentSample]:
    """Yield the garments of the folder. Raises InputValidationError when it contains none."""
    for path in picture_files(folder / "cloth"):
        mask = np.asarray(PillowImage.open(folder / "cloth-mask" / path.name).convert("L"))
        yield GarmentSample(path.stem, decode_input(path.read_bytes(), name=str(path)), mask >= 128)


def picture(path: Path) -> Image:
    """Return a picture, RGB uint8 (h, w, 3)."""
    return np.asarray(PillowImage.open(path).convert("RGB"))


def picture_files(folder: Path) -> list[Path]:
    """Return the .jpg files of a folder by name. Raises InputValidationError when there is none."""
    files = sorted(folder.glob("*.jpg"))
    if not files:
        raise InputValidationError(
            f"{folder} contains no .jpg: give a folder laid out as VITON-HD's test set with --samples, and "
            "Clothing Co-Parsing with --ccp.",
            input=str(folder),
        )
    return files
