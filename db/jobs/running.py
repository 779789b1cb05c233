"""Transitions of a worker that runs a stage: claim, lead, heartbeat, finish, fail."""

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import ARRAY, Text, and_, any_, cast, func, select, update
from sqlalchemy.orm import Session

from config.errors import ErrorRecord
from db.jobs import order
from db.jobs.failing import fail_attempt
from db.jobs.notifying import record_event
from db.jobs.records import Claim, WakeUp
from db.jobs.rows import (
    DUE,
    QUEUE_ORDER,
    claim_is_valid,
    lock_artifact,
    now_plus,
    of_table,
    record_wake_ups,
    release_waiting_stages,
    release_worker,
    row_count,
    set_worker_state,
    take_stage,
)
from db.models import Job, Stage, Worker
from db.session import transition

CLAIM_ROUNDS = 5
"""How often a claim looks again when other workers were faster; the sweep then repeats the wake-up."""


@transition
def ready_stages(session: Session, job_id: str) -> list[WakeUp]:
    """Return wake-ups of the job's stages that are ready, and record that they are sent."""
    names = session.scalars(select(Stage.name).where(Stage.job_id == job_id, Stage.status == "ready"))
    return record_wake_ups(session, [(job_id, name) for name in names])


@transition
def claim(
    session: Session,
    job_id: str,
    stage: str,
    *,
    worker: str,
    lease_s: float,
    table_version: int | None = None,
) -> Claim | None:
    """Claim a ready stage: count the attempt, start the lease. None when it cannot be claimed."""
    job = session.scalars(select(Job).where(Job.id == job_id).with_for_update()).one_or_none()
    claimed = None if job is None else take_stage(session, job, stage, worker, lease_s, table_version)
    if claimed is not None:
        set_worker_state(session, worker, "busy")
    return claimed


@transition
def claim_next(
    session: Session, stage: str, *, worker: str, lease_s: float, table_version: int | None = None
) -> Claim | None:
    """Claim the stage of this name that is next in the order of service; None when none is ready.

    A wake-up for one job so takes the most urgent one: an urgent retry does not wait behind the messages of
    a backlog. Stages of a newer table of stages than `table_version` are left untouched; None: none is.
    """
    for _ in range(CLAIM_ROUNDS):
        candidates = order.candidates(session, stage, table_version)
        if not candidates:
            return None
        job = _lock_first(session, [job_id for job_id, _ in candidates])
        claimed = None if job is None else take_stage(session, job, stage, worker, lease_s, table_version)
        if claimed is not None and job is not None:
            if len({tenant for _, tenant in candidates}) > 1:
                order.record_service(session, job.tenant)
            set_worker_state(session, worker, "busy")
            return claimed
    return None


def _lock_first(session: Session, job_ids: list[str]) -> Job | None:
    """Lock the first of these jobs that no other transaction has locked; if all are, wait for the first."""
    rank = func.array_position(cast(job_ids, ARRAY(Text)), cast(Job.id, Text))
    free = select(Job).where(Job.id.in_(job_ids)).order_by(rank).limit(1).with_for_update(skip_locked=True)
    first = session.scalars(free).one_or_none()
    if first is None:
        first = session.scalars(select(Job).where(Job.id == job_ids[0]).with_for_update()).one_or_none()
    return first


@transition
def claim_more(
    session: Session,
    first: Claim,
    *,
    options: Mapping[str, Collection[str]],
    limit: int,
    lease_s: float,
    table_version: int | None = None,
) -> list[Claim]:
    """Claim ready stages of other jobs for one batch with the first claim, the most urgent first.

    Only first attempts share a batch: a job that kills its worker costs other jobs one attempt at most.
    The most urgent stages are left to idle workers, one for each.

    Args:
        first: the claim for which the batch is computed.
        options: job option -> the values with which a job can share the batch.
        limit: largest number of stages to claim.
        lease_s: duration of their leases, seconds.
        table_version: that of the worker's table of stages.
    """
    if first.attempt > 1:
        return []
    idle_workers = session.scalar(
        select(func.count())
        .select_from(Worker)
        .join(Stage, Stage.queue == any_(Worker.queues))
        .where(Worker.state == "ready", Stage.job_id == first.job_id, Stage.name == first.stage)
    )
    batch_jobs = session.scalars(
        select(Job)
        .join(Stage, Stage.job_id == Job.id)
        .where(
            Stage.name == first.stage,
            Stage.attempt == 0,
            *DUE,
            *of_table(table_version),
            *(Job.options[name].astext.in_(values) for name, values in options.items()),
        )
        .order_by(*QUEUE_ORDER)
        .offset(idle_workers)
        .limit(limit)
        # This locks several jobs in queue order, not in the order of their ids: to avoid a deadlock it must
        # not wait for a locked one.
        .with_for_update(of=[Job, Stage], skip_locked=True)
    ).all()
    claims = [
        take_stage(session, job, first.stage, first.worker, lease_s, table_version) for job in batch_jobs
    ]
    return [claimed for claimed in claims if claimed is not None]


