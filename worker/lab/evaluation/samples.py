"""Reads a folder laid out as VITON-HD's test set: people, poses, parses, garments, garment masks."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from config.errors import InputValidationError
from worker.images.decode import decode_input
from worker.images.maps import Pose
from worker.images.openpose import from_openpose_json


@dataclass(frozen=True)
class PersonSample:
    """A person with the published pose and parse: RGB uint8 (h, w, 3), Pose, CIHP labels uint8 (h, w)."""

    name: str
    photo: np.ndarray
    pose: Pose
    parse: np.ndarray


@dataclass(frozen=True)
class GarmentSample:
    """A garment with the published mask: RGB uint8 (h, w, 3), bool (h, w)."""

    name: str
    photo: np.ndarray
    mask: np.ndarray


def people(folder: Path) -> Iterator[PersonSample]:
    """Yield the people of the folder. Raises InputValidationError when it holds none."""
    for path in _pictures(folder / "image"):
        joints = json.loads((folder / "openpose-json" / f"{path.stem}_keypoints.json").read_text())
        yield PersonSample(
            path.stem,
            decode_input(path.read_bytes(), name=str(path)),
            from_openpose_json(joints),
            np.asarray(Image.open(folder / "image-parse" / f"{path.stem}.png")),
        )


def garments(folder: Path) -> Iterator[GarmentSample]:
    """Yield the garments of the folder. Raises InputValidationError when it holds none."""
    for path in _pictures(folder / "cloth"):
        mask = np.asarray(Image.open(folder / "cloth-mask" / path.name).convert("L"))
        yield GarmentSample(path.stem, decode_input(path.read_bytes(), name=str(path)), mask >= 128)


def picture(path: Path) -> np.ndarray:
    """Return a picture of the folder, RGB uint8 (h, w, 3)."""
    return np.asarray(Image.open(path).convert("RGB"))


def _pictures(folder: Path) -> list[Path]:
    found = sorted(folder.glob("*.jpg"))
    if not found:
        raise InputValidationError(
            f"{folder} holds no .jpg: give a folder laid out as VITON-HD's test set with --samples.",
            input=str(folder),
        )
    return found
