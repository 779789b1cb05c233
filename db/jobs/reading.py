"""Reads the state of jobs; changes nothing."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, tuple_
from sqlalchemy.orm import Session

from db.jobs.records import ACTIVE_JOB_STATUSES
from db.jobs.rows import current_stage, existing_job_id, now_plus
from db.models import Job, Stage
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
    return {
        "id": job.id,
        "status": job.status,
        "stage": current_stage(stages) if job.status in ACTIVE_JOB_STATUSES else None,
        "progress": _progress(job, stages),
        "queue_position": _queue_position(session, job),
        "attempt": max((stage.attempt for stage in stages), default=0),
        "tenant": job.tenant,
        "person_key": job.person_key,
        "cloth_key": job.cloth_key,
        "options": job.options,
        "engine": job.engine,
        "result_key": job.result_key,
        "error": job.error,
        "created_at": _iso(job.created_at),
        "started_at": _iso(job.started_at),
        "finished_at": _iso(job.finished_at),
        "stages": [_stage_record(stage) for stage in stages],
    }


@transition
def recent(session: Session, *, limit: int = 20) -> list[dict[str, Any]]:
    """Return the newest jobs in short form: id, status, person_key, cloth_key, created_at, error name."""
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
    """Return how many jobs have each status: all that have not finished, and those that did in the last day.

    To count all finished jobs would read the whole table at each call.
    """
    unfinished = Job.status.in_(ACTIVE_JOB_STATUSES)
    lately = Job.finished_at > now_plus(-COUNTED_S)
    queries = (
        select(Job.status, func.count()).where(which).group_by(Job.status) for which in (unfinished, lately)
    )
    return {status: number for query in queries for status, number in session.execute(query)}


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


def _progress(job: Job, stages: Sequence[Stage]) -> int:
    """Return the progress, 0 to 100: every stage has the same weight, a running one counts half."""
    if job.status == "succeeded":
        return 100
    done = sum(1.0 if stage.status == "succeeded" else 0.5 * (stage.status == "running") for stage in stages)
    return int(100 * done / len(stages)) if stages else 0


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


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _milliseconds(value: float | None) -> float | None:
    return None if value is None else round(float(value), 1)
