"""Contact sheets of any number of pictures: a page is written as soon as it is full, and forgotten."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from worker.lab.demo.sheet import sheet

CELL = (300, 400)
"""The width and height of a picture on a page, pixels."""

ROWS = 4
"""How many rows of pictures a page has."""


class Pages:
    """The pages of one contact sheet, `NAME-1.png` and so on in a folder."""

    def __init__(self, folder: Path, name: str, *, together: int, columns: int) -> None:
        """Begin a sheet of this many columns, a multiple of how many pictures belong together."""
        self._folder, self._name = folder, name
        self._together, self._columns = together, columns
        self._panels: list[tuple[str, np.ndarray]] = []
        self.written: list[Path] = []

    def add(self, panels: Sequence[tuple[str, np.ndarray]]) -> None:
        """Add titled pictures that belong together, RGB uint8 of any size; missing ones stay white."""
        missing = [("", np.full((1, 1, 3), 255, np.uint8))] * (self._together - len(panels))
        self._panels += [(title, cell(picture)) for title, picture in [*panels, *missing]]
        if len(self._panels) >= ROWS * self._columns:
            self.close()

    def close(self) -> None:
        """Write what is left."""
        if not self._panels:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{self._name}-{len(self.written) + 1}.png"
        Image.fromarray(sheet(self._panels, columns=self._columns, height=CELL[1])).save(path)
        self.written.append(path)
        self._panels = []


def cell(picture: np.ndarray) -> np.ndarray:
    """Return a picture, RGB uint8 of any size, fitted into a cell on white."""
    width, height = CELL
    scale = min(width / picture.shape[1], height / picture.shape[0])
    size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
    fitted = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    out = np.full((height, width, 3), 255, np.uint8)
    top, left = (height - size[1]) // 2, (width - size[0]) // 2
    out[top : top + size[1], left : left + size[0]] = fitted
    return out
