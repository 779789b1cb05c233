"""`tryon weights`: list, fetch, add and verify the model files."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn
from rich.table import Column, Table

from config.errors import WeightsMissingError
from config.settings import settings
from worker import weights

app = typer.Typer(help="The model files.", no_args_is_help=True)
_out = Console()
_err = Console(stderr=True)

_STYLE = {"present": "green", "missing": "yellow", "damaged": "red"}

Names = Annotated[
    list[str] | None,
    typer.Argument(help="Model files, or groups of them; those that are required if none is named."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Accept = Annotated[
    bool, typer.Option("--accept-licence", help="Accept the licences that must be accepted, without asking.")
]


@app.command("list")
def list_(json_: Json = False) -> None:
    """Show every model file: what it is for, its size and licence, and whether it is in place."""
    _show(weights.status(settings().models_dir), json_)


@app.command()
def fetch(
    names: Names = None,
    accept_licence: Accept = False,
    anew: Annotated[bool, typer.Option("--anew", help="Replace files that are there and right.")] = False,
) -> None:
    """Download the model files that are missing or damaged."""
    with _told() as listener:
        weights.fetch(names or [], settings().models_dir, listener, ask=_asker(accept_licence), anew=anew)


@app.command()
def add(
    path: Annotated[Path, typer.Argument(help="A model file that you have.")],
    name: Annotated[
        str | None, typer.Option(help="Which model file it is, where its sha256 cannot tell.")
    ] = None,
    accept_licence: Accept = False,
) -> None:
    """Copy a file that you have into the models folder, if it is one of the model files."""
    with _told() as listener:
        weights.add(path, settings().models_dir, listener, name=name, ask=_asker(accept_licence))


@app.command()
def verify(json_: Json = False) -> None:
    """Check the size and hash of every model file; exit 1 if a required one is missing or any is damaged."""
    records = weights.status(settings().models_dir)
    _show(records, json_)
    unsound = [record for record in records if not record.sound]
    if unsound:
        if not json_:
            names = " ".join(record.name for record in unsound)
            _err.print(f"Mend it with `tryon weights fetch {names}`.", highlight=False)
        raise typer.Exit(1)


@contextmanager
def _told() -> Iterator[weights.Listener]:
    """Show what is said and a bar for each file on its way; end 1 with the named error if there is one."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    bars: dict[str, TaskID] = {}
    try:
        with Progress(*columns, console=_out, transient=True) as progress:

            def advance(name: str, done: int, total: int | None) -> None:
                if name not in bars:
                    bars[name] = progress.add_task(name, total=total)
                progress.update(bars[name], completed=done, total=total)

            yield weights.Listener(lambda message: _out.print(message, highlight=False), advance)
    except WeightsMissingError as error:
        _err.print(f"[red]{error.name}[/]: {error.message}", highlight=False)
        raise typer.Exit(1) from error
    except OSError as error:  # a full disk, a folder that may not be written
        _err.print(f"[red]{type(error).__name__}[/]: {error}", highlight=False)
        raise typer.Exit(1) from error


def _asker(accepted: bool) -> Callable[[weights.Licence, str], bool]:
    """Return what asks whoever sits at the terminal; in a script nobody does, and only the flag accepts."""

    def ask(licence: weights.Licence, names: str) -> bool:
        if accepted or not sys.stdin.isatty():
            return accepted
        _out.print(f"{names} may be used under {licence.name} only: {licence.notice}", highlight=False)
        return typer.confirm("Do you accept this licence?")

    return ask


def _show(records: list[weights.WeightStatus], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"weights": [record.record() for record in records]}))
        return
    table = Table(Column("Name", no_wrap=True), "State", "Needed", "Purpose", "MB", "Licence")
    for record in records:
        state = f"[{_STYLE[record.state]}]{record.state}[/]"
        needed = "yes" if record.required else f"optional, {record.group}" if record.group else "optional"
        size = f"{record.bytes / 1e6:.1f}" if record.bytes is not None else "?"
        table.add_row(record.name, state, needed, record.purpose, size, record.licence)
    _out.print(table)
