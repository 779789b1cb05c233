"""Every state transition of a job, each one named function and one transaction."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import (
    ColumnElement,
    CursorResult,
    and_,
    any_,
    case,
    delete,
    exists,
    func,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.models import Job, JobAlias, Stage, Worker
from db.session import transition

ACTIVE = ("queued", "running")
OPEN = ("blocked", "ready", "waiting", "running")
"""Statuses of a job, and of a stage, that can still change."""

_DUE = (Stage.status == "ready", or_(Stage.not_before.is_(None), Stage.not_before <= func.now()))
"""A stage that may be begun now."""

_URGENCY = (Job.priority.desc(), Job.created_at, Job.id)
"""The order in which jobs are served."""


class UnknownJobError(LookupError):
    """No job has this id."""


class IdempotencyConflictError(ValueError):
    """An idempotency key was used before, for another person, garment or options."""


@dataclass(frozen=True)
class StageSpec:
    """A stage as the pipeline plans it: it may start when every stage in `after` has succeeded."""

    name: str
    queue: str
    after: tuple[str, ...]


@dataclass(frozen=True)
class Wake:
    """A stage that is ready, and the queue whose workers should hear of it."""

    job_id: str
    stage: str
    queue: str
    priority: int


@dataclass(frozen=True)
class Submitted:
    """A job's id, and whether this submission made it."""

    job_id: str
    created: bool


@dataclass(frozen=True)
class Claim:
    """A worker's right to run a stage, until its lease ends."""

    job_id: str
    stage: str
    attempt: int
    worker: str
    priority: int
    person_key: str
    cloth_key: str
    options: Mapping[str, Any]
    artifacts: Mapping[str, str]
    """Stage name -> artifact key of the job's stages that have succeeded."""


# ---------------------------------------------------------------- submitting


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
) -> Submitted:
    """Write a job and its stages, once: the same id or idempotency key gives the job that is there.

    Raises IdempotencyConflictError when the key belongs to a job with other inputs.
    """
    known = _find(session, job_id)
    if known is not None:
        return Submitted(known, created=False)
    values = {
        "id": job_id,
        "idempotency_key": idempotency_key,
        "status": "queued",
        "priority": priority,
        "person_key": person_key,
        "cloth_key": cloth_key,
        "options": dict(options),
    }
    made = session.execute(insert(Job).values(values).on_conflict_do_nothing().returning(Job.id)).scalar()
    if made is None:
        return _join_existing(session, values)
    for position, spec in enumerate(stages):
        # A stage that may start at once counts as woken: its message is about to be sent.
        begun = None if spec.after else func.now()
        session.add(
            Stage(
                job_id=job_id,
                name=spec.name,
                position=position,
                queue=spec.queue,
                after=list(spec.after),
                status="blocked" if spec.after else "ready",
                ready_at=begun,
                woken_at=begun,
            )
        )
    return Submitted(job_id, created=True)


def _join_existing(session: Session, values: Mapping[str, Any]) -> Submitted:
    """Return the job that the insert ran into, after checking that it is the same one."""
    same_id = session.get(Job, values["id"])
    if same_id is not None:
        return Submitted(same_id.id, created=False)
    job = session.scalars(select(Job).where(Job.idempotency_key == values["idempotency_key"])).one()
    if any(getattr(job, name) != values[name] for name in ("person_key", "cloth_key", "options")):
        raise IdempotencyConflictError(
            f"the idempotency key {values['idempotency_key']!r} belongs to job {job.id}, which has another "
            "person, garment or options; use a new key for a new job"
        )
    session.execute(
        insert(JobAlias).values(alias=values["id"], job_id=job.id).on_conflict_do_nothing(),
    )
    return Submitted(job.id, created=False)


@transition
def submit_refused(
    session: Session,
    job_id: str,
    *,
    person_key: str,
    cloth_key: str,
    options: Mapping[str, Any],
    error: Mapping[str, Any],
) -> None:
    """Write a job that was refused at the door, so that whoever polls it learns why."""
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


# ---------------------------------------------------------------- running a stage


@transition
def ready_stages(session: Session, job_id: str) -> list[Wake]:
    """Return the job's stages that may start now, and note that their wake-ups are being sent."""
    return _wakes(session, [(job_id, name) for name in _names(session, job_id, "ready")])


