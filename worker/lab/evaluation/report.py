"""The report of `tryon evaluate tryon`: tables and contact sheets of whole try-ons."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from worker.lab.demo.sheet import Panel
from worker.lab.evaluation import self_swap, tryon
from worker.lab.evaluation.pages import Pages
from worker.lab.evaluation.self_swap import Swap
from worker.lab.evaluation.tryon import Measurement, Photograph
from worker.stages.models import Models

_SELF_SWAP = "self-swap"


class Report:
    """Collects measurements; pictures are released as soon as their page is written."""

    def __init__(self, models: Models, folder: Path | None) -> None:
        """Start a report; without a folder no contact sheets are written."""
        self._models, self._folder = models, folder
        self._measurements: dict[str, list[Measurement]] = {}
        self._swaps: list[Swap] = []
        self._pages: dict[str, Pages] = {}

    def try_on(self, title: str, person: Photograph, garments: Sequence[Photograph]) -> None:
        """Add a person in each of the garments to the set with this title."""
        for garment in garments:
            tried = tryon.try_on(person, garment, self._models)
            measurement = tryon.measure(tried, self._models)
            self._measurements.setdefault(title, []).append(measurement)
            self._show(title, tryon.panels(tried, measurement), group_size=3, columns=6)

    def swap(self, person: Photograph) -> None:
        """Add a person in their own garment."""
        swapped, panels = self_swap.swap(person, self._models, seed=len(self._swaps))
        self._swaps.append(swapped)
        self._show(_SELF_SWAP, panels, group_size=5, columns=5)

    def close(self) -> list[Path]:
        """Write the last page of each sheet; return the files of all pages."""
        for pages in self._pages.values():
            pages.close()
        return [path for pages in self._pages.values() for path in pages.written]

    def tables(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Return the tables: title -> name of a row -> its values."""
        tables = {
            "try-ons": {title: tryon.table(rows) for title, rows in self._measurements.items()},
            "worst": tryon.worst([one for rows in self._measurements.values() for one in rows]),
        }
        if self._swaps:
            tables[_SELF_SWAP] = self_swap.table(self._swaps)
            tables[f"{_SELF_SWAP} left out"] = self_swap.left_out(self._swaps)
        return tables

    def _show(self, title: str, panels: Sequence[Panel], *, group_size: int, columns: int) -> None:
        if self._folder is None or not panels:
            return
        if title not in self._pages:
            self._pages[title] = Pages(self._folder, title.lower(), group_size=group_size, columns=columns)
        self._pages[title].add(panels)
