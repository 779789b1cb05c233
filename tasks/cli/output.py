"""What several commands share to print their results: options, tables, pictures."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

if TYPE_CHECKING:
    from worker.images.arrays import Image

err = Console(stderr=True)
"""For progress and notes: standard output is for results."""

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


def show_table(rows: Mapping[str, Mapping[str, Any]], as_json: bool, title: str = "") -> None:
    """Print named rows as a table, or as one JSON object."""
    if as_json:
        print(json.dumps(rows))
        return
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    table = Table(Column(title, no_wrap=True), *(Column(column, overflow="fold") for column in columns))
    for name, row in rows.items():
        table.add_row(name, *(str(row.get(column, "")) for column in columns))
    Console().print(table)


def save_picture(picture: "Image", path: Path) -> None:
    """Write a picture, RGB uint8 (h, w, 3), as a PNG file, and report it on standard error."""
    from PIL import Image as PillowImage

    path.parent.mkdir(parents=True, exist_ok=True)
    PillowImage.fromarray(picture).save(path)
    report_file(path)


def report_file(path: Path) -> None:
    """Report a written file on standard error."""
    err.print(f"written: {path}")
