"""Retries a finished job by hand, or by a new submission with its idempotency key."""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.jobs import order
from db.jobs.records import NotRetryableError, WakeUp
from db.jobs.rows import existing_job_id, record_wake_ups
from db.models import Job, Stage
from db.session import transition


@transition
def retry(session: Session, job_id: str) -> list[WakeUp]:
    """Start a failed or canceled job again: its succeeded stages stay, the others get new attempts.

    Returns the wake-ups to send. Raises UnknownJobError, and NotRetryableError for a job that has succeeded
    or has not finished, or that was refused at its submission.
    """
    job = session.scalars(
        select(Job).where(Job.id == existing_job_id(session, job_id)).with_for_update()
    ).one()
    return record_wake_ups(session, restart(session, job))


def restart(session: Session, job: Job) -> list[tuple[str, str]]:
    """Start a locked job again; return job id and name of the stages that are ready.

    Raises NotRetryableError.
    """
    if job.status not in ("failed", "canceled"):
        raise NotRetryableError(f"the job {job.id} is {job.status}: only a failed or canceled job is retried")
    stages = session.scalars(select(Stage).where(Stage.job_id == job.id).with_for_update()).all()
    if not stages:
        raise NotRetryableError(f"the job {job.id} was refused: correct the request and submit it again")
    rank = order.urgency(job.priority)
    job.status, job.error, job.finished_at, job.result_key = "queued", None, None, None
    job.queued_at, job.urgency = func.now(), rank
    job.input_digests = {}
    done = {stage.name for stage in stages if stage.status == "succeeded"}
    ready = []
    for stage in stages:
        stage.urgency = rank
        if stage.name in done:
            continue
        is_ready = done.issuperset(stage.after)
        stage.status = "ready" if is_ready else "blocked"
        stage.attempt = stage.postponed = 0
        stage.error = stage.artifact_key = stage.not_before = stage.finished_at = stage.lease_until = None
        stage.ready_at = func.now() if is_ready else None
        if is_ready:
            ready.append((job.id, stage.name))
    session.flush()
    return ready
