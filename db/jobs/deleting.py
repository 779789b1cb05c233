"""What may be deleted, and the deletion of jobs; the caller deletes the objects in the store first."""

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import Session

from db.jobs.records import ACTIVE_JOB_STATUSES
from db.jobs.rows import existing_job_id, now_plus
from db.models import Deletion, Job, Stage
from db.session import transition


@transition
def jobs_of_person(session: Session, person_key: str) -> list[str]:
    """Return the ids of the jobs with this person's photograph."""
    return list(session.scalars(select(Job.id).where(Job.person_key == person_key)))


@transition
def finished_before(session: Session, *, days: float, limit: int) -> list[str]:
    """Return the ids of jobs that finished longer ago than so many days, the oldest first."""
    return list(
        session.scalars(
            select(Job.id)
            .where(Job.finished_at < now_plus(-days * 86_400), Job.status.not_in(ACTIVE_JOB_STATUSES))
            .order_by(Job.finished_at)
            .limit(limit)
        )
    )


@transition
def objects_of(session: Session, job_id: str) -> tuple[str, list[str], str | None]:
    """Return a job's own id, the artifacts that no other job uses, and the key of its result.

    Raises UnknownJobError.
    """
    job = session.get_one(Job, existing_job_id(session, job_id))
    keys = set(
        session.scalars(
            select(Stage.artifact_key).where(Stage.job_id == job.id, Stage.artifact_key.is_not(None))
        )
    )
    shared = session.scalars(
        select(Stage.artifact_key).where(Stage.artifact_key.in_(keys), Stage.job_id != job.id)
    )
    return job.id, sorted(str(key) for key in keys - set(shared)), job.result_key


@transition
def inputs_of(session: Session, job_id: str) -> list[str]:
    """Return the keys of a job's inputs that no other job uses."""
    job = session.get_one(Job, job_id)
    others = select(Job.id).where(
        Job.id != job_id, or_(Job.person_key == job.person_key, Job.cloth_key == job.cloth_key)
    )
    rows = session.execute(select(Job.person_key, Job.cloth_key).where(Job.id.in_(others))).all()
    used = {key for row in rows for key in row}
    return [key for key in (job.person_key, job.cloth_key) if key not in used]


@transition
def delete_job(session: Session, job_id: str, *, reason: str, removed: Mapping[str, int]) -> None:
    """Delete a job's rows, and keep a record without the keys of its pictures.

    Args:
        job_id: the job's own id.
        reason: `forget` or `retention`.
        removed: kind of object -> how many were deleted from the store.
    """
    deleted = session.execute(delete(Job).where(Job.id == job_id).returning(Job.id)).scalar()
    if deleted is not None:
        session.add(Deletion(reason=reason, job_id=job_id, removed=dict(removed)))


@transition
def artifacts_in_use(session: Session, keys: Sequence[str], *, days: float) -> set[str]:
    """Return which of these artifacts a job uses that has not finished, or has used for so many days."""
    used = session.scalars(
        select(Stage.artifact_key)
        .join(Job, Job.id == Stage.job_id)
        .where(
            Stage.artifact_key.in_(keys),
            or_(Job.status.in_(ACTIVE_JOB_STATUSES), Stage.finished_at > now_plus(-days * 86_400)),
        )
    )
    return {str(key) for key in used}


@transition
def inputs_in_use(session: Session, keys: Collection[str]) -> set[str]:
    """Return which of these inputs a job uses that has not finished."""
    rows = session.execute(
        select(Job.person_key, Job.cloth_key).where(
            Job.status.in_(ACTIVE_JOB_STATUSES), or_(Job.person_key.in_(keys), Job.cloth_key.in_(keys))
        )
    )
    return {key for row in rows for key in row}


@transition
def deletions(session: Session) -> int:
    """Return how many jobs were deleted so far."""
    return int(session.scalar(select(func.count()).select_from(Deletion)) or 0)