@transition
def claim(session: Session, job_id: str, stage: str, *, worker: str, lease_s: float) -> Claim | None:
    """Take a ready stage: raise its attempt, start its lease. None when it is not to be had."""
    job = session.scalars(select(Job).where(Job.id == job_id).with_for_update()).one_or_none()
    taken = None if job is None else _take(session, job, stage, worker, lease_s)
    if taken is not None:
        _worker_is(session, worker, "busy")
    return taken


@transition
def claim_more(
    session: Session, held: Claim, *, options: Mapping[str, Collection[str]], limit: int, lease_s: float
) -> list[Claim]:
    """Take ready stages of other jobs to run in one batch with the one held, the most urgent first.

    Only stages in their first attempt share a batch: a job that kills its worker costs others one attempt at
    most. As many of the most urgent as there are idle workers are left to those.

    Args:
        held: the stage that the worker runs.
        options: job option -> the values with which a job can share the batch.
        limit: most stages to take.
        lease_s: how long they are held.
    """
    if held.attempt > 1:
        return []
    idle = session.scalar(
        select(func.count())
        .select_from(Worker)
        .join(Stage, Stage.queue == any_(Worker.queues))
        .where(Worker.state == "ready", Stage.job_id == held.job_id, Stage.name == held.stage)
    )
    others = session.scalars(
        select(Job)
        .join(Stage, Stage.job_id == Job.id)
        .where(
            Job.status.in_(ACTIVE),  # it says nothing new, but an index then has the order
            Stage.name == held.stage,
            Stage.attempt == 0,
            *_DUE,
            *(Job.options[name].astext.in_(values) for name, values in options.items()),
        )
        .order_by(*_URGENCY)
        .offset(idle)
        .limit(limit)
        # Several jobs at once, in no order of their ids: it must not wait for those who hold one.
        .with_for_update(of=[Job, Stage], skip_locked=True)
    ).all()
    taken = [_take(session, job, held.stage, held.worker, lease_s) for job in others]
    return [claim for claim in taken if claim is not None]


@transition
def lead(session: Session, held: Claim, artifact_key: str) -> bool:
    """Become the one who computes an artifact, or wait for the one who does.

    True: the artifact is yours to look up or compute. False: another job's stage is computing it; yours
    waits without using up an attempt and is made ready when that one ends.
    """
    _lock_artifact(session, artifact_key)
    mine = _mine(held)
    other = session.scalar(
        select(func.count())
        .select_from(Stage)
        .where(
            Stage.artifact_key == artifact_key,
            Stage.status == "running",
            ~and_(Stage.job_id == held.job_id, Stage.name == held.stage),
        )
    )
    if other:
        session.execute(
            update(Stage)
            .where(*mine)
            .values(
                status="waiting",
                artifact_key=artifact_key,
                attempt=Stage.attempt - 1,
                lease_until=None,
                ready_at=func.now(),
            )
        )
        _worker_is_free(session, held.worker)
        return False
    led = session.execute(update(Stage).where(*mine).values(artifact_key=artifact_key))
    return _changed(led) == 1


@transition
def heartbeat(session: Session, held: Claim, *, lease_s: float) -> bool:
    """Renew the lease. False when the stage is no longer this worker's."""
    renewed = session.execute(update(Stage).where(*_mine(held)).values(lease_until=_after(lease_s)))
    session.execute(update(Worker).where(Worker.name == held.worker).values(seen_at=func.now()))
    return _changed(renewed) == 1


@transition
def finish(
    session: Session,
    held: Claim,
    *,
    artifact_key: str,
    run_ms: float,
    compute_ms: float = 0.0,
    cache_hit: bool,
    details: Mapping[str, Any] | None = None,
    engine: str | None = None,
    result_key: str | None = None,
) -> list[Wake] | None:
    """End a stage well; ready what comes after it, or end the job. None when the stage was not held.

    `run_ms` is the whole attempt, `compute_ms` the part of it inside the stage's function, of a batch its
    share. The same transaction makes ready the stages of other jobs that waited for this artifact.
    """
    _lock_artifact(session, artifact_key)
    job = session.scalars(select(Job).where(Job.id == held.job_id).with_for_update()).one()
    ended = session.execute(
        update(Stage)
        .where(*_mine(held))
        .values(
            status="succeeded",
            artifact_key=artifact_key,
            run_ms=run_ms,
            compute_ms=compute_ms,
            cache_hit=cache_hit,
            details=dict(details) if details else None,
            error=None,
            lease_until=None,
            finished_at=func.now(),
        )
    )
    _worker_is_free(session, held.worker)
    if _changed(ended) != 1:
        return None
    stages = session.scalars(select(Stage).where(Stage.job_id == held.job_id)).all()
    done = {stage.name for stage in stages if stage.status == "succeeded"}
    released = []
    for stage in stages:
        if stage.status == "blocked" and done.issuperset(stage.after):
            stage.status = "ready"
            stage.ready_at = func.now()
            released.append((stage.job_id, stage.name))
    if engine is not None:
        job.engine = engine
    if result_key is not None:
        job.result_key = result_key
    if len(done) == len(stages):
        job.status = "succeeded"
        job.finished_at = func.now()
    session.flush()
    return _wakes(session, released + _release_waiting(session, artifact_key))


