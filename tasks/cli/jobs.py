"""The commands about a job: submit, status, result, cancel."""

import hashlib
import json
import mimetypes
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from config.settings import settings
from db import jobs
from tasks.cli import codes

out = Console()
err = Console(stderr=True)

POLL_S = 0.2
ENDED = ("succeeded", "failed", "canceled")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


def submit(
    person: Annotated[str, typer.Argument(help="The person's photograph: a file, or a key in the bucket.")],
    cloth: Annotated[str, typer.Argument(help="The garment's photograph: a file, or a key in the bucket.")],
    engine: Annotated[str, typer.Option(help="auto or geometric.")] = "auto",
    seed: Annotated[int, typer.Option(help="The same seed gives the same picture.")] = 0,
    output_format: Annotated[str, typer.Option(help="png, jpeg or webp.")] = "png",
    priority: Annotated[int, typer.Option(help="0 to 9; 9 is served first.")] = 0,
    idempotency_key: Annotated[str | None, typer.Option(help="The same key never makes two jobs.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Show the stages until the job has ended.")] = False,
    as_json: Json = False,
) -> None:
    """Ask for a try-on; files are uploaded first."""
    from tasks import tryon

    handle = tryon.delay(
        upload(person),
        upload(cloth),
        engine=engine,
        seed=seed,
        output_format=output_format,
        priority=priority,
        idempotency_key=idempotency_key,
    )
    record = follow(handle.id, quiet=as_json) if wait else jobs.status(handle.id)
    show(record, as_json=as_json)
    if record["status"] in ("failed", "canceled"):
        raise typer.Exit(codes.JOB_FAILED)


def status(
    job_id: Annotated[str | None, typer.Argument(help="The job's id; without one, the newest jobs.")] = None,
    as_json: Json = False,
) -> None:
    """Show a job, or the newest jobs."""
    if job_id is not None:
        show(jobs.status(job_id), as_json=as_json)
        return
    newest, counted = jobs.recent(), jobs.counts()
    if as_json:
        print(json.dumps({"counts": counted, "jobs": newest}))
        return
    table = Table("id", "status", "person", "garment", "created", "error")
    for job in newest:
        table.add_row(*(str(job[name] or "") for name in job))
    out.print(table)
    typer.echo(", ".join(f"{number} {name}" for name, number in sorted(counted.items())) or "No jobs yet.")


def result(
    job_id: Annotated[str, typer.Argument(help="The job's id.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Save the picture here.")] = None,
    url: Annotated[bool, typer.Option("--url", help="Print a presigned URL of the picture.")] = False,
) -> None:
    """Fetch a job's picture, or print where it is."""
    from worker.artifacts.storage import storage

    record = jobs.status(job_id)
    if record["status"] != "succeeded":
        error = record["error"] or {"name": record["status"], "message": "it has no picture (yet)"}
        typer.echo(f"Job {job_id} is {record['status']}: {error['name']}: {error['message']}", err=True)
        raise typer.Exit(codes.JOB_FAILED)
    if url:
        print(storage().presign_result(record["result_key"], settings().presign_s))
    elif output:
        output.write_bytes(storage().get_result(record["result_key"]))
        print(output)
    else:
        print(record["result_key"])


def cancel(job_id: Annotated[str, typer.Argument(help="The job's id.")]) -> None:
    """Cancel a job that has not ended."""
    if not jobs.cancel(job_id):
        typer.echo(f"Job {job_id} had already ended: {jobs.status(job_id)['status']}", err=True)
        raise typer.Exit(codes.JOB_FAILED)
    print(f"Job {job_id} is canceled")


def upload(named: str) -> str:
    """Return the key of a picture: a file's after uploading it, anything else as it is."""
    path = Path(named)
    if not path.is_file():
        return named
    return upload_file(path.read_bytes(), path.suffix.lower())


def upload_file(data: bytes, suffix: str = "") -> str:
    """Upload a picture's file; returns its key, which is made of its content."""
    from worker.artifacts.storage import storage

    key = f"uploads/{hashlib.sha256(data).hexdigest()}{suffix}"
    storage().put_input(key, data, mimetypes.guess_type(key)[0] or "application/octet-stream")
    return key


def follow(job_id: str, *, quiet: bool) -> dict[str, Any]:
    """Show a bar per stage until the job has ended; returns its last status record."""
    columns = (TextColumn("{task.description:9}"), BarColumn(24), TextColumn("{task.fields[note]}"))
    with Progress(*columns, TimeElapsedColumn(), console=err, disable=quiet) as progress:
        bars: dict[str, TaskID] = {}
        while True:
            record = jobs.status(job_id)
            for stage in record["stages"]:
                name = stage["name"]
                if name not in bars:
                    bars[name] = progress.add_task(name, total=1, note="", start=False)
                if stage["status"] == "running":
                    progress.start_task(bars[name])
                done = 1 if stage["status"] in ENDED else 0.5 if stage["status"] == "running" else 0
                progress.update(bars[name], completed=done, note=note(stage))
            if record["status"] in ENDED:
                return record
            time.sleep(POLL_S)


def note(stage: dict[str, Any]) -> str:
    """Say in a few words how a stage is."""
    said = str(stage["status"])
    if stage["run_ms"] is not None:
        said += f", {stage['run_ms']:.0f} ms"
    if stage["cache_hit"]:
        said += ", from the cache"
    if stage["attempt"] > 1:
        said += f", attempt {stage['attempt']}"
    return said


def show(record: dict[str, Any], *, as_json: bool) -> None:
    """Print a status record."""
    if as_json:
        print(json.dumps(record))
        return
    place = f", place {record['queue_position']} in the queue" if record["queue_position"] else ""
    typer.echo(f"Job {record['id']}: {record['status']}, {record['progress']} %{place}")
    table = Table("stage", "status", "attempt", "waited", "ran", "cache", "worker")
    for stage in record["stages"]:
        table.add_row(
            stage["name"],
            stage["status"],
            str(stage["attempt"]),
            _milliseconds(stage["queued_ms"]),
            _milliseconds(stage["run_ms"]),
            {None: "", True: "hit", False: "miss"}[stage["cache_hit"]],
            stage["worker"] or "",
        )
    out.print(table)
    for stage in record["stages"]:
        details = stage["details"] or {}
        if "score" in details:
            each = ", ".join(f"{name} {check['score']:.2f}" for name, check in details["checks"].items())
            typer.echo(f"{stage['name']}: score {details['score']:.2f} ({each})")
        for warning in details.get("warnings", []):
            typer.echo(f"{stage['name']}: {warning}")
    if record["error"]:
        error = record["error"]
        again = "; it may succeed when tried again" if error["retryable"] else ""
        about = f" ({error['input']})" if error["input"] else ""
        typer.echo(f"{error['name']} in {error['stage'] or 'the request'}{about}: {error['message']}{again}")
    if record["result_key"]:
        typer.echo(f"Result: {record['result_key']}")


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.0f} ms"
