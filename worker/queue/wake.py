"""Sends wake-ups: a message that says a stage is ready, which may be lost, doubled or late without harm."""

import logging
from collections.abc import Iterable

from celery import Celery
from kombu.exceptions import OperationalError

from db.jobs import Wake

log = logging.getLogger(__name__)

# One quick second try covers a connection that went stale while it was idle; the sweep covers the rest.
QUICK_RETRY = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}

HIGHEST = 9


def message_priority(app: Celery, priority: int) -> int:
    """Return a job's priority (9 is the most urgent) as the broker counts it: Redis serves 0 first."""
    return priority if app.conf.broker_url.startswith(("amqp", "pyamqp")) else HIGHEST - priority


def send(app: Celery, wakes: Iterable[Wake]) -> int:
    """Send the wake-ups; returns how many went out. A broker that is away is left to the sweep."""
    sent = 0
    for wake in wakes:
        try:
            app.send_task(
                f"tasks.{wake.stage}",
                args=(wake.job_id,),
                queue=wake.queue,
                priority=message_priority(app, wake.priority),
                ignore_result=True,
                retry_policy=QUICK_RETRY,
            )
        except OperationalError as error:
            log.warning(
                "The broker is away (%s); the sweep will wake %s of %s", error, wake.stage, wake.job_id
            )
            return sent
        sent += 1
    return sent