@transition
def fail(
    session: Session, held: Claim, error: Mapping[str, Any], *, retry_after_s: float | None
) -> list[Wake] | None:
    """End an attempt badly: try again after a pause, or (None) fail the stage and its job.

    Returns the stages of other jobs that waited for this one's artifact, which now try for themselves, or
    None when the stage was not held.
    """
    artifact_key = session.scalar(select(Stage.artifact_key).where(*_mine(held)))
    if artifact_key is not None:
        _lock_artifact(session, artifact_key)
    job = session.scalars(select(Job).where(Job.id == held.job_id).with_for_update()).one()
    stage = session.scalars(select(Stage).where(*_mine(held)).with_for_update()).one_or_none()
    if stage is not None:
        _end_attempt(session, job, stage, error, retry_after_s)
    _worker_is_free(session, held.worker)
    if stage is None:
        return None
    return _wakes(session, _release_waiting(session, artifact_key))


@transition
def cancel(session: Session, job_id: str) -> bool:
    """Cancel a job that has not ended. False when it had. Raises UnknownJobError."""
    job = session.scalars(select(Job).where(Job.id == _resolve(session, job_id)).with_for_update()).one()
    if job.status not in ACTIVE:
        return False
    job.status = "canceled"
    job.finished_at = func.now()
    _close_stages(session, job.id)
    return True


# ---------------------------------------------------------------- sweeping


def reap(*, max_attempts: int, backoff_s: float, stage_timeout_s: float) -> int:
    """Take back the stages whose worker fell silent; returns how many."""
    return sum(
        _reap_one(job_id, name, artifact_key, max_attempts, backoff_s, stage_timeout_s)
        for job_id, name, artifact_key in _silent()
    )


@transition
def _silent(session: Session) -> list[tuple[str, str, str | None]]:
    rows = session.execute(
        select(Stage.job_id, Stage.name, Stage.artifact_key)
        .where(Stage.status == "running", Stage.lease_until < func.now())
        .order_by(Stage.lease_until)
        .limit(100)
    )
    return [(job_id, name, artifact_key) for job_id, name, artifact_key in rows]


@transition
def _reap_one(
    session: Session,
    job_id: str,
    name: str,
    artifact_key: str | None,
    max_attempts: int,
    backoff_s: float,
    stage_timeout_s: float,
) -> bool:
    if artifact_key is not None:
        _lock_artifact(session, artifact_key)
    job = session.scalars(select(Job).where(Job.id == job_id).with_for_update()).one_or_none()
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
        return False  # it ended, or another sweep took it
    retry = None if stage.attempt >= max_attempts else backoff_s * 2 ** (stage.attempt - 1)
    _end_attempt(session, job, stage, _lost_worker(stage, stage_timeout_s), retry)
    _release_waiting(session, artifact_key)
    return True


@transition
def release_orphans(session: Session) -> int:
    """Make ready the stages that wait for an artifact nobody computes any more; returns how many."""
    leader = (
        select(Stage.artifact_key)
        .where(Stage.status == "running", Stage.artifact_key.is_not(None))
        .scalar_subquery()
    )
    freed = session.execute(
        update(Stage)
        .where(Stage.status == "waiting", Stage.artifact_key.not_in(leader))
        .values(status="ready", woken_at=None)
        .execution_options(synchronize_session=False)
    )
    return _changed(freed)


