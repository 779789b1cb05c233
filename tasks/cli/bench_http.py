"""`tryon bench http`: what clients that poll cost the stages."""

import json
import os
import statistics
import time
from typing import Annotated, Any

import typer

from tasks.cli import codes
from tasks.cli.output import Json, show_table

MOST_SLOWED = 0.10
"""Share by which clients may slow the stages."""


def http(
    pollers: Annotated[int, typer.Option(min=1, help="Clients that poll, each its own job.")] = 500,
    streams: Annotated[int, typer.Option(min=0, help="Clients that follow an event stream.")] = 50,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds, each without and with clients.")] = 3,
    jobs_a_round: Annotated[int, typer.Option("--jobs", min=1, help="Try-ons of half a round.")] = 8,
    as_json: Json = False,
) -> None:
    """Time try-ons without and with clients of the HTTP interface, and the server's processor time."""
    from tasks.cli.serve import running_system
    from worker.lab.http_bench import load

    with running_system(quiet=as_json), load.serving() as server, load.needed_key() as key:
        _seconds(2, seed=0)  # workers and database are warm
        idle = load.idle_jobs(pollers)
        try:
            alone, loaded, figures = [], [], {}
            for number in range(rounds):
                alone.append(_seconds(jobs_a_round, seed=2 * number + 1))
                with load.Clients(server, idle, streams, key) as clients:
                    loaded.append(_seconds(jobs_a_round, seed=2 * number + 2))
                figures = clients.figures
        finally:
            load.delete(idle)
    report = _report(alone, loaded, figures, jobs_a_round)
    if as_json:
        print(json.dumps(report))
    else:
        show_table({name: {"value": value} for name, value in report.items()}, False)
    if report["errors"] or report["server_share"] > MOST_SLOWED:
        raise typer.Exit(codes.JOB_FAILED)


def _report(
    alone: list[float], loaded: list[float], clients: dict[str, Any], jobs_a_round: int
) -> dict[str, Any]:
    """Return the figures.

    `server_share` is the processor time of the server and its database connections, as a share of the
    machine: what the stages lose on a machine that they use fully. `slowed` is the measured change; the
    clients, which run on the same machine here, are part of it.
    """
    cores = len(os.sched_getaffinity(0))
    return {
        "cores": cores,
        "alone_s_a_job": round(statistics.median(alone) / jobs_a_round, 2),
        "loaded_s_a_job": round(statistics.median(loaded) / jobs_a_round, 2),
        "slowed": round(statistics.median(loaded) / statistics.median(alone) - 1, 3),
        "server_share": round(clients["server_cores"] / cores, 3),
        "clients_share": round(clients["clients_cores"] / cores, 3),
        **clients,
    }


def _seconds(number: int, *, seed: int) -> float:
    """Return how long new try-ons take, all submitted at once, seconds."""
    from db import jobs
    from tasks import tryon
    from worker.artifacts.storage import storage
    from worker.lab.demo import variants

    run = time.time_ns()
    fresh = run // 1_000_000_000 + seed  # no picture is in the artifact cache of an earlier run
    people = variants.make(variants.people(None), number, seed=fresh)
    garments = variants.make(variants.garments(None), number, seed=fresh)
    for index in range(number):
        storage().put_input(f"bench/{run}/person-{index}.png", people[index], "image/png")
        storage().put_input(f"bench/{run}/garment-{index}.png", garments[index], "image/png")
    began = time.perf_counter()
    handles = tryon.batch(
        {"person_key": f"bench/{run}/person-{index}.png", "cloth_key": f"bench/{run}/garment-{index}.png"}
        for index in range(number)
    )
    for handle in handles:
        handle.get(propagate=False)
    seconds = time.perf_counter() - began
    errors = [jobs.status(handle.id)["error"] for handle in handles]
    # A picture that is drawn and then refused has cost as much as another one.
    if any(error is not None and error["stage"] != "generate" for error in errors):
        raise RuntimeError(f"a try-on failed before it was drawn, so that its time says nothing: {errors}")
    return seconds
