"""Transitions that a producer requests: write a job, cancel it."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from config.errors import ErrorRecord
from db.jobs import order
from db.jobs.notifying import record_event
from db.jobs.records import (
    ACTIVE_JOB_STATUSES,
    IdempotencyConflictError,
    StageSpec,
    Submission,
    TenantLimitError,
)
from db.jobs.retrying import restart
from db.jobs.rows import close_stages, existing_job_id, find_job_id, record_wake_ups
from db.models import DEFAULT_TENANT, Job, JobAlias, Stage
from db.session import transition


def _submit(
    session: Session,
    job_id: str,
    *,
    person_key: str,
    cloth_key: str,
    options: Mapping[str, Any],
    stages: Sequence[StageSpec],
    table_version: int = 0,
    priority: int = 0,
    tenant: str = DEFAULT_TENANT,
    tenant_limit: int | None = None,
    idempotency_key: str | None = None,
    webhook_url: str | None = None,
    webhook_events: Sequence[str] = (),
    traceparent: str | None = None,
) -> Submission:
    """Write a job and its stages once: the same id or idempotency key returns the existing job.

    A job of the same idempotency key that has failed for a reason that may pass is started again.

    Args:
        job_id: the id.
        person_key, cloth_key, options, stages, priority, tenant, idempotency_key: of the job.
        table_version: of the table from which the stages are; workers with an older one leave them.
        tenant_limit: most queued jobs of the tenant; None: no limit.
        webhook_url, webhook_events: where its events are sent, and which.
        traceparent: the job's place in a trace, as W3C Trace Context writes it.

    Raises IdempotencyConflictError when the id or the key belongs to a job with other inputs, and
    TenantLimitError.
    """
    existing = find_job_id(session, job_id)
    inputs = {"person_key": person_key, "cloth_key": cloth_key, "options": dict(options)}
    if existing is not None:
        _require_same(session.get_one(Job, existing), inputs, f"the id {job_id!r}")
        return Submission(existing, created=False)
    if tenant_limit is not None:
        _require_room(session, tenant, tenant_limit)
    rank = order.urgency(priority)
    values = {
        "id": job_id,
        "idempotency_key": idempotency_key,
        "status": "queued",
        "priority": priority,
        "tenant": tenant,
        "traceparent": traceparent,
        "urgency": rank,
        "webhook_url": webhook_url,
        "webhook_events": list(webhook_events) if webhook_url else None,
        **inputs,
    }
    inserted = session.execute(insert(Job).values(values).on_conflict_do_nothing().returning(Job.id)).scalar()
    if inserted is None:
        return _join_existing(session, values, inputs)
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
                tenant=tenant,
                urgency=rank,
                table_version=table_version,
            )
        )
    return Submission(job_id, created=True)


submit = transition(_submit)


@transition
def submit_all(session: Session, jobs: Sequence[Mapping[str, Any]]) -> list[Submission]:
    """Write several jobs, all or none; each has the arguments of `submit`, which says what is raised."""
    return [_submit(session, **job) for job in jobs]


def _join_existing(session: Session, values: Mapping[str, Any], inputs: Mapping[str, Any]) -> Submission:
    """Return the job that the insert conflicted with, after checking that its inputs are the same."""
    same_id = session.get(Job, values["id"])
    if same_id is not None:
        _require_same(same_id, inputs, f"the id {same_id.id!r}")
        return Submission(same_id.id, created=False)
    job = session.scalars(select(Job).where(Job.idempotency_key == values["idempotency_key"])).one()
    _require_same(job, inputs, f"the idempotency key {values['idempotency_key']!r}")
    if job.status == "failed" and job.error is not None and job.error["retryable"]:
        # A new try: the failure may have been an outage. The caller sends a message, as for a new job.
        locked = session.scalars(select(Job).where(Job.id == job.id).with_for_update()).one()
        if locked.status == "failed":
            record_wake_ups(session, restart(session, locked))
            return Submission(job.id, created=True)
    session.execute(insert(JobAlias).values(alias=values["id"], job_id=job.id).on_conflict_do_nothing())
    return Submission(job.id, created=False)


def _require_same(job: Job, inputs: Mapping[str, Any], what: str) -> None:
    """Raise IdempotencyConflictError unless a job has these inputs."""
    if any(getattr(job, name) != value for name, value in inputs.items()):
        raise IdempotencyConflictError(
            f"{what} belongs to job {job.id}, which has another person, garment or options; use a new one "
            "for a new job"
        )


def _require_room(session: Session, tenant: str, limit: int) -> None:
    """Raise TenantLimitError when a tenant has so many queued jobs."""
    queued = select(Job.id).where(Job.tenant == tenant, Job.status == "queued").limit(limit)
    if session.scalar(select(func.count()).select_from(queued.subquery())) == limit:
        raise TenantLimitError(f"the tenant {tenant!r} has {limit} queued jobs already")


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
    record_event(session, job, "canceled")
    return True