@transition
def expire(session: Session, *, job_timeout_s: float) -> int:
    """Fail the jobs that have lived longer than a job may; returns how many."""
    old = session.scalars(
        select(Job)
        .where(Job.status.in_(ACTIVE), Job.created_at < _after(-job_timeout_s))
        .limit(100)
        .with_for_update(skip_locked=True)
    ).all()
    for job in old:
        message = f"The job did not end within {job_timeout_s:g} s; are workers running on every queue?"
        _fail_job(session, job, _error("JobTimeoutError", message, stage=_current_stage(session, job.id)))
    return len(old)


@transition
def ready_count(session: Session, queue: str) -> int:
    """Return how many stages of a queue could run now."""
    return int(session.scalar(select(func.count()).where(Stage.queue == queue, *_DUE)) or 0)


@transition
def overdue_wakes(session: Session, queue: str, *, grace_s: float, limit: int) -> list[Wake]:
    """Return ready stages of a queue that nobody has claimed for a while, the most urgent first."""
    rows = session.execute(
        select(Stage.job_id, Stage.name)
        .join(Job, Job.id == Stage.job_id)
        .where(
            Stage.queue == queue,
            *_DUE,
            or_(Stage.woken_at.is_(None), Stage.woken_at <= _after(-grace_s)),
        )
        .order_by(*_URGENCY)
        .limit(limit)
        .with_for_update(of=Stage, skip_locked=True)
    ).all()
    return _wakes(session, [(job_id, name) for job_id, name in rows])


# ---------------------------------------------------------------- workers


@transition
def register_worker(
    session: Session,
    name: str,
    *,
    pid: int,
    queues: Sequence[str],
    state: str,
    device: str | None = None,
    message: str | None = None,
) -> None:
    """Write that a worker process has begun, or how it is now."""
    values = {"pid": pid, "queues": list(queues), "state": state, "device": device, "message": message}
    session.execute(
        insert(Worker)
        .values(name=name, **values)
        .on_conflict_do_update(index_elements=[Worker.name], set_=values | {"seen_at": func.now()})
    )


@transition
def worker_present(session: Session, name: str) -> bool:
    """Write that an idle worker is still there. False when the table has forgotten it."""
    return (
        _changed(session.execute(update(Worker).where(Worker.name == name).values(seen_at=func.now()))) == 1
    )


@transition
def forget_worker(session: Session, name: str) -> None:
    """Remove a worker that has stopped."""
    session.execute(delete(Worker).where(Worker.name == name))


@transition
def forget_silent_workers(session: Session, *, silent_s: float) -> int:
    """Remove the workers that have not been heard of for a while; returns how many."""
    return _changed(session.execute(delete(Worker).where(Worker.seen_at < _after(-silent_s))))


@transition
def workers(session: Session) -> list[dict[str, Any]]:
    """Return every known worker: name, pid, queues, state, device, message, silent_s."""
    silent = func.extract("epoch", func.now() - Worker.seen_at)
    rows = session.execute(select(Worker, silent).order_by(Worker.name)).all()
    return [
        {
            "name": worker.name,
            "pid": worker.pid,
            "queues": worker.queues,
            "state": worker.state,
            "device": worker.device,
            "message": worker.message,
            "silent_s": round(float(seconds), 1),
        }
        for worker, seconds in rows
    ]


# ---------------------------------------------------------------- reading


@transition
def status(session: Session, job_id: str) -> dict[str, Any]:
    """Return the job's status record, made of JSON values only. Raises UnknownJobError."""
    job = session.get_one(Job, _resolve(session, job_id))
    stages = session.scalars(select(Stage).where(Stage.job_id == job.id).order_by(Stage.position)).all()
    return {
        "id": job.id,
        "status": job.status,
        "stage": _current(stages) if job.status in ACTIVE else None,
        "progress": _progress(job, stages),
        "queue_position": _queue_position(session, job),
        "attempt": max((stage.attempt for stage in stages), default=0),
        "person_key": job.person_key,
        "cloth_key": job.cloth_key,
        "options": job.options,
        "engine": job.engine,
        "result_key": job.result_key,
        "error": job.error,
        "created_at": _iso(job.created_at),
        "started_at": _iso(job.started_at),
        "finished_at": _iso(job.finished_at),
        "stages": [
            {
                "name": stage.name,
                "status": stage.status,
                "attempt": stage.attempt,
                "queued_ms": _round(stage.queued_ms),
                "run_ms": _round(stage.run_ms),
                "compute_ms": _round(stage.compute_ms),
                "cache_hit": stage.cache_hit,
                "worker": stage.worker,
                "artifact_key": stage.artifact_key,
                "details": stage.details,
                "error": stage.error,
            }
            for stage in stages
        ],
    }


