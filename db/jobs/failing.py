"""Ends an attempt or a job with an error, inside a transition that has locked the job."""

from sqlalchemy import func
from sqlalchemy.orm import Session

from config.errors import ErrorRecord
from db.jobs.notifying import record_event
from db.jobs.records import ACTIVE_JOB_STATUSES
from db.jobs.rows import close_stages, now_plus
from db.models import Job, Stage


def fail_attempt(
    session: Session, job: Job, stage: Stage, error: ErrorRecord, retry_after_s: float | None
) -> None:
    """Record a failed attempt; make the stage ready after the delay, or (None) fail the stage and its job."""
    stage.error = dict(error)
    stage.lease_until = None
    if retry_after_s is not None and job.status in ACTIVE_JOB_STATUSES:
        stage.status = "ready"
        stage.artifact_key = None
        stage.not_before = now_plus(retry_after_s)
        stage.ready_at = now_plus(retry_after_s)
        stage.woken_at = None
        session.flush()
        return
    stage.status = "failed"
    stage.finished_at = func.now()
    session.flush()
    fail_job(session, job, error)


def fail_job(session: Session, job: Job, error: ErrorRecord) -> None:
    """Fail a job and cancel its stages that have not finished."""
    job.status = "failed"
    job.error = dict(error)
    job.finished_at = func.now()
    close_stages(session, job.id)
    record_event(session, job, "failed")
