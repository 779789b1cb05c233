"""Transitions that a producer requests: write a job, cancel it."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from config.errors import ErrorRecord
from db.jobs.records import ACTIVE_JOB_STATUSES, IdempotencyConflictError, StageSpec, Submission
from db.jobs.rows import close_stages, existing_job_id, find_job_id
from db.models import Job, JobAlias, Stage
from db.session import transition


@transition
def submit(
    session: Session,
    job_id: str,
    *,
    person_key: str,
    cloth_key: str,
    options: Mapping[str, Any],
    stages: Sequence[StageSpec],
    priority: int = 0,
    idempotency_key: str | None = None,
) -> Submission:
    """Write a job and its stages once: the same id or idempotency key returns the existing job.

    Raises IdempotencyConflictError when the key belongs to a job with other inputs.
    """
    existing = find_job_id(session, job_id)
    if existing is not None:
        return Submission(existing, created=False)
    values = {
        "id": job_id,
        "idempotency_key": idempotency_key,
        "status": "queued",
        "priority": priority,
        "person_key": person_key,
        "cloth_key": cloth_key,
        "options": dict(options),
    }
    inserted = session.execute(insert(Job).values(values).on_conflict_do_nothing().returning(Job.id)).scalar()
    if inserted is None:
        return _join_existing(session, values)
    for position, spec in enumerate(stages):
        # A stage that may start at once counts as woken: the caller sends its message next.
        ready_at = None if spec.after else func.now()
        session.add(
            Stage(
                job_id=job_id,
                name=spec.name,
                position=position,
                queue=spec.queue,
                after=list(spec.after),
                status="blocked" if spec.after else "ready",
                ready_at=ready_at,
                woken_at=ready_at,
            )
        )
    return Submission(job_id, created=True)


def _join_existing(session: Session, values: Mapping[str, Any]) -> Submission:
    """Return the job that the insert conflicted with, after checking that its inputs are the same."""
    same_id = session.get(Job, values["id"])
    if same_id is not None:
        return Submission(same_id.id, created=False)
    job = session.scalars(select(Job).where(Job.idempotency_key == values["idempotency_key"])).one()
    if any(getattr(job, name) != values[name] for name in ("person_key", "cloth_key", "options")):
        raise IdempotencyConflictError(
            f"the idempotency key {values['idempotency_key']!r} belongs to job {job.id}, which has another "
            "person, garment or options; use a new key for a new job"
        )
    session.execute(insert(JobAlias).values(alias=values["id"], job_id=job.id).on_conflict_do_nothing())
    return Submission(job.id, created=False)


@transition
def submit_refused(
    session: Session,
    job_id: str,
    *,
    person_key: str,
    cloth_key: str,
    options: Mapping[str, Any],
    error: ErrorRecord,
) -> None:
    """Write a refused request as a failed job, so that a producer that polls its id reads the reason."""
    session.execute(
        insert(Job)
        .values(
            id=job_id,
            status="failed",
            person_key=person_key,
            cloth_key=cloth_key,
            options=dict(options),
            error=dict(error),
            finished_at=func.now(),
        )
        .on_conflict_do_nothing()
    )


@transition
def cancel(session: Session, job_id: str) -> bool:
    """Cancel a job that has not finished. False when it has finished already. Raises UnknownJobError."""
    job = session.scalars(
        select(Job).where(Job.id == existing_job_id(session, job_id)).with_for_update()
    ).one()
    if job.status not in ACTIVE_JOB_STATUSES:
        return False
    job.status = "canceled"
    job.finished_at = func.now()
    close_stages(session, job.id)
    return True
