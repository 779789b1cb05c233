"""`tryon bench`: the speed of the whole stack, and the share of the time that is not spent on pictures."""

import json
import statistics
import time
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from config import queues
from tasks.cli import codes
from tasks.cli.bench_cascade import cascade
from tasks.cli.bench_fashn import fashn
from tasks.cli.bench_http import http
from tasks.cli.bench_rows import rows
from tasks.cli.output import Json, err

app = typer.Typer()
app.command()(cascade)
app.command()(fashn)
app.command()(rows)
app.command()(http)


@app.callback(invoke_without_command=True)
def bench(
    context: typer.Context,
    people: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Folder of person photographs.")
    ] = None,
    garments: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Folder of garment photographs.")
    ] = None,
    number_of_people: Annotated[int, typer.Option("--n-people", min=1)] = 20,
    number_of_garments: Annotated[int, typer.Option("--n-garments", min=1)] = 10,
    profile: Annotated[
        bool,
        typer.Option("--profile", help="Run the stages in this process and print where their time goes."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Run every person in every garment through the embedded stack and measure it.

    Without folders, the demonstration's pictures are used. Crops and flips of the pictures make up the
    numbers; to the system each of them is a different image.
    """
    if context.invoked_subcommand:
        return
    from tasks.cli.serve import running_system
    from worker.lab.demo import variants

    # A new seed every time: no picture is in the artifact cache of an earlier run.
    seed = int(time.time())
    person_files = variants.make(variants.people(people), number_of_people, seed=seed)
    garment_files = variants.make(variants.garments(garments), number_of_garments, seed=seed)
    if profile:
        _profile(person_files, garment_files, as_json=as_json)
        return
    with running_system(quiet=as_json):
        figures = _run_jobs(person_files, garment_files, quiet=as_json)
    if as_json:
        print(json.dumps(figures))
    else:
        _print(figures)
    if figures["failed"]:
        raise typer.Exit(codes.JOB_FAILED)


def _profile(person_files: list[bytes], garment_files: list[bytes], *, as_json: bool) -> None:
    """Print each stage's times and its most expensive functions."""
    from config.settings import settings
    from worker.lab.stage_profile import profile
    from worker.stages.models import Models

    with Models(settings().models_dir) as models:
        stages = profile(person_files, garment_files, models)
    if as_json:
        print(json.dumps(stages))
        return
    for name, stage in stages.items():
        title = (
            f"{name}: {stage['runs']} runs, p50 {stage['wall_ms_p50']} ms, processor {stage['cpu_ms_p50']} ms"
        )
        table = Table("own", "with calls", "calls", title=title, title_justify="left")
        for heading in ("function", "called by"):
            table.add_column(heading, overflow="fold")
        for function in stage["functions"]:
            shares = (f"{100 * function[key]:.1f} %" for key in ("own", "inclusive"))
            names = function["function"], ", ".join(function["callers"])
            table.add_row(*shares, str(function["calls"]), *names)
        Console().print(table)
        if stage["errors"]:
            typer.echo(f"Failed: {', '.join(stage['errors'])}")


def _run_jobs(person_files: list[bytes], garment_files: list[bytes], *, quiet: bool) -> dict[str, Any]:
    """Upload the files, run a job for every person and garment, and return the figures."""
    from db import jobs
    from tasks import tryon
    from worker.artifacts.storage import storage

    run = time.time_ns()
    person_keys = [f"bench/{run}/person-{number}.png" for number in range(len(person_files))]
    cloth_keys = [f"bench/{run}/garment-{number}.png" for number in range(len(garment_files))]
    for key, data in zip(person_keys + cloth_keys, person_files + garment_files, strict=True):
        storage().put_input(key, data, "image/png")
    began = time.perf_counter()
    # Poor pictures cost as much as good ones.
    pairs = product(person_keys, cloth_keys)
    handles = [tryon.delay(person, cloth, minimum_score=0.0) for person, cloth in pairs]
    submit_s = time.perf_counter() - began
    with Progress(console=err, disable=quiet) as progress:
        records = []
        for handle in progress.track(handles, description="jobs"):
            handle.get(propagate=False)
            records.append(jobs.status(handle.id))
    wall_s = time.perf_counter() - began
    figures = summarise(records, wall_s) | {"submit_ms": round(1000 * submit_s / len(handles), 1)}
    return figures | {"stored_bytes": _stored_bytes(records)}


def _stored_bytes(records: list[dict[str, Any]]) -> dict[str, int]:
    """Return the median size of each stage's artifacts and of the results, bytes."""
    from worker.artifacts.storage import storage

    keys: dict[str, set[str]] = {}
    for record in records:
        for stage in record["stages"]:
            if stage["status"] == "succeeded":
                keys.setdefault(stage["name"], set()).add(stage["artifact_key"])
    sizes = {
        name: [len(storage().get_artifact(key)) for key in sorted(artifacts)]
        for name, artifacts in keys.items()
    }
    sizes["result"] = [
        len(storage().get_result(record["result_key"])) for record in records if record["result_key"]
    ]
    return {name: round(statistics.median(values)) for name, values in sizes.items() if values}


def summarise(records: list[dict[str, Any]], wall_s: float) -> dict[str, Any]:
    """Return the figures of a run.

    Args:
        records: the jobs' status records.
        wall_s: the run's duration, seconds.
    """
    from worker.stages.table import STAGES

    finished = [stage for record in records for stage in record["stages"] if stage["run_ms"] is not None]
    compute_s = dict.fromkeys(queues.ALL, 0.0)
    rows = {}
    for row in STAGES:
        runs = [stage for stage in finished if stage["name"] == row.name]
        computed = [stage for stage in runs if not stage["cache_hit"]]
        compute_s[row.queue] += sum(stage["compute_ms"] for stage in computed) / 1000
        rows[row.name] = {
            "runs": len(computed),
            "cache_hits": len(runs) - len(computed),
            "run_ms": _quantiles([stage["run_ms"] for stage in computed]),
            "compute_ms": _quantiles([stage["compute_ms"] for stage in computed]),
            "cache_hit_ms": _quantiles([stage["run_ms"] for stage in runs if stage["cache_hit"]]),
        }
    busy_s = sum(stage["run_ms"] for stage in finished) / 1000
    busiest = max(compute_s, key=lambda queue: compute_s[queue])
    failed = [record for record in records if record["status"] != "succeeded"]
    return {
        "jobs": len(records),
        "failed": len(failed),
        "errors": sorted({record["error"]["name"] for record in failed if record["error"]}),
        "wall_s": round(wall_s, 1),
        "jobs_per_minute": round(60 * len(records) / wall_s, 1),
        "stages": rows,
        "busiest_queue": busiest,
        # The busiest queue's worker also fetches, writes and waits for messages.
        "overhead_of_wall": round(1 - compute_s[busiest] / wall_s, 3),
        "overhead_in_stages": round(1 - sum(compute_s.values()) / busy_s, 3) if busy_s else None,
    }


def _quantiles(values: list[float]) -> dict[str, float] | None:
    """Return the median and the 95th percentile; None without values."""
    if not values:
        return None
    if len(values) == 1:
        return {"p50": values[0], "p95": values[0]}
    cuts = statistics.quantiles(values, n=20, method="inclusive")
    return {"p50": round(cuts[9], 1), "p95": round(cuts[18], 1)}


def _print(figures: dict[str, Any]) -> None:
    table = Table("stage", "runs", "p50 ms", "p95 ms", "computing p50", "cache hits", "hit p50 ms")
    for name, row in figures["stages"].items():
        run, compute, hit = (row[key] or {} for key in ("run_ms", "compute_ms", "cache_hit_ms"))
        cells = (row["runs"], run.get("p50"), run.get("p95"), compute.get("p50"), row["cache_hits"])
        table.add_row(name, *("" if cell is None else str(cell) for cell in (*cells, hit.get("p50"))))
    Console().print(table)
    typer.echo(
        f"{figures['jobs']} jobs in {figures['wall_s']} s: {figures['jobs_per_minute']} per minute, "
        f"{figures['failed']} failed {', '.join(figures['errors'])}"
    )
    typer.echo(
        f"Queue, database and storage: {100 * figures['overhead_of_wall']:.1f} % of the wall time of the "
        f"busiest queue ({figures['busiest_queue']}), {100 * figures['overhead_in_stages']:.1f} % of all "
        "stages' time"
    )
    sizes = ", ".join(f"{name} {size / 1e6:.2f}" for name, size in figures["stored_bytes"].items())
    typer.echo(f"Stored, median MB: {sizes}")
