"""The `tryon` command."""

import importlib.metadata
import os
import sys
from typing import Annotated

import typer

from config.settings import ConfigurationError
from tasks.cli import codes

DISTRIBUTION = "tryon-workers"
"""The name under which this project is installed."""

TERMINAL_OUTAGE_TIMEOUT_S = 3
"""How long a command retries an unreachable database, seconds: a person waits for the answer."""


def _application() -> typer.Typer:
    """Return the command line with all commands. They import little; the rest is imported when one runs."""
    from tasks.cli import bench, cascade, evaluate, garment, keys, layout, parser, webhooks
    from tasks.cli import weights as weights_cli
    from tasks.cli.dashboard import dashboard
    from tasks.cli.doctor import doctor
    from tasks.cli.jobs import cancel, forget, result, retry, status, submit
    from tasks.cli.metrics import metrics
    from tasks.cli.pictures import demo, run
    from tasks.cli.serve import create_buckets, db, serve, sweep, up

    app = typer.Typer(
        help="A self-hosted virtual try-on: put a garment on a person's photograph.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )
    app.callback()(_options)
    about_jobs = (submit, status, result, cancel, retry, forget)
    for command in (up, demo, run, *about_jobs, doctor, sweep, serve, metrics, dashboard, create_buckets):
        app.command()(command)
    app.add_typer(db, name="db")
    app.add_typer(keys.app, name="keys")
    app.add_typer(webhooks.app, name="webhooks")
    app.add_typer(weights_cli.app, name="weights")
    app.add_typer(bench.app, name="bench")
    app.add_typer(evaluate.app, name="evaluate")
    app.add_typer(parser.app, name="parser")
    app.add_typer(garment.app, name="garment")
    app.add_typer(cascade.app, name="cascade")
    app.add_typer(layout.app, name="layout")
    return app


def _print_version(requested: bool) -> None:
    if requested:
        print(importlib.metadata.version(DISTRIBUTION))
        raise typer.Exit


def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Accept the options that stand before a command; their callbacks do the work."""


def main() -> None:
    """Run the command; the exit code says what kind of error there was."""
    from config.errors import StorageError, TryonError
    from db.jobs import UnknownJobError
    from db.session import DatabaseUnavailableError, SchemaError, set_outage_timeout
    from worker.machine.embedded.process import ServerError

    if "TRYON_OUTAGE_PATIENCE_S" not in os.environ:
        set_outage_timeout(TERMINAL_OUTAGE_TIMEOUT_S)
    try:
        _application()()
    except (ConfigurationError, DatabaseUnavailableError, SchemaError, ServerError, StorageError) as error:
        _exit(codes.UNREACHABLE, error)
    except (TryonError, UnknownJobError) as error:
        _exit(codes.USER_ERROR, error)


def _exit(code: int, error: Exception) -> None:
    name = getattr(error, "name", type(error).__name__)
    print(f"{name}: {error}", file=sys.stderr)
    sys.exit(code)
