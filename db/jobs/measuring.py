"""Figures for monitoring: what waits and runs now, and totals of what has ended.

The totals are rows of their own: finished jobs may be deleted, and to count a million of them at each scrape
would take seconds. The sweep adds each job to them once, within seconds of its end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, or_, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.jobs.records import ACTIVE_JOB_STATUSES
from db.jobs.rows import DUE, now_plus
from db.models import Job, Stage, Sweep, Total, WebhookDelivery, Worker
from db.session import transition

BUCKETS_S = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
"""Upper bounds of the histograms' buckets, seconds: from a cache hit to a long queue."""

LEASES_LOST = "leases_lost"
JOBS = "jobs"
STAGES = "stages"
ATTEMPTS = "attempts"
POSTPONED = "postponed"
CACHE_HITS = "cache_hits"
RUN, WAIT, COMPUTE = "run", "wait", "compute"
"""Names of totals. Labels: of jobs (status, error); of stages (stage, status); of the others (stage); of the
buckets of RUN, WAIT and COMPUTE (stage, upper bound), and of their sums (stage, SUM)."""

SUM = "sum"
INFINITY = "+Inf"

LONGEST_SPAN = "1 hour"
"""Jobs of so much time are added at once: after days without a sweep the first ones are not slow."""

MOST_ENDED = 1_000
"""Ended jobs that one sweep returns: the dashboard does not keep more."""

_UNTIL = text(f"""
SELECT least(now(), min(xact_start), CAST(:since AS timestamptz) + interval '{LONGEST_SPAN}')
FROM pg_stat_activity
WHERE datname = current_database() AND application_name LIKE 'tryon-%' AND pid <> pg_backend_pid()
""")  # noqa: S608 - a constant
"""A job's end has the time at which its transaction began. No transaction of ours that began before this time
is open any more, so that no job that ended before it can appear later."""

_ADD = """
ON CONFLICT (name, labels) DO UPDATE SET value = totals.value + excluded.value
"""

_ENDED_STAGES = """
ended AS (
    SELECT stages.name AS stage, stages.status, stages.attempt, stages.postponed, stages.cache_hit,
        stages.run_ms / 1000 AS run, stages.queued_ms / 1000 AS wait,
        CASE WHEN NOT stages.cache_hit THEN stages.compute_ms / 1000 END AS compute
    FROM jobs JOIN stages ON stages.job_id = jobs.id
    WHERE jobs.finished_at >= :since AND jobs.finished_at < :until AND stages.finished_at >= jobs.queued_at
)
"""
"""The stages of the jobs that ended in this time. A retried job keeps succeeded stages, which count once."""

_ADD_JOBS = text(f"""
INSERT INTO totals (name, labels, value)
SELECT '{JOBS}', ARRAY[status, coalesce(left(error->>'name', 64), '')], count(*) FROM jobs
WHERE finished_at >= :since AND finished_at < :until GROUP BY 2
{_ADD}""")  # noqa: S608 - constants

_ADD_STAGES = text(f"""
WITH {_ENDED_STAGES}
INSERT INTO totals (name, labels, value)
SELECT '{STAGES}', ARRAY[stage, status], count(*) FROM ended GROUP BY 2
UNION ALL SELECT '{ATTEMPTS}', ARRAY[stage], sum(attempt) FROM ended GROUP BY 2
UNION ALL SELECT '{POSTPONED}', ARRAY[stage], sum(postponed) FROM ended GROUP BY 2
UNION ALL SELECT '{CACHE_HITS}', ARRAY[stage], count(*) FROM ended WHERE cache_hit GROUP BY 2
{_ADD}""")  # noqa: S608 - constants

