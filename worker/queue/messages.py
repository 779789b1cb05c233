"""Bounds every message before it is dispatched: what a worker's main process cannot digest would end it.

A message that ends its worker returns to the queue and ends the next one. So its size, its depth and the
number of its deliveries are limited. A request that is not acceptable becomes a failed job, which its
producer can poll; a wake-up is dropped.
"""

import json
import logging
import re
from collections.abc import Callable, Mapping
from typing import Any

from celery import Celery, Task

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 100_000
"""Largest body of a message; a request with the longest keys has some 10 kB."""

MAX_HEADER_ITEMS = 1_000
"""Most values in the headers of a message; Celery writes 20."""

MAX_DEPTH = 20
"""Deepest nesting of a message; a request has 3 levels. Celery's main process fails at some hundred."""

MAX_DELIVERIES = 10
"""Deliveries of a request that ended no other way than with the end of its worker, before it is set aside."""

DELIVERIES = "tryon_deliveries"
"""Header that counts the deliveries of a message."""

REFUSE = "tasks.refuse"
"""The task that writes a refused request as a failed job."""

STRATEGY = "worker.queue.messages:bounded"
"""The `Task.Strategy` of every task of this project."""

REQUEST = "tasks.tryon"
"""The task whose messages are requests; those of the other tasks are wake-ups."""

_TEXT_HEADERS = (
    *("task", "id", "root_id", "parent_id", "group", "lang", "origin", "shadow"),
    *("argsrepr", "kwargsrepr", "eta", "expires"),
)
"""Celery's headers that its main process uses as texts, where they are present."""

_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)


def bounded(task: Task, app: Celery, consumer: Any, **options: Any) -> Callable[..., None]:
    """Return the function that Celery calls with each message of the task: its `Task.Strategy`."""
    from celery.worker import strategy  # a producer imports this module

    dispatch = strategy.default(task, app, consumer, **options)
    outages = (*consumer.connection_errors, *consumer.channel_errors)

    def on_message(message: Any, body: Any, ack: Any, reject: Any, callbacks: Any, **more: Any) -> None:
        fault = find_fault(message.body, message.headers)
        if fault is None and task.name == REQUEST and message.delivery_info.get("redelivered"):
            deliveries = _deliveries(message.headers) + 1
            if deliveries <= MAX_DELIVERIES:
                _count(app, message, deliveries, consumer)
                return
            fault = f"was delivered {MAX_DELIVERIES} times, and each time its worker ended before it answered"
        if fault is None:
            try:
                dispatch(message, body, ack, reject, callbacks, **more)
            except outages:
                raise
            except Exception as error:  # whatever a message can make Celery raise would end this process
                log.exception("A message of %s cannot be dispatched", task.name)
                fault = f"cannot be read ({type(error).__name__}: {error})"
            else:
                return
        log.error("A message of %s with the id %.255s is refused: it %s", task.name, _id(message), fault)
        if task.name == REQUEST and not message.acknowledged:
            _replace(message, f"The message {fault}.")
            consumer.strategies[REFUSE](message, None, ack, reject, callbacks, **more)
        else:
            message.ack_log_error(log, outages)

    return on_message


def find_fault(body: str | bytes, headers: Mapping[str, Any]) -> str | None:
    """Return why a message cannot be dispatched, as the rest of a sentence; None if it can be."""
    if len(body) > MAX_BODY_BYTES:
        return f"has {len(body)} bytes; at most {MAX_BODY_BYTES} are accepted"
    if wrong := [name for name in _TEXT_HEADERS if not isinstance(headers.get(name), str | None)]:
        return f"has a header {wrong[0]} that is not a text"
    if not isinstance(headers.get("id"), str):
        return "has no id"
    if not isinstance(headers.get("retries"), int | None) or not _is_timelimit(headers.get("timelimit")):
        return "has a header retries or timelimit that is not a number"
    text = body if isinstance(body, str) else body.decode("utf-8", "replace")
    if _depth(text) > MAX_DEPTH or not _is_small(headers):
        return f"is nested more deeply than {MAX_DEPTH} levels, or has more than {MAX_HEADER_ITEMS} headers"
    return None


def _is_timelimit(value: object) -> bool:
    """Return whether the value is that of Celery's header: the hard and the soft limit, seconds or None."""
    return value is None or (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(isinstance(limit, int | float | None) for limit in value)
    )


def _depth(text: str) -> int:
    """Return the nesting of a JSON text, without parsing it."""
    depth = deepest = 0
    for found in _STRING_OR_BRACKET.finditer(text):
        if found[0] in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif found[0] in "]}":
            depth -= 1
    return deepest


def _is_small(headers: Mapping[str, Any]) -> bool:
    """Return whether all values of the headers are few, short and not nested deeply."""
    level: list[Any] = [headers]
    items = 0
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for value in level:
            items += 1 + (len(value) // MAX_BODY_BYTES * MAX_HEADER_ITEMS if isinstance(value, str) else 0)
            if isinstance(value, Mapping):
                inner += [*value.keys(), *value.values()]
            elif isinstance(value, list | tuple):
                inner += value
        if not inner:
            return items <= MAX_HEADER_ITEMS
        if len(inner) > MAX_HEADER_ITEMS:
            return False
        level = inner
    return False


def _id(message: Any) -> str:
    return str(message.headers.get("id"))


def _deliveries(headers: Mapping[str, Any]) -> int:
    count = headers.get(DELIVERIES, 1)
    return count if isinstance(count, int) else 1


def _count(app: Celery, message: Any, deliveries: int, consumer: Any) -> None:
    """Send a copy of the message with the number of its deliveries, and acknowledge the original.

    The brokers tell whether a message was delivered before, and not how often. If this process ends in
    between, there are two copies of the request, which are one job.
    """
    from worker.queue import wake  # a producer imports this module

    try:
        with app.producer_or_acquire() as producer:
            producer.publish(
                message.body,
                exchange=message.delivery_info["exchange"],
                routing_key=message.delivery_info["routing_key"],
                headers={**message.headers, DELIVERIES: deliveries},  # no longer marked as redelivered
                content_type=message.content_type,
                content_encoding=message.content_encoding,
                priority=message.properties.get("priority"),
                correlation_id=message.properties.get("correlation_id"),
            )
    except wake.BROKER_ERRORS as error:
        log.warning("The broker takes no message (%s); one returns to its queue", wake.describe(error))
        message.reject_log_error(log, consumer.connection_errors, requeue=True)
    else:
        message.ack_log_error(log, consumer.connection_errors)


def _replace(message: Any, reason: str) -> None:
    """Turn the message into one of the task `REFUSE`, under the same id."""
    job_id = _id(message)
    message.body = json.dumps([[reason], {}, None])
    message.content_type, message.content_encoding = "application/json", "utf-8"
    message.headers = {
        **dict.fromkeys(("parent_id", "group", "eta", "expires", "origin")),
        "task": REFUSE,
        "id": job_id,
        "root_id": job_id,
        "lang": "py",
        "retries": 0,
        "timelimit": [None, None],
        "argsrepr": "",
        "kwargsrepr": "",
    }
    message._decoded_cache = None