@transition
def lead(session: Session, claim: Claim, artifact_key: str) -> bool:
    """Become the leader of an artifact: the only stage that looks it up or computes it.

    False when another job's stage leads: this stage then waits, its attempt is not counted, and it becomes
    ready when the leader ends. False too when the claim is no longer valid.
    """
    lock_artifact(session, artifact_key)
    other_leaders = session.scalar(
        select(func.count())
        .select_from(Stage)
        .where(
            Stage.artifact_key == artifact_key,
            Stage.status == "running",
            ~and_(Stage.job_id == claim.job_id, Stage.name == claim.stage),
        )
    )
    if other_leaders:
        session.execute(
            update(Stage)
            .where(*claim_is_valid(claim))
            .values(
                status="waiting",
                artifact_key=artifact_key,
                attempt=Stage.attempt - 1,
                lease_until=None,
                ready_at=func.now(),
            )
        )
        release_worker(session, claim.worker)
        return False
    led = session.execute(update(Stage).where(*claim_is_valid(claim)).values(artifact_key=artifact_key))
    return row_count(led) == 1


@transition
def heartbeat(
    session: Session, claim: Claim, *, lease_s: float, details: Mapping[str, Any] | None = None
) -> bool:
    """Renew the lease. False when the claim is no longer valid.

    Args:
        claim: the claim of the stage.
        lease_s: duration of the lease from now on, seconds.
        details: JSON values to show in the status while the stage runs; None to leave them as they are.
    """
    changes: dict[str, Any] = {"lease_until": now_plus(lease_s)}
    if details is not None:
        changes["details"] = dict(details)
    renewed = session.execute(update(Stage).where(*claim_is_valid(claim)).values(**changes))
    session.execute(update(Worker).where(Worker.name == claim.worker).values(seen_at=func.now()))
    return row_count(renewed) == 1


@transition
def finish(
    session: Session,
    claim: Claim,
    *,
    artifact_key: str,
    version: int | None = None,
    run_ms: float,
    compute_ms: float = 0.0,
    cache_hit: bool,
    details: Mapping[str, Any] | None = None,
    engine: str | None = None,
    result_key: str | None = None,
) -> list[WakeUp] | None:
    """Mark a stage as succeeded; make ready the stages after it, or mark the job as succeeded.

    The same transaction makes ready the stages of other jobs that waited for this artifact.

    Args:
        claim: the claim of the stage.
        artifact_key: the key under which its artifact is stored.
        version: that of the stage which made it.
        run_ms: duration of the attempt, milliseconds.
        compute_ms: the part of it inside the stage's method; in a batch, the stage's share of the batch.
        cache_hit: whether the artifact existed already.
        details: JSON values to show in the status.
        engine: the engine that rendered the result, for the last stage.
        result_key: the key of the result, for the last stage.

    Returns:
        The wake-ups to send; None when the claim was no longer valid and nothing was changed.
    """
    lock_artifact(session, artifact_key)
    job = session.scalars(select(Job).where(Job.id == claim.job_id).with_for_update()).one()
    succeeded = session.execute(
        update(Stage)
        .where(*claim_is_valid(claim))
        .values(
            status="succeeded",
            artifact_key=artifact_key,
            version=version,
            run_ms=run_ms,
            compute_ms=compute_ms,
            cache_hit=cache_hit,
            details=dict(details) if details else None,
            error=None,
            lease_until=None,
            finished_at=func.now(),
        )
    )
    release_worker(session, claim.worker)
    if row_count(succeeded) != 1:
        return None
    if engine is not None:
        job.engine = engine
    if result_key is not None:
        job.result_key = result_key
    unblocked = _advance(session, job)
    return record_wake_ups(session, unblocked + release_waiting_stages(session, artifact_key))