_ADD_DURATIONS = text(f"""
WITH {_ENDED_STAGES}, timed AS (
    SELECT ended.stage, durations.name, durations.seconds
    FROM ended CROSS JOIN LATERAL (
        VALUES ('{RUN}', run), ('{WAIT}', wait), ('{COMPUTE}', compute)
    ) AS durations (name, seconds)
    WHERE ended.status = 'succeeded' AND durations.seconds IS NOT NULL
)
INSERT INTO totals (name, labels, value)
SELECT name, ARRAY[stage, (CAST(:bounds AS text[]))[
    width_bucket(seconds, CAST(:thresholds AS double precision[])) + 1]], count(*) FROM timed GROUP BY 1, 2
UNION ALL SELECT name, ARRAY[stage, '{SUM}'], sum(seconds) FROM timed GROUP BY 1, 2
{_ADD}""")  # noqa: S608 - constants


@dataclass(frozen=True)
class EndedJob:
    """A job that has ended since the last sweep."""

    id: str
    status: str
    person_key: str
    cloth_key: str
    error: dict[str, Any] | None
    result_key: str | None
    queued_at: datetime
    finished_at: datetime


@dataclass(frozen=True)
class Waiting:
    """The stages of one queue and tenant that may be claimed now, and the age of the oldest, seconds."""

    queue: str
    tenant: str
    stages: int
    oldest_s: float


@dataclass(frozen=True)
class Figures:
    """What is to be seen of the system now.

    Attributes:
        waiting: the ready stages of each queue and tenant that has some.
        running: (queue, stage) -> running stages.
        unfinished: status -> jobs that have not finished.
        workers: (queue, state) -> worker processes that were seen lately.
        gpus: (host, device) -> used and total memory of a graphics card, bytes.
        webhooks: status (`pending`, `dead`) -> deliveries of webhooks.
        webhook_lag_s: for how long the oldest delivery has been due, seconds; 0: none is.
        sweep_ran_at: when the sweep ran last, seconds since 1970; None: never.
        totals: name -> labels -> value.
    """

    waiting: Sequence[Waiting]
    running: dict[tuple[str, str], int]
    unfinished: dict[str, int]
    workers: dict[tuple[str, str], int]
    gpus: dict[tuple[str, str], tuple[int, int]]
    webhooks: dict[str, int]
    webhook_lag_s: float
    sweep_ran_at: float | None
    totals: dict[str, dict[tuple[str, ...], float]]


@transition
def record_sweep(session: Session, *, leases_lost: int) -> list[EndedJob]:
    """Record that a sweep ran; add what has ended since the last one to the totals.

    Returns the jobs that have ended, at most MOST_ENDED of them. Several sweeps may run at once: each job is
    added, and returned, by one of them.

    Args:
        leases_lost: leases that this sweep has taken back.
    """
    session.execute(insert(Sweep).values(id=1).on_conflict_do_nothing())
    sweep = session.scalars(select(Sweep).where(Sweep.id == 1).with_for_update()).one()
    sweep.ran_at = func.now()
    if leases_lost:
        lost = insert(Total).values(name=LEASES_LOST, labels=[], value=leases_lost)
        session.execute(
            lost.on_conflict_do_update(
                index_elements=[Total.name, Total.labels], set_={"value": Total.value + leases_lost}
            )
        )
    span = {"since": sweep.counted_until}
    span["until"] = session.scalar(_UNTIL, span)
    if span["until"] <= span["since"]:
        return []
    sweep.counted_until = span["until"]
    ended = _ended_jobs(session, **span)
    if ended:
        bounds = {"bounds": [*map(str, BUCKETS_S), INFINITY], "thresholds": list(BUCKETS_S)}
        session.execute(_ADD_JOBS, span)
        session.execute(_ADD_STAGES, span)
        session.execute(_ADD_DURATIONS, span | bounds)
    return ended


def _ended_jobs(session: Session, since: datetime, until: datetime) -> list[EndedJob]:
    """Return the jobs that ended in this time, at most MOST_ENDED of them."""
    rows = session.execute(
        select(
            Job.id,
            Job.status,
            Job.person_key,
            Job.cloth_key,
            Job.error,
            Job.result_key,
            Job.queued_at,
            Job.finished_at,
        )
        .where(Job.finished_at >= since, Job.finished_at < until)
        .order_by(Job.finished_at)
        .limit(MOST_ENDED)
    )
    return [EndedJob(**row) for row in rows.mappings()]