@transition
def recent(session: Session, *, limit: int = 20) -> list[dict[str, Any]]:
    """Return the newest jobs, in short: id, status, person_key, cloth_key, created_at, error name."""
    jobs = session.scalars(select(Job).order_by(Job.created_at.desc()).limit(limit)).all()
    return [
        {
            "id": job.id,
            "status": job.status,
            "person_key": job.person_key,
            "cloth_key": job.cloth_key,
            "created_at": _iso(job.created_at),
            "error": job.error["name"] if job.error else None,
        }
        for job in jobs
    ]


@transition
def counts(session: Session) -> dict[str, int]:
    """Return how many jobs have each status."""
    rows = session.execute(select(Job.status, func.count()).group_by(Job.status))
    return {row[0]: row[1] for row in rows}


# ---------------------------------------------------------------- pieces


def _find(session: Session, job_id: str) -> str | None:
    found = session.scalar(select(Job.id).where(Job.id == job_id))
    return found or session.scalar(select(JobAlias.job_id).where(JobAlias.alias == job_id))


def _resolve(session: Session, job_id: str) -> str:
    found = _find(session, job_id)
    if found is None:
        raise UnknownJobError(f"no job has the id {job_id!r}")
    return found


def _take(session: Session, job: Job, stage: str, worker: str, lease_s: float) -> Claim | None:
    """Make a ready stage of a locked job the worker's. None when it is not ready, or not yet."""
    attempt = session.execute(
        update(Stage)
        .where(Stage.job_id == job.id, Stage.name == stage, *_DUE)
        .values(
            status="running",
            attempt=Stage.attempt + 1,
            worker=worker,
            lease_until=_after(lease_s),
            started_at=func.now(),
            queued_ms=func.coalesce(Stage.queued_ms, 0.0)
            + func.extract("epoch", func.now() - Stage.ready_at) * 1000.0,
            artifact_key=None,
            cache_hit=None,
        )
        .returning(Stage.attempt)
    ).scalar()
    if attempt is None:
        return None
    if job.status == "queued":
        job.status = "running"
        job.started_at = func.now()
    succeeded = session.scalars(select(Stage).where(Stage.job_id == job.id, Stage.status == "succeeded"))
    return Claim(
        job_id=job.id,
        stage=stage,
        attempt=attempt,
        worker=worker,
        priority=job.priority,
        person_key=job.person_key,
        cloth_key=job.cloth_key,
        options=job.options,
        artifacts={done.name: str(done.artifact_key) for done in succeeded},
    )


def _after(seconds: float) -> Any:
    return func.now() + timedelta(seconds=seconds)


def _changed(result: Any) -> int:
    return cast(CursorResult[Any], result).rowcount


def _mine(held: Claim) -> tuple[Any, ...]:
    return (
        Stage.job_id == held.job_id,
        Stage.name == held.stage,
        Stage.status == "running",
        Stage.attempt == held.attempt,
        Stage.worker == held.worker,
    )


def _worker_is(session: Session, name: str, state: str | ColumnElement[str]) -> None:
    """Write the worker's state; after any stage's row, so that every transaction locks in one order."""
    session.execute(update(Worker).where(Worker.name == name).values(state=state, seen_at=func.now()))


def _worker_is_free(session: Session, name: str) -> None:
    """Write that the worker is ready again, unless it runs other stages of a batch; like `_worker_is`."""
    still_runs = exists().where(
        Stage.worker == name, Stage.status == "running", Stage.lease_until > func.now()
    )
    _worker_is(session, name, case((still_runs, "busy"), else_="ready"))


def _lock_artifact(session: Session, artifact_key: str) -> None:
    """Let one transaction at a time decide who leads and who waits for an artifact.

    Taken before any row is locked: transactions that lock in one order cannot wait for each other.
    """
    key = int.from_bytes(hashlib.sha256(artifact_key.encode()).digest()[:8], "big", signed=True)
    session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})


def _release_waiting(session: Session, artifact_key: str | None) -> list[tuple[str, str]]:
    if artifact_key is None:
        return []
    freed = session.execute(
        update(Stage)
        .where(Stage.artifact_key == artifact_key, Stage.status == "waiting")
        .values(status="ready", woken_at=None)
        .returning(Stage.job_id, Stage.name)
        .execution_options(synchronize_session=False)
    )
    return [(job_id, name) for job_id, name in freed]


