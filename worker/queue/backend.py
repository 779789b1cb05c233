"""Celery's result backend as a view of the jobs table: every state is read from the job's row."""

from typing import Any

from celery import states
from celery.backends.base import BaseBackend
from celery.exceptions import TaskRevokedError

from config.errors import from_record
from db import jobs

_CELERY_STATES = {
    "queued": states.PENDING,
    "running": states.STARTED,
    "succeeded": states.SUCCESS,
    "failed": states.FAILURE,
    "canceled": states.REVOKED,
}


class JobsBackend(BaseBackend):  # type: ignore[misc] # Celery has no types
    """Reads the state of an `AsyncResult` from the job's row; an unknown id raises UnknownJobError."""

    def store_result(self, *args: Any, **kwargs: Any) -> None:
        """Store nothing: only the transitions in `db.jobs` write a job's row."""

    def get_task_meta(self, task_id: str, cache: bool = True) -> dict[str, Any]:
        """Return the job as Celery shows it: its state, and as result its result key, error or progress."""
        record = jobs.status(task_id)
        return {
            "task_id": task_id,
            "status": _CELERY_STATES[record["status"]],
            "result": _result(record),
            "traceback": None,
            "children": [],
            "date_done": record["finished_at"],
        }

    def _forget(self, task_id: str) -> None:
        raise NotImplementedError(
            f"A result handle does not delete the job {task_id}. `tryon forget {task_id}` deletes its rows "
            "and pictures; settings such as TRYON_KEEP_JOBS_DAYS delete old ones."
        )

    def task_result_exists(self, task_id: str) -> bool:
        """Return whether a job has this id."""
        try:
            jobs.status(task_id)
        except jobs.UnknownJobError:
            return False
        return True


def _result(record: dict[str, Any]) -> object:
    if record["status"] == "succeeded":
        return record["result_key"]
    if record["status"] == "failed":
        return from_record(record["error"])
    if record["status"] == "canceled":
        return TaskRevokedError("the job was canceled")
    return {name: record[name] for name in ("stage", "progress", "queue_position")}
