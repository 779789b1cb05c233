"""SQL that several transitions share: conditions, locks, and changes of single rows.

Locks are taken in one order everywhere: the artifact, the job, its stages, the worker. Transactions that
lock in one order cannot deadlock.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import (
    ColumnElement,
    CursorResult,
    Result,
    case,
    exists,
    func,
    or_,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.orm import Session

from db.jobs.records import OPEN_STAGE_STATUSES, Claim, UnknownJobError, WakeUp
from db.models import Job, JobAlias, Stage, Worker

DUE = (Stage.status == "ready", or_(Stage.not_before.is_(None), Stage.not_before <= func.now()))
"""Conditions of a stage that may be claimed now."""

QUEUE_ORDER = (Stage.urgency, Stage.job_id)
"""The order in which a tenant's stages are served."""

MAX_WAKE_UPS = 100
"""Most wake-ups that one transition returns: its caller sends them before it goes on."""

Conditions = tuple[ColumnElement[bool], ...]


def now_plus(seconds: float) -> ColumnElement[datetime]:
    """Return the database's time of the transaction plus so many seconds."""
    return func.now() + timedelta(seconds=seconds)


def row_count(result: Result[Any]) -> int:
    """Return how many rows an UPDATE or DELETE changed."""
    return cast(CursorResult[Any], result).rowcount


def find_job_id(session: Session, job_id: str) -> str | None:
    """Return the id of the job that has this id or alias, or None."""
    own_id = session.scalar(select(Job.id).where(Job.id == job_id))
    return own_id or session.scalar(select(JobAlias.job_id).where(JobAlias.alias == job_id))


def existing_job_id(session: Session, job_id: str) -> str:
    """Return the id of the job that has this id or alias. Raises UnknownJobError."""
    existing = find_job_id(session, job_id)
    if existing is None:
        raise UnknownJobError(f"no job has the id {job_id!r}")
    return existing


def claim_is_valid(claim: Claim) -> Conditions:
    """Return the conditions under which the claim still holds: the same running attempt and worker."""
    return (
        Stage.job_id == claim.job_id,
        Stage.name == claim.stage,
        Stage.status == "running",
        Stage.attempt == claim.attempt,
        Stage.worker == claim.worker,
    )


def lock_artifact(session: Session, artifact_key: str) -> None:
    """Let only one transaction at a time decide which stage leads and which wait for an artifact.

    The lock is advisory and ends with the transaction. Call this before any row is locked.
    """
    key = int.from_bytes(hashlib.sha256(artifact_key.encode()).digest()[:8], "big", signed=True)
    session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})


def of_table(table_version: int | None) -> Conditions:
    """Return the condition of stages that a worker with this version of the table of stages may run."""
    return () if table_version is None else (Stage.table_version <= table_version,)


def take_stage(
    session: Session, job: Job, stage: str, worker: str, lease_s: float, table_version: int | None = None
) -> Claim | None:
    """Assign a stage of a locked job to the worker. None when the stage is not ready or not yet due.

    With `table_version`, all stages of the job are of this version of the table from now on: what this worker
    makes is not for older ones.
    """
    taken = session.execute(
        update(Stage)
        .where(Stage.job_id == job.id, Stage.name == stage, *DUE, *of_table(table_version))
        .values(
            status="running",
            attempt=Stage.attempt + 1,
            worker=worker,
            lease_until=now_plus(lease_s),
            started_at=func.now(),
            queued_ms=func.coalesce(Stage.queued_ms, 0.0)
            + func.extract("epoch", func.now() - Stage.ready_at) * 1000.0,
            artifact_key=None,
            cache_hit=None,
            details=None,
        )
        .returning(Stage.attempt, Stage.postponed, Stage.error, Stage.ready_at)
    ).one_or_none()
    if taken is None:
        return None
    if job.status == "queued":
        job.status = "running"
        job.started_at = func.now()
    if table_version is not None:
        session.execute(
            update(Stage)
            .where(Stage.job_id == job.id, Stage.table_version < table_version)
            .values(table_version=table_version)
            .execution_options(synchronize_session=False)
        )
    succeeded = session.scalars(
        select(Stage).where(Stage.job_id == job.id, Stage.status == "succeeded")
    ).all()
    return Claim(
        job_id=job.id,
        stage=stage,
        attempt=taken.attempt,
        postponed=taken.postponed,
        last_error=taken.error["name"] if taken.error else None,
        worker=worker,
        tenant=job.tenant,
        traceparent=job.traceparent,
        ready_at=taken.ready_at,
        priority=job.priority,
        person_key=job.person_key,
        cloth_key=job.cloth_key,
        options=job.options,
        artifacts={row.name: str(row.artifact_key) for row in succeeded},
        versions={row.name: row.version for row in succeeded},
        input_digests=job.input_digests,
    )


def set_worker_state(session: Session, name: str, state: str | ColumnElement[str]) -> None:
    """Write the worker's state. Call this after every change of a stage: the worker is locked last."""
    session.execute(update(Worker).where(Worker.name == name).values(state=state, seen_at=func.now()))


def release_worker(session: Session, name: str) -> None:
    """Set the worker's state to ready, unless it still runs other stages of a batch."""
    runs_others = exists().where(
        Stage.worker == name, Stage.status == "running", Stage.lease_until > func.now()
    )
    set_worker_state(session, name, case((runs_others, "busy"), else_="ready"))


def release_waiting_stages(session: Session, artifact_key: str | None) -> list[tuple[str, str]]:
    """Make ready the stages that wait for this artifact. Returns the job id and name of each."""
    if artifact_key is None:
        return []
    released = session.execute(
        update(Stage)
        .where(Stage.artifact_key == artifact_key, Stage.status == "waiting")
        .values(status="ready", woken_at=None)
        .returning(Stage.job_id, Stage.name)
        .execution_options(synchronize_session=False)
    )
    return [(job_id, name) for job_id, name in released]


def record_wake_ups(session: Session, stages: Sequence[tuple[str, str]]) -> list[WakeUp]:
    """Record that wake-ups of these stages (job id, name) are sent now. Returns the most urgent first.

    Of more than MAX_WAKE_UPS only so many are woken: the sweep wakes the rest.
    """
    if not stages:
        return []
    woken = stages[:MAX_WAKE_UPS]
    rows = session.execute(
        update(Stage)
        .where(Job.id == Stage.job_id, tuple_(Stage.job_id, Stage.name).in_(woken))
        .values(woken_at=func.now())
        .returning(Stage.job_id, Stage.name, Stage.queue, Job.priority, Stage.urgency)
        .execution_options(synchronize_session=False)
    ).all()
    ordered = sorted(rows, key=lambda row: (row.urgency, row.job_id))
    return [WakeUp(row.job_id, row.name, row.queue, row.priority) for row in ordered]


def close_stages(session: Session, job_id: str) -> None:
    """Cancel the stages of a job that have not finished."""
    session.execute(
        update(Stage)
        .where(Stage.job_id == job_id, Stage.status.in_(OPEN_STAGE_STATUSES))
        .values(status="canceled", lease_until=None, finished_at=func.now())
        .execution_options(synchronize_session=False)
    )


def current_stage(stages: Sequence[Stage]) -> str | None:
    """Return the stage to show for a job: one that runs, else the first that has not succeeded."""
    for statuses in (("running",), OPEN_STAGE_STATUSES):
        for stage in stages:
            if stage.status in statuses:
                return stage.name
    return None