@transition
def figures(session: Session, *, silent_s: float) -> Figures:
    """Return what is to be seen of the system now; every query reads unfinished rows or totals only.

    Args:
        silent_s: a worker that was last seen longer ago is not counted, seconds.
    """
    totals: dict[str, dict[tuple[str, ...], float]] = {}
    for name, labels, value in session.execute(select(Total.name, Total.labels, Total.value)):
        totals.setdefault(name, {})[tuple(labels)] = value
    alive = (
        select(func.unnest(Worker.queues).label("queue"), Worker.state)
        .where(Worker.seen_at > now_plus(-silent_s))
        .subquery()
    )
    workers = session.execute(
        select(alive.c.queue, alive.c.state, func.count()).group_by(alive.c.queue, alive.c.state)
    )
    running = session.execute(
        select(Stage.queue, Stage.name, func.count())
        .where(Stage.status == "running")
        .group_by(Stage.queue, Stage.name)
    )
    unfinished = session.execute(
        select(Job.status, func.count().label("jobs"))
        .where(Job.status.in_(ACTIVE_JOB_STATUSES))
        .group_by(Job.status)
    )
    return Figures(
        waiting=_waiting(session),
        running={(queue, stage): number for queue, stage, number in running},
        unfinished={row.status: row.jobs for row in unfinished},
        workers={(queue, state): number for queue, state, number in workers},
        gpus=_gpus(session, silent_s),
        webhooks=_webhooks(session),
        webhook_lag_s=_webhook_lag_s(session),
        sweep_ran_at=_float(session.scalar(select(func.extract("epoch", Sweep.ran_at)))),
        totals=totals,
    )


def _gpus(session: Session, silent_s: float) -> dict[tuple[str, str], tuple[int, int]]:
    """Return the used and total memory of each card that a live worker has told of, bytes."""
    rows = session.execute(
        select(Worker.name, Worker.device, Worker.gpu_used_bytes, Worker.gpu_total_bytes).where(
            Worker.gpu_total_bytes.is_not(None), Worker.seen_at > now_plus(-silent_s)
        )
    )
    return {
        (name.rpartition(":")[0], str(device)): (int(used or 0), int(total or 0))
        for name, device, used, total in rows
    }


def _webhooks(session: Session) -> dict[str, int]:
    """Return how many deliveries wait, and how many are dead."""
    counted = {
        status: select(func.count()).select_from(WebhookDelivery).where(WebhookDelivery.status == status)
        for status in ("pending", "dead")
    }
    return {status: session.scalars(query).one() for status, query in counted.items()}


def _webhook_lag_s(session: Session) -> float:
    """Return for how long the oldest delivery has been due that nobody sends, seconds; 0: none is."""
    oldest = select(func.extract("epoch", func.now() - func.min(WebhookDelivery.not_before))).where(
        WebhookDelivery.status == "pending",
        WebhookDelivery.not_before <= func.now(),
        or_(WebhookDelivery.lease_until.is_(None), WebhookDelivery.lease_until < func.now()),
    )
    return _float(session.scalar(oldest)) or 0.0


def _waiting(session: Session) -> list[Waiting]:
    """Return the ready stages of each queue and tenant that has some."""
    age_s = func.extract("epoch", func.now() - func.min(Stage.ready_at))
    rows = session.execute(
        select(Stage.queue, Stage.tenant, func.count(), age_s).where(*DUE).group_by(Stage.queue, Stage.tenant)
    )
    return [Waiting(queue, tenant, number, float(oldest_s)) for queue, tenant, number, oldest_s in rows]


def _float(value: Any) -> float | None:
    return None if value is None else float(value)
