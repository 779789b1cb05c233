"""The training curves: the losses as a CSV file that grows, and as a plot."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from config.errors import InputValidationError

_PLOTS_PER_ROW = 3
_PLOT_SIZE = (4, 3)  # width and height of one plot, inches
_PLOT_DPI = 100


class Curves:
    """Writes the mean losses of the steps since the last row, as one CSV row.

    Args:
        file: the CSV file; its rows up to the step `since` are kept, later ones are removed.
        since: the step that the run resumes from, 0 for a new run.
    """

    def __init__(self, file: Path, since: int) -> None:
        self.file = file
        earlier_rows = [row for row in rows(file) if row["step"] <= since] if file.is_file() else []
        self._names = list(earlier_rows[0])[1:] if earlier_rows else []
        self._write(earlier_rows, "w")
        self._sums: dict[str, Tensor] = {}
        self._steps = 0

    def add(self, losses: Mapping[str, Tensor]) -> None:
        """Add a step's losses. The values stay on the device, so the host does not wait for it."""
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, torch.zeros((), device=value.device)) + value.detach()
        self._steps += 1

    def write_row(self, step: int) -> dict[str, float]:
        """Write and return the means since the last row; empty when no step was added.

        Raises InputValidationError when a loss is not finite.
        """
        if not self._steps:
            return {}
        means = {name: value.item() / self._steps for name, value in self._sums.items()}
        diverged = [name for name, value in means.items() if not math.isfinite(value)]
        if diverged:
            raise InputValidationError(
                f"The training diverged before step {step}: {', '.join(diverged)} is not finite. Start a new "
                "run from the last checkpoint (--start) with a lower --learning-rate.",
                input="learning_rate",
            )
        self._sums, self._steps = {}, 0
        self._names = self._names or list(means)
        self._write([{"step": step} | means], "a")
        return means

    def _write(self, values: Sequence[Mapping[str, float]], mode: str) -> None:
        with self.file.open(mode, newline="") as stream:
            writer = csv.DictWriter(stream, ["step", *self._names])
            if stream.tell() == 0 and self._names:
                writer.writeheader()
            writer.writerows(values)


def rows(file: Path) -> list[dict[str, float]]:
    """Return the rows of a run's CSV file: "step" and each loss -> value."""
    with file.open(newline="") as stream:
        return [
            {name: int(value) if name == "step" else float(value) for name, value in row.items()}
            for row in csv.DictReader(stream)
        ]


def plot(file: Path, picture: Path) -> None:
    """Plot each loss of a run's CSV file over the steps, as a PNG; nothing when there are no rows."""
    from matplotlib.figure import Figure  # imported here: it takes a second and is rarely needed

    all_rows = rows(file)
    if not all_rows:
        return
    names = [name for name in all_rows[0] if name != "step"]
    columns = min(_PLOTS_PER_ROW, len(names))
    lines = math.ceil(len(names) / columns)
    width, height = _PLOT_SIZE
    figure = Figure(figsize=(width * columns, height * lines), layout="constrained")
    for number, name in enumerate(names, 1):
        axes = figure.add_subplot(lines, columns, number)
        axes.plot([row["step"] for row in all_rows], [row[name] for row in all_rows])
        axes.set_title(name.replace("_", " "))
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
    figure.savefig(picture, dpi=_PLOT_DPI)
