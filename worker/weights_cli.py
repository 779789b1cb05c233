"""`tryon weights`: list, fetch and verify the model files."""

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from config.settings import settings
from worker import weights
from worker.errors import WeightsMissingError

app = typer.Typer(help="The model files.", no_args_is_help=True)
_out = Console()
_err = Console(stderr=True)

_STYLE = {"present": "green", "missing": "yellow", "damaged": "red"}

Names = Annotated[list[str] | None, typer.Argument(help="Model files; all of them if none is named.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


@app.command("list")
def list_(json_: Json = False) -> None:
    """Show every model file: what it is for, its size and licence, and whether it is in place."""
    _show(weights.status(settings().models_dir), json_)


@app.command()
def fetch(names: Names = None) -> None:
    """Download the model files that are missing or damaged."""
    try:
        weights.fetch(
            names or [], settings().models_dir, lambda message: _out.print(message, highlight=False)
        )
    except WeightsMissingError as error:
        _err.print(f"[red]{error.name}[/]: {error.message}", highlight=False)
        raise typer.Exit(1) from error


@app.command()
def verify(json_: Json = False) -> None:
    """Check the size and hash of every model file; exit 1 unless all are right."""
    records = weights.status(settings().models_dir)
    _show(records, json_)
    if any(record.state != "present" for record in records):
        if not json_:
            _err.print("Mend it with `tryon weights fetch`.")
        raise typer.Exit(1)


def _show(records: list[weights.WeightStatus], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"weights": [record.record() for record in records]}))
        return
    table = Table("Name", "State", "Purpose", "MB", "Licence")
    for record in records:
        state = f"[{_STYLE[record.state]}]{record.state}[/]"
        table.add_row(record.name, state, record.purpose, f"{record.bytes / 1e6:.1f}", record.licence)
    _out.print(table)
