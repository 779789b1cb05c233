"""The task that a producer calls: the job is written before its message is sent."""

import logging
from typing import TYPE_CHECKING, Any

from celery import Task
from celery.exceptions import Reject
from celery.result import AsyncResult
from celery.utils import uuid

from config import logs
from config.errors import InputValidationError, TryonError
from worker.app import app
from worker.queue import messages

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from worker.queue.request import TryonRequest

# What a submission needs is imported by the first one, so that importing this module is cheap.

log = logging.getLogger(__name__)

UNSUPPORTED_OPTIONS = {"countdown", "eta", "expires", "link", "link_error", "chain", "chord"}
"""Celery options that the queue of jobs does not implement: the row decides when a job ends, not a message.
A group is supported."""


MAX_BATCH = 1000
"""Most requests of one batch: its transaction takes a few seconds."""


class TryonTask(Task):  # type: ignore[misc] # Celery has no types
    """Writes the job, then sends the message: an unreachable broker delays the job and does not lose it."""

    abstract = True
    typing = False  # TryonRequest validates the arguments, with better messages

    def apply_async(
        self,
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
        task_id: str | None = None,
        **options: Any,
    ) -> AsyncResult:
        """Submit a try-on and return its result handle, whose id is the job's id.

        Raises InputValidationError when the request is not valid, and DatabaseUnavailableError when the job
        could not be written within `submit_timeout_s`.
        """
        from config.settings import settings
        from db.session import giving_up_after
        from worker.queue import intake
        from worker.queue.request import TryonRequest

        unsupported = sorted(name for name in UNSUPPORTED_OPTIONS if options.get(name))
        if unsupported:
            raise InputValidationError(f"A try-on does not support {unsupported[0]}.", input=unsupported[0])
        request = TryonRequest.parse(tuple(args or ()), kwargs or {})
        with giving_up_after(settings().submit_timeout_s):
            submitted = intake.accept(task_id or uuid(), request)
        if submitted.created:
            self._publish(submitted.job_id, request, options)
        return self.AsyncResult(submitted.job_id)

    def batch(self, requests: "Iterable[Mapping[str, Any]]", **options: Any) -> "list[AsyncResult]":
        """Submit several try-ons in one transaction, all or none; return their result handles in order.

        Args:
            requests: the arguments of each, by name: `person_key`, `cloth_key` and its options.
            options: options of all of them; those of a request come first.

        Raises InputValidationError, which says which request is not valid, and the errors of `apply_async`.
        """
        from config.settings import settings
        from db.session import giving_up_after
        from worker.queue import intake

        parsed = _parse_batch(requests, options)
        with giving_up_after(settings().submit_timeout_s):
            submitted = intake.accept_all([(uuid(), request) for request in parsed])
        for submission, request in zip(submitted, parsed, strict=True):
            if submission.created and not self._publish(submission.job_id, request, {}):
                break  # the sweep starts the others, too: each would wait for the broker as long
        return [self.AsyncResult(submission.job_id) for submission in submitted]

    def _publish(self, job_id: str, request: "TryonRequest", options: dict[str, Any]) -> bool:
        """Send the message of a job; return whether the broker took it."""
        from db.models import DEFAULT_TENANT
        from worker.queue import wake

        arguments = request.options()
        if request.idempotency_key is not None:
            arguments["idempotency_key"] = request.idempotency_key
        if request.tenant != DEFAULT_TENANT:
            arguments["tenant"] = request.tenant
        if request.webhook_url is not None:
            arguments |= {"webhook_url": request.webhook_url, "webhook_events": request.webhook_events}
        defaults = {
            "priority": wake.message_priority(self.app, request.priority),
            "retry_policy": wake.QUICK_RETRY,
        }
        try:
            super().apply_async(
                (request.person_key, request.cloth_key), arguments, task_id=job_id, **(defaults | options)
            )
        except wake.BROKER_ERRORS as error:
            log.warning(
                "The broker takes no message (%s); job %s is accepted, the sweep starts it",
                wake.describe(error),
                job_id,
            )
            return False
        return True


def _parse_batch(
    requests: "Iterable[Mapping[str, Any]]", options: "Mapping[str, Any]"
) -> "list[TryonRequest]":
    from worker.queue.request import TryonRequest

    parsed = []
    for number, request in enumerate(requests):
        try:
            parsed.append(TryonRequest.parse((), {**options, **request}))
        except InputValidationError as error:
            raise InputValidationError(
                f"Request {number} of the batch, from 0: {error.message}", input=error.input
            ) from error
    if not 0 < len(parsed) <= MAX_BATCH:
        raise InputValidationError(f"A batch has 1 to {MAX_BATCH} requests, not {len(parsed)}.")
    return parsed


# Unlike a stage's wake-up, this message may be the only record of a job: it is acknowledged after the row is
# written, and returns to the queue when the worker dies or the database is unreachable.
@app.task(  # type: ignore[untyped-decorator] # Celery has no types
    bind=True,
    base=TryonTask,
    name="tasks.tryon",
    throws=(TryonError,),
    acks_late=True,
    reject_on_worker_lost=True,
    send_events=False,
    shared=False,
    Strategy=messages.STRATEGY,
)
def tryon(self: Task, *args: Any, **kwargs: Any) -> str:
    """Write the job if its producer did not, and wake its first stages; returns the message's id."""
    with logs.of_job(str(self.request.id)):
        _accept(self, args, kwargs)
    return str(self.request.id)


@app.task(  # type: ignore[untyped-decorator] # Celery has no types
    bind=True,
    name=messages.REFUSE,
    throws=(TryonError,),
    acks_late=True,
    reject_on_worker_lost=True,
    send_events=False,
    shared=False,
)
def refuse(self: Task, reason: str) -> None:
    """Write a request whose message could not be dispatched as a failed job."""
    from db.session import DatabaseUnavailableError
    from worker.queue import intake

    error = InputValidationError(reason)
    try:
        intake.refuse(self.request.id, (), {}, error)
    except DatabaseUnavailableError as outage:
        _return_to_queue(self, outage)
    else:
        raise error


def _accept(task: Task, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Write the job of a message and wake its first stages."""
    from db import jobs
    from db.session import DatabaseUnavailableError
    from worker.queue import intake, wake
    from worker.queue.events import WorkerEvents
    from worker.queue.request import TryonRequest

    try:
        try:
            request = TryonRequest.parse(args, kwargs)
            submitted = intake.accept(task.request.id, request)
        except TryonError as error:
            intake.refuse(task.request.id, args, kwargs, error)
            raise
        wake_ups = jobs.ready_stages(submitted.job_id)
    except DatabaseUnavailableError as error:
        _return_to_queue(task, error)
    else:
        wake.send(app, wake_ups)
        events = WorkerEvents(app, task.request.hostname)
        events.job_accepted(submitted.job_id, request.person_key, request.cloth_key)


def _return_to_queue(task: Task, outage: Exception) -> None:
    """Send the message of the running task again: unlike a rejected one it does not count as redelivered."""
    from worker.queue import wake

    request = task.request
    try:
        Task.apply_async(
            task,
            request.args,
            request.kwargs,
            task_id=request.id,
            queue=request.delivery_info["routing_key"],
            priority=request.delivery_info.get("priority"),
            headers={messages.DELIVERIES: getattr(request, messages.DELIVERIES, None) or 1},
        )
    except wake.BROKER_ERRORS as error:
        raise Reject(str(outage), requeue=True) from error
