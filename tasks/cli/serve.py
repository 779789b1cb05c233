"""The commands that run or prepare the system: up, sweep, db, create-buckets."""

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from config import queues
from config.logs import set_up_logging
from config.settings import ConfigurationError, settings
from tasks.cli.output import Json, err

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

SIGNAL_WAIT_S = 1.0
"""Interval at which it is checked that the sweep still runs, seconds."""

MISSED_INTERVALS = 3
"""A worker that was silent for this many presence intervals counts as dead."""

db = typer.Typer(help="The database.", no_args_is_help=True)


def up(
    flower_port: Annotated[
        int, typer.Option(help="Port of the dashboard on 127.0.0.1; 0: no dashboard.")
    ] = 5555,
    page_port: Annotated[
        int, typer.Option(help="Port of the page and the HTTP interface on 127.0.0.1; 0: neither.")
    ] = 8000,
    cpu_processes: Annotated[
        int | None, typer.Option(min=1, help="Processes for CPU stages. Default: half the cores.")
    ] = None,
) -> None:
    """Start servers, workers, sweep, page and dashboard. Ctrl-C stops all of them."""
    from worker.machine.supervisor import Supervisor

    set_up_logging()
    with Supervisor(
        cpu_processes=cpu_processes, flower_port=flower_port or None, api_port=page_port or None
    ) as system:
        system.wait_ready()
        typer.echo(f"Everything runs; data and logs are in {system.data_dir}")
        if page_port:
            typer.echo(f"Page: http://127.0.0.1:{page_port}")
        if flower_port:
            typer.echo(f"Dashboard: http://127.0.0.1:{flower_port}")
        typer.echo("Submit a try-on: tryon submit person.jpg garment.jpg --wait      Stop: Ctrl-C")
        system.run()


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0: a free one.")] = 8000,
) -> None:
    """Serve the HTTP interface and the page. Beyond 127.0.0.1 it needs an API key: `tryon keys add`."""
    try:
        from tasks.api import server
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"The HTTP interface needs the package {error.name}: pip install 'tryon-workers[api]'"
        ) from error

    from db import migrate

    set_up_logging()
    migrate.require_current()
    try:
        server.run(host, port)
    except server.AddressError as error:
        typer.echo(f"ConfigurationError: {error}", err=True)
        raise typer.Exit(os.EX_CONFIG) from error  # the supervisor does not try again


def sweep() -> None:
    """Repeat lost wake-ups and retry the stages of dead workers, until stopped."""
    from db import migrate
    from worker.app import app
    from worker.queue import sweep as sweeper

    set_up_logging()
    migrate.require_current()
    # The signals are waited for here while the sweep runs in a thread. As an exception in the midst of a
    # statement, one could be taken for an error of the database, which the sweep survives.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    stop = threading.Event()
    thread = threading.Thread(target=sweeper.run, args=(app, stop), name="sweep")
    thread.start()
    while thread.is_alive() and signal.sigtimedwait(STOP_SIGNALS, SIGNAL_WAIT_S) is None:
        pass
    stop.set()
    thread.join()


@db.command("upgrade")
def upgrade() -> None:
    """Create or upgrade the tables."""
    from db import migrate

    migrate.upgrade()
    typer.echo(f"The tables are at revision {migrate.current()[0]}")


@db.command("current")
def current(as_json: Json = False) -> None:
    """Show the revision of the tables and the one that this version needs; exit code 4 if they differ."""
    from db import migrate

    applied, newest = migrate.current()
    if as_json:
        typer.echo(json.dumps({"current": applied, "newest": newest}))
    else:
        typer.echo(f"The tables are at revision {applied or 'none'}; this version of tryon needs {newest}")
    migrate.require_current()


@db.command("downgrade")
def downgrade(
    revision: Annotated[str, typer.Argument(help="The revision that an older version of tryon needs.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Undo the migrations after a revision: stop workers, sweep and producers first."""
    from db import migrate

    if not yes:
        typer.confirm("What only the newer version stores is lost. Go on?", abort=True, err=True)
    migrate.downgrade(revision)
    typer.echo(f"The tables are at revision {migrate.current()[0]}")


def create_buckets() -> None:
    """Create the buckets of the object store that do not exist."""
    from worker.artifacts.storage import storage

    storage().ensure_buckets()
    typer.echo(f"The buckets {settings().input_bucket} and {settings().output_bucket} exist")


@contextmanager
def running_system(*, quiet: bool = False) -> Iterator[None]:
    """Use the system that already runs with these settings, or run one during the block."""
    if _is_running():
        yield
        return
    from worker.machine.supervisor import Supervisor

    with err.status("Starting servers and workers …", spinner="dots") as status, Supervisor() as system:
        system.wait_ready()
        status.stop()
        if not quiet:
            typer.echo(f"Servers and workers run; their logs are in {system.data_dir / 'logs'}")
        yield


def _is_running() -> bool:
    """Whether a worker that was seen lately serves each queue."""
    from db import jobs
    from db.session import DatabaseUnavailableError, SchemaError, dispose
    from worker.queue import process

    try:
        workers = jobs.workers()
    except (ConfigurationError, DatabaseUnavailableError, SchemaError):  # no address, no answer or no tables
        dispose()
        return False
    alive = [
        worker for worker in workers if worker["silent_s"] < MISSED_INTERVALS * process.PRESENCE_INTERVAL_S
    ]
    return {queue for worker in alive for queue in worker["queues"]}.issuperset(queues.ALL)
