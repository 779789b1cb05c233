"""Makes many different pictures out of a few, by flips and small crops, for the benchmark."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from worker.artifacts.bundle import encode_png
from worker.images.arrays import Image
from worker.lab.demo import garments as demo_garments
from worker.lab.demo.people import astronaut

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
"""The endings of the files that are read from a folder."""

MAX_CROP_PERCENT = 3
"""The most that is cropped on each side: enough for another file hash, too little to change the content."""


def people(folder: Path | None) -> list[Image]:
    """Return the photographs of people in a folder, or the demonstration's.

    Raises FileNotFoundError when the folder contains no picture.
    """
    return _read_folder(folder) if folder else [_decode(astronaut())]


def garments(folder: Path | None) -> list[Image]:
    """Return the photographs of garments in a folder, or the ones that this project draws.

    Raises FileNotFoundError when the folder contains no picture.
    """
    return _read_folder(folder) if folder else [demo_garments.draw(name) for name in demo_garments.NAMES]


def make(pictures: Sequence[Image], number: int, *, seed: int) -> list[bytes]:
    """Return `number` different PNG files made from the pictures by flips and crops (MAX_CROP_PERCENT)."""
    rng = np.random.default_rng(seed)
    files = []
    for index in range(number):
        picture = pictures[index % len(pictures)]
        height, width = picture.shape[:2]
        margins = rng.integers(0, [height, height, width, width]) * MAX_CROP_PERCENT // 100
        top, bottom, left, right = margins
        crop = picture[top : height - bottom or None, left : width - right or None]
        if (index // len(pictures)) % 2:
            crop = crop[:, ::-1]
        files.append(encode_png(np.ascontiguousarray(crop)))
    return files


def _read_folder(folder: Path) -> list[Image]:
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not files:
        raise FileNotFoundError(f"{folder} contains no {', '.join(SUFFIXES)}")
    return [_decode(path.read_bytes()) for path in files]


def _decode(data: bytes) -> Image:
    return np.asarray(PillowImage.open(BytesIO(data)).convert("RGB"))
