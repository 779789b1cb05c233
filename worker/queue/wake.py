"""Sends wake-ups: messages that say a stage is ready. They may be lost, duplicated or late without harm."""

import logging
from collections.abc import Iterable

from amqp.exceptions import AMQPError
from celery import Celery
from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from config.settings import AMQP
from db.jobs import WakeUp
from worker.queue.request import MAX_PRIORITY

log = logging.getLogger(__name__)

BROKER_ERRORS = (KombuError, AMQPError, RedisError, OSError, EOFError)
"""What sending raises while the broker is away, full, read-only or refuses: kombu wraps only some of it."""

QUICK_RETRY = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}
"""One immediate retry covers a connection that became stale while it was idle; the sweep covers the rest."""


def message_priority(app: Celery, priority: int) -> int:
    """Return the broker's message priority for a job's priority, of which 9 is the most urgent.

    AMQP serves the highest number first, Redis the lowest.
    """
    return priority if app.conf.broker_url.startswith(AMQP) else MAX_PRIORITY - priority


def describe(error: Exception) -> str:
    """Return what the broker or its client says, on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def stage_task_id(job_id: str, stage: str) -> str:
    """Return the id of the task of a job's stage: that of its wake-ups, and the one on the dashboard."""
    return f"{job_id}.{stage}"


def send(app: Celery, wake_ups: Iterable[WakeUp]) -> int:
    """Send the wake-ups; returns how many were sent. When the broker is unreachable, the sweep sends them."""
    sent = 0
    for wake_up in wake_ups:
        try:
            app.send_task(
                f"tasks.{wake_up.stage}",
                args=(wake_up.job_id,),
                task_id=stage_task_id(wake_up.job_id, wake_up.stage),
                queue=wake_up.queue,
                priority=message_priority(app, wake_up.priority),
                ignore_result=True,
                retry_policy=QUICK_RETRY,
            )
        except BROKER_ERRORS as error:
            log.warning(
                "The broker takes no message (%s); the sweep will wake %s of %s",
                describe(error),
                wake_up.stage,
                wake_up.job_id,
            )
            return sent
        sent += 1
    return sent
