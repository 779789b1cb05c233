"""Reads the state of jobs; changes nothing."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, Text, any_, cast, func, select, tuple_, union_all
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import CollectionAggregate

from db.jobs.records import ACTIVE_JOB_STATUSES
from db.jobs.rows import current_stage, existing_job_id, now_plus
from db.models import JOB_STATUSES, Job, JobAlias, Stage
from db.session import transition

MAX_QUEUE_POSITION = 10_000
"""Largest place in the queue that is told: counting more would slow down the poll of every waiting job."""


COUNTED_S = 86_400.0
"""Finished jobs are counted so long after their end, seconds: a day shows what goes wrong now."""


@transition
def status(session: Session, job_id: str) -> dict[str, Any]:
    """Return the job's status record, made of JSON values only. Raises UnknownJobError."""
    job = session.get_one(Job, existing_job_id(session, job_id))
    stages = session.scalars(select(Stage).where(Stage.job_id == job.id).order_by(Stage.position)).all()
    return _record(job, stages, _queue_position(session, job))


@transition
def statuses(session: Session, job_ids: Collection[str]) -> dict[str, dict[str, Any]]:
    """Return id -> status record of these jobs, as `status` does, with few queries for all of them.

    An id that no job has is left out; an alias stands for its job.
    """
    asked = set(job_ids)
    jobs = list(session.scalars(select(Job).where(Job.id == _any(asked))))
    own_ids: dict[str, str] = {}
    if missing := asked - {job.id for job in jobs}:
        aliases = session.execute(
            select(JobAlias.alias, JobAlias.job_id).where(JobAlias.alias == _any(missing))
        )
        own_ids = {row.alias: row.job_id for row in aliases}
        others = set(own_ids.values()) - asked
        jobs += session.scalars(select(Job).where(Job.id == _any(others))) if others else []
    stages: dict[str, list[Stage]] = {job.id: [] for job in jobs}
    for stage in session.scalars(
        select(Stage).where(Stage.job_id == _any(stages)).order_by(Stage.job_id, Stage.position)
    ):
        stages[stage.job_id].append(stage)
    positions = _queue_positions(session, [job for job in jobs if job.status == "queued"])
    records = {job.id: _record(job, stages[job.id], positions.get(job.id)) for job in jobs}
    named = {job_id: own_ids.get(job_id, job_id) for job_id in asked}
    return {job_id: records[own] for job_id, own in named.items() if own in records}


@dataclass(frozen=True)
class Page:
    """A part of a list of jobs: their status records, and where the next part begins (None: nowhere)."""

    jobs: list[dict[str, Any]]
    after: tuple[datetime, str] | None


@transition
def listed(
    session: Session,
    *,
    tenant: str | None,
    statuses: Sequence[str] = JOB_STATUSES,
    after: tuple[datetime, str] | None = None,
    limit: int = 20,
) -> Page:
    """Return the newest jobs, with their short records (see `recent`).

    Args:
        tenant: whose jobs; None: all.
        statuses: which.
        after: what the last page returned; None: from the newest.
        limit: most jobs of the page.
    """
    where = [] if tenant is None else [Job.tenant == tenant]
    if after is not None:
        where.append(tuple_(Job.created_at, Job.id) < after)
    # A query for each status: the index gives the newest of each at once, however rare they are.
    newest = [
        select(Job.id)
        .where(Job.status == status, *where)
        .order_by(Job.created_at.desc(), Job.id.desc())
        .limit(limit + 1)
        .subquery()
        for status in statuses
    ]
    found = session.scalars(
        select(Job)
        .where(Job.id.in_(union_all(*(select(part.c.id) for part in newest))))
        .order_by(Job.created_at.desc(), Job.id.desc())
        .limit(limit + 1)
    ).all()
    page = found[:limit]
    more = len(found) > limit
    return Page([_short(job) for job in page], (page[-1].created_at, page[-1].id) if more else None)


def _record(job: Job, stages: Sequence[Stage], queue_position: int | None) -> dict[str, Any]:
    return {
        "id": job.id,
        "status": job.status,
        "stage": current_stage(stages) if job.status in ACTIVE_JOB_STATUSES else None,
        "progress": progress(job, stages),
        "queue_position": queue_position,
        "attempt": max((stage.attempt for stage in stages), default=0),
        "tenant": job.tenant,
        "person_key": job.person_key,
        "cloth_key": job.cloth_key,
        "options": job.options,
        "engine": job.engine,
        "result_key": job.result_key,
        "error": job.error,
        "created_at": iso(job.created_at),
        "started_at": iso(job.started_at),
        "finished_at": iso(job.finished_at),
        "stages": [_stage_record(stage) for stage in stages],
    }


