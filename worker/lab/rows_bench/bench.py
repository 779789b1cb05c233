"""Times each transition in a filled database; each call is made by a worker, producer, sweep or scrape."""

import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import text

from config import queues
from config.errors import InternalError, StorageError
from db import jobs
from db.session import engine
from worker.lab.rows_bench.fill import fill, row_counts
from worker.queue.intake import stage_specs

T = TypeVar("T")

TRANSITION_LIMIT_MS = 40.0
"""Largest median of a transition or a status, milliseconds: 25 polls a second and connection."""

SWEEP_LIMIT_MS = 250.0
"""Largest median of all queries of one sweep, milliseconds: an eighth of the interval between two sweeps."""

STATUS_COMMAND_LIMIT_MS = 100.0
"""Largest median of the queries of `tryon status`, milliseconds."""

METRICS_LIMIT_MS = 250.0
"""Largest median of all queries of one scrape, milliseconds: 2 % of an interval of 15 s."""

LEASE_S = 30.0
RETURN_S = 3600.0
"""Delay before a returned stage is due again, seconds: it must not come back within the benchmark."""

SILENT_S = 3600.0
"""Time after which a worker counts as gone, seconds: none does during the benchmark."""

WAKES = 100
"""Wake-ups that one sweep asks for, as the sweep does."""

WORKER = "bench:1"
ERROR = InternalError("an error of the benchmark").record()
AWAY = StorageError("an outage of the benchmark").record()


class Stopwatch:
    """Collects the durations of calls by name, in milliseconds."""

    def __init__(self) -> None:
        self.durations: dict[str, list[float]] = defaultdict(list)

    def time(self, name: str, call: Callable[[], T]) -> T:
        """Call the function, record its duration under the name, return its value."""
        began = time.perf_counter()
        value = call()
        self.durations[name].append(1000 * (time.perf_counter() - began))
        return value

    def medians(self) -> dict[str, float]:
        """Return the median of each name, milliseconds."""
        return {name: round(statistics.median(values), 1) for name, values in self.durations.items()}


def run(*, finished: int, queued: int, rounds: int) -> dict[str, Any]:
    """Fill the (empty, migrated) database and time everything; returns the figures.

    Args:
        finished: finished jobs.
        queued: queued jobs.
        rounds: how often each call is timed.
    """
    began = time.perf_counter()
    with engine().begin() as connection:
        fill(connection, finished=finished, queued=queued)
    _vacuum()
    fill_s = time.perf_counter() - began
    with engine().connect() as connection:
        rows = row_counts(connection)
        size = connection.execute(
            text("SELECT pg_total_relation_size('jobs') + pg_total_relation_size('stages')")
        ).scalar_one()
    jobs.register_worker(WORKER, pid=1, queues=queues.ALL, state="ready")
    transitions, queries, sweeps, commands, scrapes = (Stopwatch() for _ in range(5))
    for number in range(rounds):
        one_round(transitions, number, finished=finished, queued=queued)
        sweeps.time("sweep", lambda: sweep_queries(queries))
        commands.time("tryon status", lambda: (jobs.recent(), jobs.counts()))
        scrapes.time("metrics", lambda: jobs.figures(silent_s=SILENT_S))
    figures = {
        "rows": rows,
        "bytes_per_job": round(size / rows["jobs"]),
        "fill_s": round(fill_s, 1),
        "transitions_ms": transitions.medians(),
        "sweep_queries_ms": queries.medians(),
        "sweep_ms": sweeps.medians()["sweep"],
        "status_command_ms": commands.medians()["tryon status"],
        "metrics_ms": scrapes.medians()["metrics"],
        "seconds": round(time.perf_counter() - began, 1),
    }
    return figures | {"over_limit": over_limit(figures)}


def one_round(watch: Stopwatch, number: int, *, finished: int, queued: int) -> None:
    """Time each transition and status once; `number` is the round, from 0."""
    name = f"bench-{number}"
    _one_job(watch, name)
    _returned_stages(watch, name)
    watch.time("status of the last queued", lambda: jobs.status(f"queued-{queued}"))
    watch.time("status of a finished one", lambda: jobs.status(f"finished-{1 + number % finished}"))
    by_hand = f"queued-{queued - 1 - number}"
    watch.time("cancel", lambda: jobs.cancel(by_hand))
    watch.time("retry", lambda: jobs.retry(by_hand))


