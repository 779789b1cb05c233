"""Transitions of the sweep: expired leases, orphans, expired jobs, overdue wake-ups."""

from datetime import datetime

from sqlalchemy import ColumnElement, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from config.errors import ErrorRecord, InternalError, JobTimeoutError
from db.jobs.failing import fail_attempt, fail_job
from db.jobs.records import ACTIVE_JOB_STATUSES, WakeUp, retry_delay_s
from db.jobs.rows import (
    DUE,
    QUEUE_ORDER,
    current_stage,
    lock_artifact,
    now_plus,
    record_wake_ups,
    release_waiting_stages,
    row_count,
)
from db.models import Job, Stage, Sweep
from db.session import transition

ROWS_PER_SWEEP = 100
"""Most rows of one kind that a sweep handles, so that it soon comes to the other kinds; the next sweep goes
on with the rest."""


def reap(*, max_attempts: int, backoff_s: float, stage_timeout_s: float, outage: bool = False) -> int:
    """Record a failed attempt for every stage whose lease has expired; returns how many.

    Args:
        outage: whether the database was away in the meantime: a worker may have lost its stage for that, so
            that the attempt does not count.
        max_attempts: attempts after which the stage and its job fail.
        backoff_s: delay after the first attempt, seconds; it doubles with every attempt.
        stage_timeout_s: time limit of an attempt, seconds; it decides which error the stage gets.
    """
    return sum(
        _reap_stage(job_id, name, artifact_key, max_attempts, backoff_s, stage_timeout_s, outage)
        for job_id, name, artifact_key in _expired_leases()
    )


@transition
def _expired_leases(session: Session) -> list[tuple[str, str, str | None]]:
    """Return job id, name and artifact key of the running stages whose lease has expired."""
    rows = session.execute(
        select(Stage.job_id, Stage.name, Stage.artifact_key)
        .where(Stage.status == "running", Stage.lease_until < func.now())
        .order_by(Stage.lease_until)
        .limit(ROWS_PER_SWEEP)
    )
    return [(job_id, name, artifact_key) for job_id, name, artifact_key in rows]


@transition
def _reap_stage(
    session: Session,
    job_id: str,
    name: str,
    artifact_key: str | None,
    max_attempts: int,
    backoff_s: float,
    stage_timeout_s: float,
    outage: bool,
) -> bool:
    """Record a failed attempt if the stage's lease is still expired."""
    if artifact_key is not None:
        lock_artifact(session, artifact_key)
    # A job that another transaction has locked is left to it, or to the next sweep: several sweeps so share
    # the work, instead of waiting for each other.
    job = session.scalars(select(Job).where(Job.id == job_id).with_for_update(skip_locked=True)).one_or_none()
    stage = session.scalars(
        select(Stage)
        .where(
            Stage.job_id == job_id,
            Stage.name == name,
            Stage.status == "running",
            Stage.lease_until < func.now(),
        )
        .with_for_update()
    ).one_or_none()
    if job is None or stage is None:
        return False  # it has ended, or another sweep was first
    error = _lost_worker_error(stage, stage_timeout_s)
    if outage:
        stage.attempt -= 1
        stage.postponed += 1
        fail_attempt(session, job, stage, error, retry_after_s=0.0)
    else:
        delay_s = retry_delay_s(stage.attempt, max_attempts=max_attempts, backoff_s=backoff_s)
        fail_attempt(session, job, stage, error, delay_s)
    release_waiting_stages(session, artifact_key)
    return True


def _lost_worker_error(stage: Stage, stage_timeout_s: float) -> ErrorRecord:
    """Return why the lease expired: the attempt exceeded its time limit, or its worker died."""
    run_s = (
        (datetime.now(tz=stage.started_at.tzinfo) - stage.started_at).total_seconds()
        if stage.started_at
        else 0.0
    )
    if run_s > stage_timeout_s:
        return JobTimeoutError(
            f"The stage ran for more than {stage_timeout_s:g} s and was taken from {stage.worker}.",
            stage=stage.name,
        ).record()
    return InternalError(
        f"The worker {stage.worker} died or lost its connection while it ran the stage (attempt "
        f"{stage.attempt}); its log may say why.",
        stage=stage.name,
    ).record()