@transition
def recent(session: Session, *, limit: int = 20) -> list[dict[str, Any]]:
    """Return the newest jobs in short form: id, status, person_key, cloth_key, created_at, error name."""
    jobs = session.scalars(select(Job).order_by(Job.created_at.desc()).limit(limit)).all()
    return [_short(job) for job in jobs]


@transition
def counts(session: Session) -> dict[str, int]:
    """Return how many jobs have each status: all that have not finished, and those that did in the last day.

    To count all finished jobs would read the whole table at each call.
    """
    unfinished = Job.status.in_(ACTIVE_JOB_STATUSES)
    lately = Job.finished_at > now_plus(-COUNTED_S)
    queries = (
        select(Job.status, func.count()).where(which).group_by(Job.status) for which in (unfinished, lately)
    )
    return {status: number for query in queries for status, number in session.execute(query)}


def _short(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "status": job.status,
        "person_key": job.person_key,
        "cloth_key": job.cloth_key,
        "created_at": iso(job.created_at),
        "error": job.error["name"] if job.error else None,
    }


def _stage_record(stage: Stage) -> dict[str, Any]:
    return {
        "name": stage.name,
        "status": stage.status,
        "attempt": stage.attempt,
        "postponed": stage.postponed,
        "queued_ms": _milliseconds(stage.queued_ms),
        "run_ms": _milliseconds(stage.run_ms),
        "compute_ms": _milliseconds(stage.compute_ms),
        "cache_hit": stage.cache_hit,
        "worker": stage.worker,
        "artifact_key": stage.artifact_key,
        "details": stage.details,
        "error": stage.error,
    }


def progress(job: Job, stages: Sequence[Stage]) -> int:
    """Return the progress, 0 to 100: every stage has the same weight."""
    if job.status == "succeeded":
        return 100
    return int(100 * sum(map(_share_done, stages)) / len(stages)) if stages else 0


def _share_done(stage: Stage) -> float:
    """Return how much of a stage is done, 0..1: a running one counts its steps, or half if it has none."""
    if stage.status == "running":
        steps = (stage.details or {}).get("progress")
        return steps["step"] / steps["steps"] if steps else 0.5
    return float(stage.status == "succeeded")


def _queue_position(session: Session, job: Job) -> int | None:
    """Return the job's place among the queued jobs of its tenant, from 1, at most MAX_QUEUE_POSITION.

    None when it is not queued.
    """
    if job.status != "queued":
        return None
    ahead = (
        select(Job.id)
        .where(
            Job.status == "queued",
            Job.tenant == job.tenant,
            tuple_(Job.urgency, Job.id) < tuple_(job.urgency, job.id),
        )
        .limit(MAX_QUEUE_POSITION - 1)
    )
    return int(session.scalar(select(func.count()).select_from(ahead.subquery())) or 0) + 1


def _any(ids: Collection[str]) -> CollectionAggregate[bool]:
    """Return the condition's right side for any of these ids: one statement, however many they are."""
    return any_(cast(list(ids), ARRAY(Text)))


def _queue_positions(session: Session, queued: Sequence[Job]) -> dict[str, int]:
    """Return id -> place of these queued jobs, as `_queue_position` does."""
    positions: dict[str, int] = {}
    for tenant in {job.tenant for job in queued}:
        ids = [job.id for job in queued if job.tenant == tenant]
        first = (
            select(Job.id, func.row_number().over(order_by=(Job.urgency, Job.id)).label("place"))
            .where(Job.status == "queued", Job.tenant == tenant)
            .order_by(Job.urgency, Job.id)
            .limit(MAX_QUEUE_POSITION)
            .subquery()
        )
        places = session.execute(select(first.c.id, first.c.place).where(first.c.id == _any(ids)))
        positions |= dict.fromkeys(ids, MAX_QUEUE_POSITION) | {job_id: int(place) for job_id, place in places}
    return positions


def iso(moment: datetime | None) -> str | None:
    """Return a moment as ISO 8601 text."""
    return moment.isoformat() if moment else None


def _milliseconds(value: float | None) -> float | None:
    return None if value is None else round(float(value), 1)