def _wakes(session: Session, stages: list[tuple[str, str]]) -> list[Wake]:
    """Note that the stages' wake-ups are being sent, and return them, the most urgent first."""
    if not stages:
        return []
    rows = session.execute(
        update(Stage)
        .where(
            Job.id == Stage.job_id,
            or_(*(and_(Stage.job_id == job_id, Stage.name == name) for job_id, name in stages)),
        )
        .values(woken_at=func.now())
        .returning(Stage.job_id, Stage.name, Stage.queue, Job.priority, Job.created_at)
        .execution_options(synchronize_session=False)
    ).all()
    ordered = sorted(rows, key=lambda row: (-row.priority, row.created_at, row.job_id))
    return [Wake(row.job_id, row.name, row.queue, row.priority) for row in ordered]


def _names(session: Session, job_id: str, status_: str) -> list[str]:
    return list(session.scalars(select(Stage.name).where(Stage.job_id == job_id, Stage.status == status_)))


def _end_attempt(
    session: Session, job: Job, stage: Stage, error: Mapping[str, Any], retry_after_s: float | None
) -> None:
    stage.error = dict(error)
    stage.lease_until = None
    if retry_after_s is not None and job.status in ACTIVE:
        stage.status = "ready"
        stage.artifact_key = None
        stage.not_before = _after(retry_after_s)
        stage.ready_at = _after(retry_after_s)
        stage.woken_at = None
        session.flush()
        return
    stage.status = "failed"
    stage.finished_at = func.now()
    session.flush()
    _fail_job(session, job, error)


def _fail_job(session: Session, job: Job, error: Mapping[str, Any]) -> None:
    job.status = "failed"
    job.error = dict(error)
    job.finished_at = func.now()
    _close_stages(session, job.id)


def _close_stages(session: Session, job_id: str) -> None:
    session.execute(
        update(Stage)
        .where(Stage.job_id == job_id, Stage.status.in_(OPEN))
        .values(status="canceled", lease_until=None, finished_at=func.now())
        .execution_options(synchronize_session=False)
    )


def _lost_worker(stage: Stage, stage_timeout_s: float) -> dict[str, Any]:
    ran = (
        (datetime.now(tz=stage.started_at.tzinfo) - stage.started_at).total_seconds()
        if stage.started_at
        else 0
    )
    if ran > stage_timeout_s:
        message = f"The stage ran for more than {stage_timeout_s:g} s and was taken from {stage.worker}."
        return _error("JobTimeoutError", message, stage=stage.name)
    message = (
        f"The worker {stage.worker} died or was cut off while it ran the stage (attempt {stage.attempt}); "
        "its log may say why."
    )
    return _error("InternalError", message, stage=stage.name)


def _error(name: str, message: str, *, stage: str | None) -> dict[str, Any]:
    return {"name": name, "message": message, "stage": stage, "input": None, "retryable": True}


def _current_stage(session: Session, job_id: str) -> str | None:
    return _current(
        session.scalars(select(Stage).where(Stage.job_id == job_id).order_by(Stage.position)).all()
    )


def _current(stages: Sequence[Stage]) -> str | None:
    """The stage to name for the job: one that runs, else the first that has not succeeded."""
    for wanted in (("running",), OPEN):
        for stage in stages:
            if stage.status in wanted:
                return stage.name
    return None


def _progress(job: Job, stages: Sequence[Stage]) -> int:
    if job.status == "succeeded":
        return 100
    done = sum(1.0 if s.status == "succeeded" else 0.5 * (s.status == "running") for s in stages)
    return int(100 * done / len(stages)) if stages else 0


def _queue_position(session: Session, job: Job) -> int | None:
    """How many queued jobs come up to and including this one; None when it is not queued."""
    if job.status != "queued":
        return None
    ahead = or_(
        Job.priority > job.priority,
        and_(Job.priority == job.priority, Job.created_at < job.created_at),
        and_(Job.priority == job.priority, Job.created_at == job.created_at, Job.id < job.id),
    )
    number = session.scalar(select(func.count()).select_from(Job).where(Job.status == "queued", ahead))
    return int(number or 0) + 1


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _round(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(float(milliseconds), 1)
