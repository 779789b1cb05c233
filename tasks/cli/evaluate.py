"""`tryon evaluate`: each map against ground truth that this project did not draw."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from config.settings import settings

app = typer.Typer(help="Measure the maps against published ground truth.", no_args_is_help=True)

Samples = Annotated[
    Path, typer.Option(exists=True, file_okay=False, help="Folder laid out as VITON-HD's test set.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]

DEFAULT = Path("../shared/samples/viton_hd")


@app.command()
def pose(samples: Samples = DEFAULT, as_json: Json = False) -> None:
    """Per joint group: pixel error and PCK against OpenPose."""
    from worker.evaluation.pose import evaluate
    from worker.models import Models

    _show(evaluate(samples, Models(settings().models_dir)), as_json)


@app.command()
def cloth(samples: Samples = DEFAULT, as_json: Json = False) -> None:
    """Per garment: IoU and boundary F-score against the published mask."""
    from worker.evaluation.cloth import evaluate

    _show(evaluate(samples), as_json)


@app.command()
def parsing(samples: Samples = DEFAULT, as_json: Json = False) -> None:
    """Per person: IoU of each part against the published parse."""
    from worker.evaluation.parsing import evaluate
    from worker.models import Models

    _show(evaluate(samples, Models(settings().models_dir)), as_json)


def _show(rows: dict[str, dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print(json.dumps(rows))
        return
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    table = Table("", *columns)
    for name, row in rows.items():
        table.add_row(name, *(str(row.get(column, "")) for column in columns))
    Console().print(table)
