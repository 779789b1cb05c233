"""The commands about a job: submit, status, result, cancel."""

import hashlib
import json
import mimetypes
import time
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from config.settings import settings
from db import jobs, migrate
from tasks.cli import codes
from tasks.cli.output import Json, err

out = Console()

Category = Annotated[str, typer.Option(help="The garment's: upper_body, lower_body or dresses.")]
Quality = Annotated[
    str, typer.Option(help="fast, balanced or quality: the steps of an engine that draws in steps.")
]

POLL_INTERVAL_S = 0.2
"""Interval between two reads of a job's state, seconds."""

FINAL_STATUSES = ("succeeded", "failed", "canceled")


def submit(
    person: Annotated[str, typer.Argument(help="The person's photograph: a file, or an object key.")],
    cloth: Annotated[str, typer.Argument(help="The garment's photograph: a file, or an object key.")],
    engine: Annotated[str, typer.Option(help="auto, or the name of an engine.")] = "auto",
    category: Category = "upper_body",
    quality: Quality = "balanced",
    seed: Annotated[int, typer.Option(help="The same seed gives the same picture.")] = 0,
    output_format: Annotated[str, typer.Option(help="File format of the result: png, jpeg or webp.")] = "png",
    priority: Annotated[int, typer.Option(help="0 to 9; 9 is served first.")] = 0,
    idempotency_key: Annotated[str | None, typer.Option(help="The same key never creates two jobs.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Show the stages until the job has finished.")] = False,
    as_json: Json = False,
) -> None:
    """Submit a try-on; files are uploaded first."""
    from tasks import tryon

    migrate.require_current()
    handle = tryon.delay(
        upload(person),
        upload(cloth),
        engine=engine,
        category=category,
        quality=quality,
        seed=seed,
        output_format=output_format,
        priority=priority,
        idempotency_key=idempotency_key,
    )
    note_missing_sweep()
    record = follow(handle.id, quiet=as_json) if wait else jobs.status(handle.id)
    show(record, as_json=as_json)
    if record["status"] in ("failed", "canceled"):
        raise typer.Exit(codes.JOB_FAILED)


def status(
    job_id: Annotated[str | None, typer.Argument(help="The job's id. Without one: the newest jobs.")] = None,
    as_json: Json = False,
) -> None:
    """Show a job, or the newest jobs."""
    migrate.require_current()
    if job_id is not None:
        show(jobs.status(job_id), as_json=as_json)
        return
    note_missing_sweep()
    newest, counts = jobs.recent(), jobs.counts()
    if as_json:
        print(json.dumps({"counts": counts, "jobs": newest}))
        return
    table = Table("id", "status", "person", "garment", "created", "error")
    for job in newest:
        table.add_row(*(str(job[name] or "") for name in job))
    out.print(table)
    typer.echo(
        ", ".join(f"{number} {name}" for name, number in sorted(counts.items()))
        + " (finished ones: of the last day)"
        if counts
        else "No jobs wait, and none has finished in the last day."
    )


def result(
    job_id: Annotated[str, typer.Argument(help="The job's id.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Save the picture here.")] = None,
    url: Annotated[bool, typer.Option("--url", help="Print a presigned URL of the picture.")] = False,
) -> None:
    """Download a job's picture, or print its object key."""
    from worker.artifacts.storage import storage

    migrate.require_current()
    record = jobs.status(job_id)
    if record["status"] != "succeeded":
        error = record["error"] or {"name": record["status"], "message": "it has no picture"}
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
    """Cancel a job that has not finished."""
    migrate.require_current()
    if not jobs.cancel(job_id):
        typer.echo(f"Job {job_id} has already finished: {jobs.status(job_id)['status']}", err=True)
        raise typer.Exit(codes.JOB_FAILED)
    print(f"Job {job_id} is canceled")


def retry(job_ids: Annotated[list[str], typer.Argument(help="Ids of failed or canceled jobs.")]) -> None:
    """Start failed or canceled jobs again; the stages that have succeeded stay."""
    from worker.app import app
    from worker.queue import wake

    migrate.require_current()
    refused = False
    for job_id in job_ids:
        try:
            wake.send(app, jobs.retry(job_id))
            print(f"Job {job_id} is queued again")
        except jobs.NotRetryableError as error:
            typer.echo(f"Not retried: {error}", err=True)
            refused = True
    if refused:
        raise typer.Exit(codes.JOB_FAILED)


