"""`tryon evaluate`: each map against ground truth that this project did not draw."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

from config.settings import settings

if TYPE_CHECKING:
    import numpy as np

app = typer.Typer(help="Measure the maps against published ground truth.", no_args_is_help=True)

Samples = Annotated[
    Path, typer.Option(exists=True, file_okay=False, help="Folder laid out as VITON-HD's test set.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]

Sheet = Annotated[
    Path | None, typer.Option(dir_okay=False, help="Write a picture of what was compared here, a PNG.")
]

DEFAULT = Path("../shared/samples/viton_hd")


@app.command()
def pose(
    samples: Samples = DEFAULT,
    as_json: Json = False,
    joints: Annotated[bool, typer.Option("--joints", help="One row for each joint.")] = False,
    sheet: Sheet = None,
) -> None:
    """Per group of joints: pixel error, PCK and what is missed, against OpenPose."""
    from worker.evaluation.pose import EACH, GROUPS, contact_sheet, evaluate
    from worker.models import Models

    models = Models(settings().models_dir)
    show(evaluate(samples, models, EACH if joints else GROUPS), as_json)
    if sheet:
        _save(contact_sheet(samples, models), sheet)


@app.command()
def cloth(
    samples: Samples = DEFAULT,
    as_json: Json = False,
    hard: Annotated[bool, typer.Option(help="Also the hard cases made from the same garments.")] = True,
    sheet: Sheet = None,
) -> None:
    """Per garment, and per hard case: IoU and boundary F-score against the published mask."""
    from worker.evaluation import cloth as evaluation

    results = evaluation.measure(samples, [evaluation.PUBLISHED])
    tables = {evaluation.PUBLISHED: evaluation.by_garment(results)}
    if hard:
        harder = evaluation.measure(samples, evaluation.HARD)
        tables["hard cases"] = evaluation.by_case(harder)
        results += harder
    if as_json:
        print(json.dumps(tables))
    else:
        for title, rows in tables.items():
            show(rows, as_json, title)
    if sheet:
        _save(evaluation.contact_sheet(results), sheet)


@app.command()
def parsing(samples: Samples = DEFAULT, as_json: Json = False) -> None:
    """Per person: IoU of each part against the published parse."""
    from worker.evaluation.parsing import evaluate
    from worker.models import Models

    show(evaluate(samples, Models(settings().models_dir)), as_json)


def show(rows: dict[str, dict[str, Any]], as_json: bool, title: str = "") -> None:
    """Print a table of named rows, or one JSON object."""
    if as_json:
        print(json.dumps(rows))
        return
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    table = Table(Column(title, no_wrap=True), *(Column(column, overflow="fold") for column in columns))
    for name, row in rows.items():
        table.add_row(name, *(str(row.get(column, "")) for column in columns))
    Console().print(table)


def _save(picture: "np.ndarray", path: Path) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)
    Console(stderr=True).print(f"written: {path}")
