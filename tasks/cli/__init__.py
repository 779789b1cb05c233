"""The `tryon` command."""

import os
import sys

import typer

from config.settings import ConfigurationError
from tasks.cli import codes


def _application() -> typer.Typer:
    from tasks.cli import bench, cascade, evaluate_hard, parser
    from tasks.cli import weights as weights_cli
    from tasks.cli.doctor import doctor
    from tasks.cli.jobs import cancel, result, status, submit
    from tasks.cli.pictures import demo, run
    from tasks.cli.serve import db, sweep, up

    app = typer.Typer(
        help="A self-hosted virtual try-on: put a garment on a person's photograph.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )
    for command in (up, demo, run, submit, status, result, cancel, doctor, sweep):
        app.command()(command)
    app.add_typer(db, name="db")
    app.add_typer(weights_cli.app, name="weights")
    app.add_typer(bench.app, name="bench")
    app.add_typer(evaluate_hard.app, name="evaluate")
    app.add_typer(parser.app, name="parser")
    app.add_typer(cascade.app, name="cascade")
    return app


def main() -> None:
    """Run the command, and end with the exit code that tells what kind of trouble there was."""
    from config.errors import StorageError, TryonError
    from db.jobs import UnknownJobError
    from db.session import DatabaseUnavailableError, be_brief
    from worker.machine.embedded.process import ServerError

    if "TRYON_OUTAGE_PATIENCE_S" not in os.environ:
        be_brief(3)
    try:
        _application()()
    except (ConfigurationError, DatabaseUnavailableError, ServerError, StorageError) as error:
        _leave(codes.UNREACHABLE, error)
    except (TryonError, UnknownJobError) as error:
        _leave(codes.USER_ERROR, error)


def _leave(code: int, error: Exception) -> None:
    named = getattr(error, "name", type(error).__name__)
    print(f"{named}: {error}", file=sys.stderr)
    sys.exit(code)
