"""Events for the dashboard: what happens to jobs and stages, in Celery's format.

Celery's own events are about messages. A message of one job may run a stage of another one, and the message
of a job has succeeded when its rows are written, however the job ends. So the tasks send no events themselves
(`send_events=False`). These follow the rows: the task of a job has the job's id and ends as the job does; the
task of a stage has the id `<job>.<stage>`.
"""

import logging
import socket
from collections.abc import Iterable
from typing import Any

from celery import Celery

from config.errors import TryonError
from db.jobs import Claim, EndedJob
from worker.queue import messages, wake

log = logging.getLogger(__name__)

SWEEP = f"sweep@{socket.gethostname()}"
"""The name under which the dashboard lists the sweep, beside the workers."""

_ENDED = {"succeeded": "task-succeeded", "failed": "task-failed", "lost": "task-revoked"}
"""How an attempt ended -> the event of its stage; after any other end the stage is tried again."""

Event = tuple[str, dict[str, Any]]


class WorkerEvents:
    """Sends the events of the attempts of one worker process.

    Args:
        app: the Celery application.
        hostname: the worker's name as Celery has it, such as `cpu@host`.
    """

    def __init__(self, app: Celery, hostname: str) -> None:
        self._app = app
        self._hostname = hostname

    def job_accepted(self, job_id: str, person_key: str, cloth_key: str) -> None:
        """Send that the message of a job was read."""
        task = _job_task(job_id, person_key, cloth_key)
        _send(self._app, self._hostname, [("task-received", task), ("task-started", task)])

    def began(self, claim: Claim) -> None:
        """Send that an attempt at a stage began."""
        task = _stage_task(claim.job_id, claim.stage) | {"retries": claim.attempt - 1}
        _send(self._app, self._hostname, [("task-received", task), ("task-started", task)])

    def ended(self, claim: Claim, outcome: str, error: TryonError | None, run_s: float) -> None:
        """Send how an attempt ended: with this outcome of `worker.queue.attempt.OUTCOMES`, after `run_s`."""
        task = _stage_task(claim.job_id, claim.stage) | {"retries": claim.attempt - 1, "runtime": run_s}
        if outcome == "succeeded":
            task["result"] = outcome
        else:
            task |= {"exception": f"{error.name}: {error.message}" if error else outcome, "traceback": ""}
        _send(self._app, self._hostname, [(_ENDED.get(outcome, "task-retried"), task)])


def send_ended(app: Celery, jobs: Iterable[EndedJob]) -> None:
    """Send how jobs ended, as the sweep, and that the sweep is alive."""
    alive = {"freq": 5.0, "sw_ident": "tryon-sweep", "active": 0, "processed": 0, "loadavg": (0, 0, 0)}
    _send(app, SWEEP, [("worker-heartbeat", alive), *(event for job in jobs for event in _end_of(job))])


def _end_of(job: EndedJob) -> list[Event]:
    """Return the events of a job's end: its own, and that of the stage in which it failed."""
    task = _job_task(job.id, job.person_key, job.cloth_key)
    task["runtime"] = (job.finished_at - job.queued_at).total_seconds()
    if job.status == "succeeded":
        return [("task-succeeded", task | {"result": job.result_key})]
    if job.status == "canceled":
        return [("task-revoked", task | {"terminated": False, "signum": None, "expired": False})]
    error = job.error or {}
    failure = {"exception": f"{error.get('name')}: {error.get('message')}", "traceback": ""}
    ends = [("task-failed", task | failure)]
    if error.get("stage"):
        ends.append(("task-failed", _stage_task(job.id, error["stage"]) | failure))
    return ends


def _job_task(job_id: str, person_key: str, cloth_key: str) -> dict[str, Any]:
    return {
        "uuid": job_id,
        "name": messages.REQUEST,
        "args": repr((person_key, cloth_key)),
        "kwargs": "{}",
        "root_id": job_id,
        "parent_id": None,
    }


def _stage_task(job_id: str, stage: str) -> dict[str, Any]:
    return {
        "uuid": wake.stage_task_id(job_id, stage),
        "name": f"tasks.{stage}",
        "args": repr((job_id,)),
        "kwargs": "{}",
        "root_id": job_id,
        "parent_id": job_id,
    }


def _send(app: Celery, hostname: str, events: Iterable[Event]) -> None:
    """Send events. When the broker is away they are lost: nothing but the dashboard reads them."""
    try:
        with app.events.default_dispatcher(hostname=hostname) as dispatcher:
            for kind, fields in events:
                dispatcher.send(kind, retry=True, retry_policy=wake.QUICK_RETRY, **fields)
    except wake.BROKER_ERRORS as error:
        log.warning("The broker takes no event (%s); the dashboard misses some", wake.describe(error))