def _advance(session: Session, job: Job) -> list[tuple[str, str]]:
    """Unblock stages whose dependencies have succeeded; mark the job as succeeded after its last stage.

    Returns the job id and name of each unblocked stage.
    """
    stages = session.scalars(select(Stage).where(Stage.job_id == job.id)).all()
    succeeded = {stage.name for stage in stages if stage.status == "succeeded"}
    unblocked = []
    for stage in stages:
        if stage.status == "blocked" and succeeded.issuperset(stage.after):
            stage.status = "ready"
            stage.ready_at = func.now()
            unblocked.append((stage.job_id, stage.name))
    if len(succeeded) == len(stages):
        job.status = "succeeded"
        job.finished_at = func.now()
    session.flush()
    record_event(session, job, "succeeded" if job.status == "succeeded" else "progress")
    return unblocked


@transition
def fail(
    session: Session, claim: Claim, error: ErrorRecord, *, retry_after_s: float | None
) -> list[WakeUp] | None:
    """Record a failed attempt: retry the stage after the delay, or (None) fail the stage and its job.

    Returns the wake-ups of other jobs' stages that waited for this one's artifact and now compute it
    themselves; None when the claim was no longer valid.
    """
    artifact_key = session.scalar(select(Stage.artifact_key).where(*claim_is_valid(claim)))
    if artifact_key is not None:
        lock_artifact(session, artifact_key)
    job = session.scalars(select(Job).where(Job.id == claim.job_id).with_for_update()).one()
    stage = session.scalars(select(Stage).where(*claim_is_valid(claim)).with_for_update()).one_or_none()
    if stage is not None:
        fail_attempt(session, job, stage, error, retry_after_s)
    release_worker(session, claim.worker)
    if stage is None:
        return None
    return record_wake_ups(session, release_waiting_stages(session, artifact_key))


@transition
def postpone(session: Session, claim: Claim, error: ErrorRecord, *, delay_s: float) -> bool:
    """Return a stage without an attempt: something outside the job is away. False: the claim is not valid.

    Args:
        claim: the claim of the stage.
        error: what is away, for the status.
        delay_s: pause before the stage can be claimed again, seconds.
    """
    artifact_key = session.scalar(select(Stage.artifact_key).where(*claim_is_valid(claim)))
    if artifact_key is not None:
        lock_artifact(session, artifact_key)
    returned = session.execute(
        update(Stage)
        .where(*claim_is_valid(claim))
        .values(
            status="ready",
            attempt=Stage.attempt - 1,
            postponed=Stage.postponed + 1,
            error=dict(error),
            artifact_key=None,
            lease_until=None,
            not_before=now_plus(delay_s),
            ready_at=now_plus(delay_s),
            woken_at=None,
        )
    )
    release_waiting_stages(session, artifact_key)
    release_worker(session, claim.worker)
    return row_count(returned) == 1


@transition
def recompute(session: Session, claim: Claim, stage: str, *, max_attempts: int) -> list[WakeUp] | None:
    """Run an earlier stage of the job again, because its artifact cannot be read; then this one.

    Returns the wake-ups to send; None when the claim is not valid any more, or when the earlier stage has
    used up its attempts.
    """
    artifact_key = session.scalar(select(Stage.artifact_key).where(*claim_is_valid(claim)))
    if artifact_key is not None:
        lock_artifact(session, artifact_key)
    session.scalars(select(Job).where(Job.id == claim.job_id).with_for_update()).one()
    current = session.scalars(select(Stage).where(*claim_is_valid(claim)).with_for_update()).one_or_none()
    if current is None:
        return None
    repeated = session.execute(
        update(Stage)
        .where(
            Stage.job_id == claim.job_id,
            Stage.name == stage,
            Stage.status == "succeeded",
            Stage.attempt < max_attempts,
        )
        .values(status="ready", artifact_key=None, ready_at=func.now(), finished_at=None)
        .execution_options(synchronize_session=False)
    )
    if row_count(repeated) != 1:
        return None
    session.execute(
        update(Stage)
        .where(*claim_is_valid(claim))
        .values(status="blocked", attempt=Stage.attempt - 1, artifact_key=None, lease_until=None)
    )
    release_worker(session, claim.worker)
    waiting = release_waiting_stages(session, artifact_key)
    return record_wake_ups(session, [(claim.job_id, stage), *waiting])


@transition
def pin_inputs(session: Session, claim: Claim, digests: Mapping[str, str]) -> dict[str, str]:
    """Record the sha256 of inputs that no stage of the job has read before; return those on record."""
    job = session.scalars(select(Job).where(Job.id == claim.job_id).with_for_update()).one()
    job.input_digests = {**digests, **job.input_digests}
    return dict(job.input_digests)


@transition
def release(session: Session, worker: str) -> None:
    """Record that a worker has left a stage whose claim it lost, for example because its job was canceled."""
    release_worker(session, worker)
