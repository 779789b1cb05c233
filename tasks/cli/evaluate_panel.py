"""The command `tryon evaluate panel`: pairs of people and garments, drawn for people to rate."""

import json
from pathlib import Path
from typing import Annotated

import typer

from config.settings import settings
from tasks.cli.output import Json, show_table
from worker.queue.request import TryonRequest


def panel(
    people: Annotated[Path, typer.Option(exists=True, file_okay=False, help="Folder of people.")],
    garments: Annotated[Path, typer.Option(exists=True, file_okay=False, help="Folder of garments.")],
    pairs: Annotated[
        Path, typer.Option(exists=True, dir_okay=False, help="File: a person's and a garment's name a line.")
    ],
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder for sheets and panel.json.")],
    engine: Annotated[str, typer.Option(help="auto, or the name of an engine.")] = "auto",
    as_json: Json = False,
) -> None:
    """Draw given pairs to sheets with score, warnings and errors; print counts and median times."""
    from worker.lab.evaluation import panel as evaluation
    from worker.stages.models import Models

    options = TryonRequest.parse(("person", "cloth"), {"engine": engine}).options()
    with Models(settings().models_dir) as models:
        rows = evaluation.draw(evaluation.read_pairs(pairs), people, garments, out, options, models)
    figures = evaluation.figures(rows)
    if as_json:
        print(json.dumps(figures))
    else:
        show_table({"panel": figures}, as_json)