@transition
def release_orphans(session: Session) -> int:
    """Make ready the stages that wait for an artifact that no stage leads any more; returns how many."""
    led_artifacts = (
        select(Stage.artifact_key)
        .where(Stage.status == "running", Stage.artifact_key.is_not(None))
        .scalar_subquery()
    )
    released = session.execute(
        update(Stage)
        .where(Stage.status == "waiting", Stage.artifact_key.not_in(led_artifacts))
        .values(status="ready", woken_at=None)
        .execution_options(synchronize_session=False)
    )
    return row_count(released)


@transition
def expire(session: Session, *, job_timeout_s: float) -> int:
    """Fail the unfinished jobs that were submitted longer ago than the time limit; returns how many."""
    expired = session.scalars(
        select(Job)
        .where(Job.status.in_(ACTIVE_JOB_STATUSES), Job.queued_at < now_plus(-job_timeout_s))
        .limit(ROWS_PER_SWEEP)
        .with_for_update(skip_locked=True)
    ).all()
    for job in expired:
        stages = session.scalars(select(Stage).where(Stage.job_id == job.id).order_by(Stage.position)).all()
        error = JobTimeoutError(
            f"The job did not finish within {job_timeout_s:g} s. Check that workers serve every queue.",
            stage=current_stage(stages),
        )
        fail_job(session, job, error.record())
    return len(expired)


@transition
def ready_count(session: Session, queue: str, *, limit: int) -> int:
    """Return how many stages of a queue may be claimed now; they are counted up to the limit."""
    ready = select(Stage.job_id).where(Stage.queue == queue, *DUE).limit(limit)
    return int(session.scalar(select(func.count()).select_from(ready.subquery())) or 0)


@transition
def overdue_wakes(session: Session, queue: str, *, grace_s: float, limit: int) -> list[WakeUp]:
    """Return wake-ups of ready stages whose last wake-up is older than `grace_s`, the most urgent first."""
    return _wake(session, queue, or_(Stage.woken_at.is_(None), Stage.woken_at <= now_plus(-grace_s)), limit)


@transition
def new_wakes(session: Session, queue: str, *, limit: int) -> list[WakeUp]:
    """Return wake-ups of ready stages that were never woken: retried, postponed and released ones."""
    return _wake(session, queue, Stage.woken_at.is_(None), limit)


@transition
def claim_pruning(session: Session, *, interval_s: float) -> bool:
    """Return whether the caller shall delete by retention now: no sweep has begun to so lately.

    Args:
        interval_s: time between two batches of all sweeps together, seconds.
    """
    session.execute(insert(Sweep).values(id=1).on_conflict_do_nothing())
    claimed = session.execute(
        update(Sweep)
        .where(or_(Sweep.pruned_at.is_(None), Sweep.pruned_at <= now_plus(-interval_s)))
        .values(pruned_at=func.now())
    )
    return row_count(claimed) == 1


@transition
def swept_ago_s(session: Session) -> float | None:
    """Return how long ago the last sweep ran, seconds; None: none ever ran."""
    ago = session.scalar(select(func.extract("epoch", func.now() - Sweep.ran_at)))
    return None if ago is None else float(ago)


def _wake(session: Session, queue: str, which: ColumnElement[bool], limit: int) -> list[WakeUp]:
    rows = session.execute(
        select(Stage.job_id, Stage.name)
        .where(Stage.queue == queue, *DUE, which)
        .order_by(*QUEUE_ORDER)
        .limit(limit)
        .with_for_update(of=Stage, skip_locked=True)
    ).all()
    return record_wake_ups(session, [(job_id, name) for job_id, name in rows])
