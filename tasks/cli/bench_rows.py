"""`tryon bench rows`: the database at a million jobs, in a temporary server of its own."""

import json
import os
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from tasks.cli import codes
from tasks.cli.output import Json, err


def rows(
    finished: Annotated[int, typer.Option(min=1, help="Finished jobs.")] = 1_000_000,
    queued: Annotated[int, typer.Option(min=100, help="Queued jobs.")] = 20_000,
    rounds: Annotated[int, typer.Option(min=1, help="How often each call is timed.")] = 25,
    as_json: Json = False,
) -> None:
    """Time every transition, the sweep's queries and `tryon status` in a database of this size.

    A temporary Postgres is started and filled; with the default numbers this takes minutes and some 5 GB.
    """
    import db.session
    from config.settings import settings
    from db.migrate import upgrade
    from worker.lab.rows_bench import bench
    from worker.machine.embedded.servers import EmbeddedServers

    with (
        tempfile.TemporaryDirectory(prefix="tryon-bench-") as folder,
        EmbeddedServers(Path(folder), only=("postgres",)) as servers,
    ):
        os.environ.update(servers.environment())
        settings.cache_clear()
        db.session.dispose()
        try:
            upgrade()
            with err.status("Filling the database and timing …"):
                figures = bench.run(finished=finished, queued=queued, rounds=rounds)
        finally:
            db.session.dispose()
    if as_json:
        print(json.dumps(figures))
    else:
        _print(figures)
    if figures["over_limit"]:
        raise typer.Exit(codes.JOB_FAILED)


def _print(figures: dict[str, Any]) -> None:
    table = Table("transition", "median ms")
    for name, value in figures["transitions_ms"].items():
        table.add_row(name, str(value))
    Console().print(table)
    counted = ", ".join(f"{count} {name}" for name, count in figures["rows"].items())
    typer.echo(f"{counted}; {figures['bytes_per_job']} bytes of tables and indexes per job")
    typer.echo(
        f"All queries of a sweep: {figures['sweep_ms']} ms; `tryon status`: {figures['status_command_ms']} ms"
        f"; a scrape of the metrics: {figures['metrics_ms']} ms"
    )
    typer.echo("Over the limit: " + ("; ".join(figures["over_limit"]) or "nothing"))
