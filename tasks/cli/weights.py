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
from tasks.cli.output import Json, err
from worker import weights
from worker.weights import licences

app = typer.Typer(help="The model files.", no_args_is_help=True)
_out = Console()

_STATE_COLOUR = {"present": "green", "missing": "yellow", "damaged": "red"}

_BYTES_PER_MB = 1e6

Names = Annotated[
    list[str] | None,
    typer.Argument(help="Model files, or groups of them; without names, the required files."),
]
AcceptLicence = Annotated[
    bool, typer.Option("--accept-licence", help="Accept the licences that require it, without a question.")
]
Trust = Annotated[
    bool, typer.Option("--trust", help="Install files without a published hash, without a question.")
]


@app.command("list")
def list_(json_: Json = False) -> None:
    """Show every model file: its purpose, size, licence and state."""
    _show(weights.status(settings().models_dir), json_)


@app.command()
def fetch(
    names: Names = None,
    accept_licence: AcceptLicence = False,
    trust: Trust = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also replace files that are present and valid.")
    ] = False,
) -> None:
    """Download the model files that are missing or damaged."""
    with _progress_anderrors() as listener:
        weights.fetch(
            names or [],
            settings().models_dir,
            listener,
            accept=_licence_question(accept_licence),
            trust=_trust_question(trust),
            replace=force,
        )


@app.command()
def add(
    path: Annotated[Path, typer.Argument(help="A model file on this machine.")],
    name: Annotated[
        str | None, typer.Option(help="Its name in the catalogue, if its sha256 does not identify it.")
    ] = None,
    accept_licence: AcceptLicence = False,
    trust: Trust = False,
) -> None:
    """Copy a file into the models folder, if it is one of the model files."""
    with _progress_anderrors() as listener:
        weights.add(
            path,
            settings().models_dir,
            listener,
            name=name,
            accept=_licence_question(accept_licence),
            trust=_trust_question(trust),
        )


@app.command()
def verify(json_: Json = False) -> None:
    """Check the size and hash of every model file; exit 1 if a required one is missing or any is damaged."""
    records = weights.status(settings().models_dir)
    _show(records, json_)
    unsound = [record for record in records if not record.sound]
    if unsound:
        if not json_:
            names = " ".join(record.name for record in unsound)
            err.print(f"Repair with `tryon weights fetch {names}`.", highlight=False)
        raise typer.Exit(1)


@contextmanager
def _progress_anderrors() -> Iterator[weights.Listener]:
    """Print messages and one progress bar per file; print an error and exit with 1 if one is raised."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    bars: dict[str, TaskID] = {}
    try:
        with Progress(*columns, console=_out, transient=True) as display:

            def show_progress(name: str, received: int, total: int | None) -> None:
                if name not in bars:
                    bars[name] = display.add_task(name, total=total)
                display.update(bars[name], completed=received, total=total)

            yield weights.Listener(lambda message: _out.print(message, highlight=False), show_progress)
    except WeightsMissingError as error:
        err.print(f"[red]{error.name}[/]: {error.message}", highlight=False)
        raise typer.Exit(1) from error
    except OSError as error:  # The disk is full, or the folder is not writable.
        err.print(f"[red]{type(error).__name__}[/]: {error}", highlight=False)
        raise typer.Exit(1) from error


def _licence_question(accepted: bool) -> licences.Accept:
    """Return a function that asks the user at the terminal; without one, only the flag accepts a licence."""

    def accept(licence: weights.Licence, names: str) -> bool:
        if accepted or not sys.stdin.isatty():
            return accepted
        _out.print(f"{names} may be used under {licence.name} only: {licence.notice}", highlight=False)
        return typer.confirm("Do you accept this licence?")

    return accept


def _trust_question(trusted: bool) -> Callable[[weights.Weight, str, int], bool]:
    """Return a function that asks the user at the terminal; without one, only the flag trusts a file."""

    def trust(weight: weights.Weight, digest: str, size: int) -> bool:
        if trusted or not sys.stdin.isatty():
            return trusted
        _out.print(
            f"{weight.name} has no published hash. This file has {size} bytes and the sha256 {digest}.",
            highlight=False,
        )
        return typer.confirm("Do you trust it?")

    return trust


def _show(records: list[weights.WeightStatus], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"weights": [record.record() for record in records]}))
        return
    table = Table(Column("Name", no_wrap=True), "State", "Needed", "Purpose", "MB", "Licence")
    for record in records:
        state = f"[{_STATE_COLOUR[record.state]}]{record.state}[/]"
        needed = "yes" if record.required else f"optional, {record.group}" if record.group else "optional"
        size = f"{record.bytes / _BYTES_PER_MB:.1f}" if record.bytes is not None else "?"
        table.add_row(record.name, state, needed, record.purpose, size, record.licence)
    _out.print(table)
