"""`tryon bench`: how fast the stack is, and how much of the time is not spent on pictures."""

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

err = Console(stderr=True)
app = typer.Typer()
app.command()(cascade)


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
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Run every person in every garment through the embedded stack and measure it.

    Without folders, the demonstration's pictures are used. Crops and flips of what there is make up the
    numbers; every one is another image to the system.
    """
    if context.invoked_subcommand:
        return
    from db import jobs
    from tasks.cli.serve import running_system
    from worker.artifacts.storage import storage
    from worker.lab.demo import variants

    people_files = variants.make(variants.people(people), number_of_people, seed=int(time.time()))
    garment_files = variants.make(variants.garments(garments), number_of_garments, seed=int(time.time()))
    with running_system(quiet=as_json):
        from tasks import tryon

        run = time.time_ns()
        person_keys = [f"bench/{run}/person-{number}.png" for number in range(len(people_files))]
        cloth_keys = [f"bench/{run}/garment-{number}.png" for number in range(len(garment_files))]
        for key, data in zip(person_keys + cloth_keys, people_files + garment_files, strict=True):
            storage().put_input(key, data, "image/png")
        began = time.perf_counter()
        handles = [tryon.delay(person, cloth) for person, cloth in product(person_keys, cloth_keys)]
        submitting = time.perf_counter() - began
        with Progress(console=err, disable=as_json) as progress:
            bar = progress.add_task("jobs", total=len(handles))
            records = []
            for handle in handles:
                handle.get(propagate=False)
                records.append(jobs.status(handle.id))
                progress.advance(bar)
        wall = time.perf_counter() - began
    measured = summarise(records, wall) | {"submit_ms": round(1000 * submitting / len(handles), 1)}
    if as_json:
        print(json.dumps(measured))
    else:
        _print(measured)
    if measured["failed"]:
        raise typer.Exit(codes.JOB_FAILED)


def summarise(records: list[dict[str, Any]], wall_s: float) -> dict[str, Any]:
    """Return the figures of a run from its jobs' status records and its length."""
    from worker.stages.table import STAGES

    stages = [stage for record in records for stage in record["stages"]]
    computed = dict.fromkeys(queues.ALL, 0.0)
    rows = {}
    for row in STAGES:
        mine = [stage for stage in stages if stage["name"] == row.name and stage["run_ms"] is not None]
        fresh = [stage for stage in mine if not stage["cache_hit"]]
        computed[row.queue] += sum(stage["compute_ms"] for stage in fresh) / 1000
        rows[row.name] = {
            "runs": len(fresh),
            "cache_hits": len(mine) - len(fresh),
            "run_ms": _quantiles([stage["run_ms"] for stage in fresh]),
            "compute_ms": _quantiles([stage["compute_ms"] for stage in fresh]),
            "cache_hit_ms": _quantiles([stage["run_ms"] for stage in mine if stage["cache_hit"]]),
        }
    finished = [stage for stage in stages if stage["run_ms"] is not None]
    busy_s = sum(stage["run_ms"] for stage in finished) / 1000
    busiest = max(computed, key=lambda queue: computed[queue])
    failed = [record for record in records if record["status"] != "succeeded"]
    return {
        "jobs": len(records),
        "failed": len(failed),
        "errors": sorted({record["error"]["name"] for record in failed if record["error"]}),
        "wall_s": round(wall_s, 1),
        "jobs_per_minute": round(60 * len(records) / wall_s, 1),
        "stages": rows,
        "busiest_queue": busiest,
        # What the busiest queue's worker did besides computing: fetching, writing, waiting for a message.
        "overhead_of_wall": round(1 - computed[busiest] / wall_s, 3),
        "overhead_in_stages": round(1 - sum(computed.values()) / busy_s, 3) if busy_s else None,
    }


def _quantiles(values: list[float]) -> dict[str, float] | None:
    if not values:
        return None
    if len(values) == 1:
        return {"p50": values[0], "p95": values[0]}
    cuts = statistics.quantiles(values, n=20, method="inclusive")
    return {"p50": round(cuts[9], 1), "p95": round(cuts[18], 1)}


def _print(measured: dict[str, Any]) -> None:
    table = Table("stage", "runs", "p50 ms", "p95 ms", "computing p50", "cache hits", "hit p50 ms")
    for name, row in measured["stages"].items():
        run, compute, hit = (row[key] or {} for key in ("run_ms", "compute_ms", "cache_hit_ms"))
        cells = (row["runs"], run.get("p50"), run.get("p95"), compute.get("p50"), row["cache_hits"])
        table.add_row(name, *("" if cell is None else str(cell) for cell in (*cells, hit.get("p50"))))
    Console().print(table)
    typer.echo(
        f"{measured['jobs']} jobs in {measured['wall_s']} s: {measured['jobs_per_minute']} a minute, "
        f"{measured['failed']} failed {', '.join(measured['errors'])}"
    )
    typer.echo(
        f"Queue, database and storage: {100 * measured['overhead_of_wall']:.1f} % of the wall time of the "
        f"busiest queue ({measured['busiest_queue']}), {100 * measured['overhead_in_stages']:.1f} % of all "
        "stages' time"
    )
