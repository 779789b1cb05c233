"""What `tryon evaluate tryon` tells: tables and contact sheets of whole try-ons."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from worker.lab.evaluation import self_swap, tryon
from worker.lab.evaluation.pages import Pages
from worker.lab.evaluation.self_swap import Swap
from worker.lab.evaluation.tryon import Measured, Photograph
from worker.stages.models import Models

_SWAPS = "self-swap"


class Report:
    """Gathers figures; pictures are held no longer than until their page is full."""

    def __init__(self, models: Models, folder: Path | None) -> None:
        """Begin a report; without a folder no sheets are written."""
        self._models, self._folder = models, folder
        self._measured: dict[str, list[Measured]] = {}
        self._swaps: list[Swap] = []
        self._pages: dict[str, Pages] = {}

    def try_on(self, title: str, person: Photograph, garments: Sequence[Photograph]) -> None:
        """Add a person in each of the garments to the set of this title."""
        for garment in garments:
            tried = tryon.try_on(person, garment, self._models)
            measured = tryon.measure(tried, self._models)
            self._measured.setdefault(title, []).append(measured)
            self._show(title, tryon.panels(tried, measured), together=3, columns=6)

    def swap(self, person: Photograph) -> None:
        """Add a person in their own garment again."""
        swapped, panels = self_swap.swap(person, self._models, seed=len(self._swaps))
        self._swaps.append(swapped)
        self._show(_SWAPS, panels, together=5, columns=5)

    def close(self) -> list[Path]:
        """Write the sheets' last pages; return all of them."""
        for pages in self._pages.values():
            pages.close()
        return [path for pages in self._pages.values() for path in pages.written]

    def tables(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Return the tables: title -> name of a row -> its values."""
        found = {
            "try-ons": {title: tryon.table(measured) for title, measured in self._measured.items()},
            "worst": tryon.worst([one for measured in self._measured.values() for one in measured]),
        }
        if self._swaps:
            found[_SWAPS] = self_swap.table(self._swaps)
            found[f"{_SWAPS} left out"] = self_swap.left_out(self._swaps)
        return found

    def _show(self, title: str, panels: list[tuple[str, np.ndarray]], *, together: int, columns: int) -> None:
        if self._folder is None or not panels:
            return
        if title not in self._pages:
            self._pages[title] = Pages(self._folder, title.lower(), together=together, columns=columns)
        self._pages[title].add(panels)
