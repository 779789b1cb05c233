"""Makes many different pictures of a few, by flips and small crops, for the benchmark."""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from worker.artifacts.bundle import encode_png
from worker.lab.demo import garments as drawn
from worker.lab.demo.people import astronaut

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


def people(folder: Path | None) -> list[np.ndarray]:
    """Return the person photographs of a folder, or the demonstration's."""
    return _pictures(folder) if folder else [_read(astronaut())]


def garments(folder: Path | None) -> list[np.ndarray]:
    """Return the garment photographs of a folder, or those the project draws."""
    return _pictures(folder) if folder else [drawn.draw(name) for name in drawn.NAMES]


def make(pictures: list[np.ndarray], number: int, *, seed: int) -> list[bytes]:
    """Return `number` different PNG files made of the pictures by flips and crops of at most 3 %."""
    random = np.random.default_rng(seed)
    made = []
    for index in range(number):
        picture = pictures[index % len(pictures)]
        height, width = picture.shape[:2]
        top, bottom, left, right = random.integers(0, [height, height, width, width]) * 3 // 100
        crop = picture[top : height - bottom or None, left : width - right or None]
        if (index // len(pictures)) % 2:
            crop = crop[:, ::-1]
        made.append(encode_png(np.ascontiguousarray(crop)))
    return made


def _pictures(folder: Path) -> list[np.ndarray]:
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not files:
        raise FileNotFoundError(f"{folder} holds no {', '.join(SUFFIXES)}")
    return [_read(path.read_bytes()) for path in files]


def _read(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(data)).convert("RGB"))