def over_limit(figures: dict[str, Any]) -> list[str]:
    """Return what is slower than its limit."""
    limits = [(name, value, TRANSITION_LIMIT_MS) for name, value in figures["transitions_ms"].items()]
    limits.append(("sweep", figures["sweep_ms"], SWEEP_LIMIT_MS))
    limits.append(("tryon status", figures["status_command_ms"], STATUS_COMMAND_LIMIT_MS))
    limits.append(("metrics", figures["metrics_ms"], METRICS_LIMIT_MS))
    return [f"{name}: {value} ms, at most {limit:g}" for name, value, limit in limits if value > limit]


def _vacuum() -> None:
    """Write the visibility map and the planner's statistics, as autovacuum does in time."""
    with engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))


def _submit(job_id: str) -> jobs.Submission:
    return jobs.submit(
        job_id,
        person_key=f"people/{job_id}.jpg",
        cloth_key="cloths/1.jpg",
        options={"engine": "auto", "seed": 0},
        stages=stage_specs(),
    )


def _claim(watch: Stopwatch, stage: str, lease_s: float = LEASE_S) -> jobs.Claim:
    claim = watch.time("claim_next", lambda: jobs.claim_next(stage, worker=WORKER, lease_s=lease_s))
    if claim is None:
        raise RuntimeError(f"no stage {stage} is ready: fewer jobs are queued than rounds need")
    return claim


def _one_job(watch: Stopwatch, name: str) -> None:
    """Submit a job, and run all stages of the job that is next."""
    watch.time("submit", lambda: _submit(name))
    for spec in stage_specs():
        claim = _claim(watch, spec.name)
        key = f"artifacts/{spec.name}/{name}"
        watch.time("pin_inputs", partial(jobs.pin_inputs, claim, {"person": "0" * 64}))
        watch.time("lead", partial(jobs.lead, claim, key))
        watch.time("heartbeat", partial(jobs.heartbeat, claim, lease_s=LEASE_S))
        watch.time("finish", partial(jobs.finish, claim, artifact_key=key, run_ms=1.0, cache_hit=False))


def _returned_stages(watch: Stopwatch, name: str) -> None:
    """Postpone one stage, fail one attempt, and let one lease expire."""
    key = f"artifacts/cloth/{name}-returned"
    claim = _claim(watch, "cloth")
    jobs.lead(claim, key)
    watch.time("postpone", partial(jobs.postpone, claim, AWAY, delay_s=RETURN_S))
    claim = _claim(watch, "cloth")
    jobs.lead(claim, key)
    watch.time("fail", partial(jobs.fail, claim, ERROR, retry_after_s=RETURN_S))
    _claim(watch, "cloth", lease_s=-1)
    watch.time("reap", lambda: jobs.reap(max_attempts=3, backoff_s=RETURN_S, stage_timeout_s=60))


def sweep_queries(watch: Stopwatch) -> None:
    """Do what `worker.queue.sweep.sweep_once` asks of the database, with every wake-up overdue."""
    watch.time("reap nothing", lambda: jobs.reap(max_attempts=3, backoff_s=2, stage_timeout_s=60))
    watch.time("release_orphans", jobs.release_orphans)
    watch.time("expire", lambda: jobs.expire(job_timeout_s=86_400))
    for queue in queues.ALL:
        watch.time("new_wakes", partial(jobs.new_wakes, queue, limit=WAKES))
        watch.time("ready_count", partial(jobs.ready_count, queue, limit=WAKES))
        watch.time("overdue_wakes", partial(jobs.overdue_wakes, queue, grace_s=10, limit=WAKES))
    watch.time("forget_silent_workers", lambda: jobs.forget_silent_workers(silent_s=SILENT_S))
    watch.time("record_sweep", lambda: jobs.record_sweep(leases_lost=1))