def forget(
    job_id: Annotated[str | None, typer.Argument(help="The job's id.")] = None,
    person: Annotated[
        str | None, typer.Option(help="Object key of a person's photograph: all jobs with it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Delete a job, or all jobs of a person, with result, artifacts and inputs that no other job uses."""
    from worker.queue import retention

    if (job_id is None) == (person is None):
        raise typer.BadParameter("name either a job's id or --person KEY")
    migrate.require_current()
    removed = retention.forget_job(job_id) if job_id else retention.forget_person(str(person))
    if as_json:
        print(json.dumps(removed))
    else:
        print("Deleted: " + (", ".join(f"{count} {kind}" for kind, count in removed.items()) or "nothing"))


def note_missing_sweep() -> None:
    """Say on standard error that no sweep runs, with the command that starts one."""
    from tasks.cli.doctor import sweep_problem

    problem = sweep_problem(jobs.swept_ago_s())
    if problem is not None:
        typer.echo(f"{problem}. Start one: tryon sweep", err=True)


def upload(file_or_key: str) -> str:
    """Upload a file and return its object key; return anything else unchanged, as an object key."""
    path = Path(file_or_key)
    if not path.is_file():
        return file_or_key
    return upload_file(path.read_bytes(), path.suffix.lower())


def upload_file(data: bytes, suffix: str = "") -> str:
    """Upload the bytes of a picture file; returns the object key, a hash of the content."""
    from worker.artifacts.storage import storage

    key = f"uploads/{hashlib.sha256(data).hexdigest()}{suffix}"
    storage().put_input(key, data, mimetypes.guess_type(key)[0] or "application/octet-stream")
    return key


def follow(job_id: str, *, quiet: bool) -> dict[str, Any]:
    """Show a bar per stage until the job has finished; returns its last status record."""
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
                progress.update(bars[name], completed=_share_done(stage), note=note(stage))
            if record["status"] in FINAL_STATUSES:
                return record
            time.sleep(POLL_INTERVAL_S)


def _share_done(stage: dict[str, Any]) -> float:
    """Return how much of a stage's bar is filled, 0..1."""
    if stage["status"] == "running":
        steps = _steps(stage)
        return steps["step"] / steps["steps"] if steps else 0.5
    return float(stage["status"] in FINAL_STATUSES)


def _steps(stage: dict[str, Any]) -> dict[str, Any] | None:
    """Return `step`, `steps` and `remaining_s` of a running stage that draws in steps, else None."""
    progress: dict[str, Any] | None = (stage["details"] or {}).get("progress")
    return progress if stage["status"] == "running" else None


def in_steps(step: int, steps: int, remaining_s: float | None) -> str:
    """Return the progress of a method that draws in steps, in words."""
    words = f"step {step} of {steps}"
    if remaining_s is None:
        return words
    return f"{words}, about {timedelta(seconds=round(remaining_s))} left"


def note(stage: dict[str, Any]) -> str:
    """Return a stage's state in a few words."""
    words = str(stage["status"])
    if progress := _steps(stage):
        words += f", {in_steps(**progress)}"
    if stage["run_ms"] is not None:
        words += f", {stage['run_ms']:.0f} ms"
    if stage["cache_hit"]:
        words += ", from the cache"
    if stage["postponed"]:
        words += f", postponed {stage['postponed']} times"
    if stage["attempt"] > 1:
        words += f", attempt {stage['attempt']}"
    return words


def show(record: dict[str, Any], *, as_json: bool) -> None:
    """Print a status record."""
    if as_json:
        print(json.dumps(record))
        return
    position = f", place {record['queue_position']} in the queue" if record["queue_position"] else ""
    typer.echo(f"Job {record['id']}: {record['status']}, {record['progress']} %{position}")
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
        if progress := _steps(stage):
            typer.echo(f"{stage['name']}: {in_steps(**progress)}")
        details = stage["details"] or {}
        if "score" in details:
            checks = ", ".join(f"{name} {check['score']:.2f}" for name, check in details["checks"].items())
            typer.echo(f"{stage['name']}: score {details['score']:.2f} ({checks})")
        for warning in details.get("warnings", []):
            typer.echo(f"{stage['name']}: {warning}")
    if record["error"]:
        error = record["error"]
        retry_hint = "; a retry may succeed" if error["retryable"] else ""
        fault = f" ({error['input']})" if error["input"] else ""
        typer.echo(
            f"{error['name']} in {error['stage'] or 'the request'}{fault}: {error['message']}{retry_hint}"
        )
    if record["result_key"]:
        typer.echo(f"Result: {record['result_key']}")


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.0f} ms"
