"""The task a producer calls: its job is written before its message is sent."""

import logging
from typing import TYPE_CHECKING, Any

from celery import Task
from celery.exceptions import Reject
from celery.result import AsyncResult
from celery.utils import uuid
from kombu.exceptions import OperationalError

from config.errors import InputValidationError, TryonError
from worker.app import app

if TYPE_CHECKING:
    from worker.queue.request import TryonRequest

# What a submission needs is imported with the first one, so that importing this module costs next to nothing.

log = logging.getLogger(__name__)


class TryonTask(Task):
    """Writes the job, then publishes; a broker that is away delays the job and does not lose it."""

    abstract = True
    typing = False  # arguments are checked by TryonRequest, whose errors say more

    def apply_async(
        self,
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
        task_id: str | None = None,
        **options: Any,
    ) -> AsyncResult:
        """Accept a try-on and return its result handle, whose id is the job's.

        Raises InputValidationError when the request is not acceptable, and DatabaseUnavailableError when
        it could not be written.
        """
        from worker.queue import intake
        from worker.queue.request import TryonRequest

        refused = sorted(options.keys() & {"countdown", "eta", "expires", "link", "link_error"})
        if refused:
            raise InputValidationError(f"A try-on does not take {refused[0]}.", input=refused[0])
        request = TryonRequest.parse(tuple(args or ()), kwargs or {})
        submitted = intake.accept(task_id or uuid(), request)
        if submitted.created:
            self._publish(submitted.job_id, request, options)
        return self.AsyncResult(submitted.job_id)

    def _publish(self, job_id: str, request: "TryonRequest", options: dict[str, Any]) -> None:
        from worker.queue import wake

        message = request.options()
        if request.idempotency_key is not None:
            message["idempotency_key"] = request.idempotency_key
        sending = {
            "priority": wake.message_priority(self.app, request.priority),
            "retry_policy": wake.QUICK_RETRY,
        }
        try:
            super().apply_async(
                (request.person_key, request.cloth_key), message, task_id=job_id, **(sending | options)
            )
        except OperationalError as error:
            log.warning("The broker is away (%s); job %s is accepted and runs when it is back", error, job_id)


# Unlike a stage's wake-up, this message may be all there is of a job: it is acknowledged when the row is
# written, and goes back to the queue when the worker dies or the database is away.
@app.task(
    bind=True,
    base=TryonTask,
    name="tasks.tryon",
    throws=(TryonError,),
    acks_late=True,
    reject_on_worker_lost=True,
)
def tryon(self: Task, *args: Any, **kwargs: Any) -> str:
    """Write the job if its message came first, and wake its first stages; returns the job's id."""
    from db import jobs
    from db.session import DatabaseUnavailableError
    from worker.queue import intake, wake
    from worker.queue.request import TryonRequest

    try:
        try:
            request = TryonRequest.parse(args, kwargs)
            submitted = intake.accept(self.request.id, request)
        except TryonError as error:
            intake.refuse(self.request.id, args, kwargs, error)
            raise
        wakes = jobs.ready_stages(submitted.job_id)
    except DatabaseUnavailableError as error:
        raise Reject(str(error), requeue=True) from error
    wake.send(app, wakes)
    return submitted.job_id
