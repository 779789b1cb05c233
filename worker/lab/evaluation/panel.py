"""Draws given pairs of people and garments on sheets, for people to look at and rate."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image as PillowImage

from config.errors import InputValidationError, TryonError
from worker.images.arrays import Image
from worker.images.decode import decode_input
from worker.lab.demo.sheet import Panel, sheet
from worker.stages import local
from worker.stages.models import Models

SHOWN_FROM = 0.5
"""Pictures with this score or more count as "can be shown" in the printed share."""

PAIRS_PER_SHEET = 12
"""Pairs on one sheet, each with three pictures: more are too small to be rated."""

_COLUMNS = 6
_BLANK: Image = np.full((4, 3, 3), 255, np.uint8)
_TITLE_CHARACTERS = 34


@dataclass(frozen=True)
class Row:
    """One pair and what became of it.

    Attributes:
        person, garment: file names.
        score: of the picture, 0..1; None when the pair was refused.
        warnings: what a viewer may notice.
        checks: name -> measured value.
        error: the name of the error, or None.
        message: its text.
        times: stage -> milliseconds.
    """

    person: str
    garment: str
    score: float | None = None
    warnings: list[str] = field(default_factory=list)
    checks: dict[str, float] = field(default_factory=dict)
    error: str | None = None
    message: str = ""
    times: dict[str, float] = field(default_factory=dict)


def read_pairs(file: Path) -> list[tuple[str, str]]:
    """Return (person, garment) of each line: two file names. Raises InputValidationError."""
    pairs = []
    for number, line in enumerate(file.read_text().splitlines(), 1):
        names = line.split()
        if not names or line.startswith("#"):
            continue
        if len(names) != 2:
            raise InputValidationError(
                f"{file}, line {number}: a line has two file names, a person and a garment.", input=str(file)
            )
        pairs.append((names[0], names[1]))
    return pairs


def draw(
    pairs: Iterable[tuple[str, str]],
    people: Path,
    garments: Path,
    out: Path,
    options: Mapping[str, Any],
    models: Models,
) -> list[Row]:
    """Draw every pair; write panel.json and the sheets; return the rows.

    Args:
        pairs: file names of people and garments.
        people, garments: the folders of the files.
        out: the folder for panel.json, the sheets, and the single pictures.
        options: job options, as `TryonRequest.options` gives them.
        models: the loaded models.

    Raises InputValidationError when a file is missing.
    """
    out.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    panels: list[Panel] = []
    for number, (person, garment) in enumerate(pairs):
        row, shown = _draw_pair(people / person, garments / garment, options, models)
        rows.append(row)
        panels += shown
        if row.error is None:
            PillowImage.fromarray(shown[-1][1]).save(out / f"{number:03d}.jpg", quality=90)
        if (number + 1) % PAIRS_PER_SHEET == 0:
            _save_sheet(panels, out, len(rows))
            panels = []
    if panels:
        _save_sheet(panels, out, len(rows))
    (out / "panel.json").write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    return rows


def figures(rows: Sequence[Row]) -> dict[str, Any]:
    """Return counts, the share over the threshold, the median score, and median times in milliseconds."""
    drawn = [row for row in rows if row.score is not None]
    scores = [row.score for row in drawn if row.score is not None]
    refused = Counter(row.error for row in rows if row.error is not None)
    stages = dict.fromkeys(stage for row in rows for stage in row.times)
    return {
        "pairs": len(rows),
        "drawn": len(drawn),
        "refused": dict(refused),
        "refused_share": round(1 - len(drawn) / max(1, len(rows)), 4),
        "over_threshold": round(sum(score >= SHOWN_FROM for score in scores) / max(1, len(scores)), 4),
        "median_score": round(median(scores), 4) if scores else None,
        "median_ms": {
            stage: round(median(row.times[stage] for row in rows if stage in row.times)) for stage in stages
        },
    }


def _draw_pair(
    person: Path, garment: Path, options: Mapping[str, Any], models: Models
) -> tuple[Row, list[Panel]]:
    data = {name: _read(path) for name, path in (("person", person), ("cloth", garment))}
    names = {"person": person.name, "cloth": garment.name}
    times: dict[str, float] = {}
    try:
        bundles = local.run(
            data["person"],
            data["cloth"],
            options,
            models,
            names=names,
            report=lambda stage, ms: times.__setitem__(stage, round(ms, 1)),
        )
    except TryonError as error:
        row = Row(person.name, garment.name, error=error.name, message=error.message, times=times)
        return row, [*_inputs(data, names), (f"{error.name}: {error.message}"[:_TITLE_CHARACTERS], _BLANK)]
    details = bundles["generate"]["details.json"]
    checks = {name: check["value"] for name, check in details["checks"].items()}
    row = Row(person.name, garment.name, details["score"], details["warnings"], checks, times=times)
    return row, [*_inputs(data, names), (f"{row.score:.2f}", bundles["generate"]["result.png"])]


def _inputs(data: Mapping[str, bytes], names: Mapping[str, str]) -> list[Panel]:
    """Return both photographs with their names; white where one cannot be read."""
    shown: list[Panel] = []
    for source, content in data.items():
        try:
            picture = decode_input(content, name=names[source])
        except TryonError:
            picture = _BLANK
        shown.append((names[source][:_TITLE_CHARACTERS], picture))
    return shown


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError as error:
        raise InputValidationError(
            f"{file} does not exist: check the pairs and folders.", input=str(file)
        ) from error


def _save_sheet(panels: Sequence[Panel], out: Path, last: int) -> None:
    picture = sheet(panels, columns=_COLUMNS)
    PillowImage.fromarray(picture).save(out / f"sheet-{last:03d}.jpg", quality=88)
