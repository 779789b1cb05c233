"""Contact sheets of any length: a page is written as soon as it is full, and its pictures are released."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from worker.images.arrays import Image
from worker.lab.demo.sheet import Panel, resize, sheet

CELL = (300, 400)
"""The width and height of a picture on a page, pixels."""

ROWS = 4
"""Rows of pictures per page."""


class Pages:
    """The pages of one contact sheet: `NAME-1.png` and so on in a folder."""

    def __init__(self, folder: Path, name: str, *, group_size: int, columns: int) -> None:
        """Start a sheet.

        Args:
            folder: created when the first page is written.
            name: of the sheet.
            group_size: pictures that belong together, in one row.
            columns: pictures per row, a multiple of `group_size`.
        """
        self._folder, self._name = folder, name
        self._group_size, self._columns = group_size, columns
        self._panels: list[Panel] = []
        self.written: list[Path] = []

    def add(self, panels: Sequence[Panel]) -> None:
        """Add one group of titled pictures; the cells of missing ones stay white."""
        missing = [("", np.full((1, 1, 3), 255, np.uint8))] * (self._group_size - len(panels))
        self._panels += [(title, cell(picture)) for title, picture in [*panels, *missing]]
        if len(self._panels) >= ROWS * self._columns:
            self.close()

    def close(self) -> None:
        """Write the last page, if it has pictures."""
        if not self._panels:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{self._name}-{len(self.written) + 1}.png"
        PillowImage.fromarray(sheet(self._panels, columns=self._columns, height=CELL[1])).save(path)
        self.written.append(path)
        self._panels = []


def cell(picture: Image) -> Image:
    """Return a picture, RGB uint8 of any size, fitted into a white cell of CELL pixels."""
    width, height = CELL
    fitted = resize(picture, min(width / picture.shape[1], height / picture.shape[0]))
    fitted_height, fitted_width = fitted.shape[:2]
    top, left = (height - fitted_height) // 2, (width - fitted_width) // 2
    framed = np.full((height, width, 3), 255, np.uint8)
    framed[top : top + fitted_height, left : left + fitted_width] = fitted
    return framed
