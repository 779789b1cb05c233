"""The commands about webhooks: send, list, redeliver, secret."""

import asyncio
import json
import signal
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from config.logs import set_up_logging
from config.settings import ConfigurationError
from tasks.cli.output import Json

app = typer.Typer(help="Webhooks: what jobs tell to other servers.", no_args_is_help=True)


@app.command("send")
def send() -> None:
    """Deliver the events of jobs, until stopped."""
    try:
        from worker.queue import webhooks
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"Webhooks need the package {error.name}: pip install 'tryon-workers[api]'"
        ) from error

    from db import migrate

    set_up_logging()
    migrate.require_current()

    async def run() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await webhooks.run(stop)

    asyncio.run(run())


@app.command("list")
def list_(
    dead: Annotated[bool, typer.Option("--dead", help="Those that are not tried any more.")] = False,
    job: Annotated[str | None, typer.Option(help="Those of a job.")] = None,
    as_json: Json = False,
) -> None:
    """List the newest deliveries."""
    from db import webhooks

    rows = webhooks.deliveries(status="dead" if dead else None, job_id=job)
    if as_json:
        print(json.dumps(rows))
        return
    table = Table("id", "job", "event", "url", "status", "attempts", "last answer")
    for row in rows:
        shown = ("id", "job_id", "event", "url", "status", "attempt", "answer")
        table.add_row(*(str(row[name] or "") for name in shown))
    Console().print(table)


@app.command("redeliver")
def redeliver(
    ids: Annotated[list[str] | None, typer.Argument(help="Ids of deliveries.")] = None,
    dead: Annotated[bool, typer.Option("--dead", help="All that are not tried any more.")] = False,
    job: Annotated[str | None, typer.Option(help="All of a job.")] = None,
) -> None:
    """Send deliveries again, with the same ids."""
    from db import webhooks

    if not ids and not dead and job is None:
        raise typer.BadParameter("name deliveries, --dead or --job ID")
    print(f"{webhooks.redeliver(ids=ids, job_id=job, dead=dead)} deliveries are sent again")


@app.command("secret")
def secret(
    tenant: Annotated[str, typer.Argument(help="Whose webhooks it signs.")] = "default",
    rotate: Annotated[bool, typer.Option("--rotate", help="Replace it first.")] = False,
) -> None:
    """Print the secret with which a receiver checks the signatures."""
    from db import webhooks

    print(webhooks.rotate_secret(tenant) if rotate else webhooks.secret_of(tenant))
