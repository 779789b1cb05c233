"""How a training goes: the losses as a table that grows, and drawn."""

import csv
import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from config.errors import InputValidationError

_COLUMNS = 3  # plots in a row


class Curves:
    """The means of the losses over the steps since the last row, one CSV row for each of them.

    Args:
        file: the CSV; its rows up to the step `since` are kept, those after are not.
    """

    def __init__(self, file: Path, since: int) -> None:
        self.file = file
        kept = [row for row in rows(file) if row["step"] <= since] if file.is_file() else []
        self._names = list(kept[0])[1:] if kept else []
        self._write(kept, "w")
        self._sums: dict[str, Tensor] = {}
        self._steps = 0

    def add(self, losses: Mapping[str, Tensor]) -> None:
        """Take a step's losses into account. No value is looked at, so that no device is waited for."""
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, torch.zeros((), device=value.device)) + value.detach()
        self._steps += 1

    def row(self, step: int) -> dict[str, float]:
        """Write and return the means since the last row.

        Raises InputValidationError when a loss is not a finite number any more.
        """
        if not self._steps:
            return {}
        means = {name: value.item() / self._steps for name, value in self._sums.items()}
        lost = [name for name, value in means.items() if not math.isfinite(value)]
        if lost:
            raise InputValidationError(
                f"The training came apart before step {step}: {', '.join(lost)} is no finite number. Go on "
                "from the last checkpoint with a lower --learning-rate, in a new run (--start).",
                input="learning_rate",
            )
        self._sums, self._steps = {}, 0
        self._names = self._names or list(means)
        self._write([{"step": step} | means], "a")
        return means

    def _write(self, values: list[dict[str, float]], mode: str) -> None:
        with self.file.open(mode, newline="") as opened:
            writer = csv.DictWriter(opened, ["step", *self._names])
            if opened.tell() == 0 and self._names:
                writer.writeheader()
            writer.writerows(values)


def rows(file: Path) -> list[dict[str, float]]:
    """Return the rows of a run's CSV."""
    with file.open(newline="") as opened:
        return [
            {name: int(value) if name == "step" else float(value) for name, value in row.items()}
            for row in csv.DictReader(opened)
        ]


def draw(file: Path, picture: Path) -> None:
    """Draw each loss of a run's CSV over the steps, as a PNG."""
    from matplotlib.figure import Figure  # costs a second, once in a while

    found = rows(file)
    if not found:
        return
    names = [name for name in found[0] if name != "step"]
    columns = min(_COLUMNS, len(names))
    lines = math.ceil(len(names) / columns)
    figure = Figure(figsize=(4 * columns, 3 * lines), layout="constrained")
    for number, name in enumerate(names, 1):
        axes = figure.add_subplot(lines, columns, number)
        axes.plot([row["step"] for row in found], [row[name] for row in found])
        axes.set_title(name.replace("_", " "))
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
    figure.savefig(picture, dpi=100)
