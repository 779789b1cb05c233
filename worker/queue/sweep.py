"""The sweep: repeats lost wake-ups, reaps stages of dead workers, fails jobs that exceed their time limit."""

import logging
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial

from amqp.exceptions import NotFound
from celery import Celery
from kombu.connection import Connection
from kombu.exceptions import ChannelError

from config import queues
from config.errors import StorageError
from config.settings import ConfigurationError, settings
from db import jobs
from db.session import DatabaseUnavailableError, SchemaError, contact_s, outages
from worker.queue import events, wake
from worker.queue.process import PRESENCE_INTERVAL_S
from worker.queue.retention import Pruner

log = logging.getLogger(__name__)

MAX_QUEUED_WAKE_UPS = 100
"""Length up to which the sweep fills a queue: enough for many workers, and no flood after an outage."""

PRUNE_INTERVAL_S = 60.0
"""Interval between two batches of deletions, seconds: 200 objects a minute keep up with a busy shop."""

SILENT_WORKER_S = 6 * PRESENCE_INTERVAL_S
"""Time after which a worker that is not seen is removed from the table, seconds: several missed intervals."""


@dataclass(frozen=True)
class Swept:
    """What one sweep did: stages reaped and released, jobs expired, wake-ups sent."""

    reaped: int
    released: int
    expired: int
    woken: int


def sweep_once(app: Celery) -> Swept:
    """Do one sweep. Several sweeps may run at the same time."""
    current = settings()
    swept = Swept(
        reaped=_reap(),
        released=jobs.release_orphans(),
        expired=jobs.expire(job_timeout_s=current.job_timeout_s),
        woken=_wake(app),
    )
    jobs.forget_silent_workers(silent_s=SILENT_WORKER_S)
    events.send_ended(app, jobs.record_sweep(leases_lost=swept.reaped))
    if any(asdict(swept).values()):
        log.info("%s", swept)
    return swept


_outage_reaped = outages()
"""The number of outages after which leases have been taken back."""


def _reap() -> int:
    """Take back the stages of dead workers; returns how many.

    After an outage of the database every lease has expired, also those of live workers: nothing is taken
    back before they have had the time of one lease to renew them. The same holds after the sweep's start,
    which does not know what was before. What is taken back first after an outage costs no attempt.
    """
    global _outage_reaped
    current = settings()
    if contact_s() < current.lease_s:
        return 0
    seen = outages()
    reaped = jobs.reap(
        max_attempts=current.max_attempts,
        backoff_s=current.retry_backoff_s,
        stage_timeout_s=current.stage_timeout_s,
        outage=seen != _outage_reaped,
    )
    _outage_reaped = seen
    return reaped


def run(app: Celery, stop: threading.Event) -> None:
    """Sweep every `sweep_interval_s` until `stop` is set. No outage and no error ends it: both are logged."""
    pruner = Pruner()
    while not stop.wait(settings().sweep_interval_s):
        _survive("sweep", partial(sweep_once, app))
        _survive("deletion by retention", partial(_prune, pruner))


def _survive(what: str, step: Callable[[], object]) -> None:
    """Do a step of the sweep; log why it was not possible."""
    try:
        step()
    except (ConfigurationError, DatabaseUnavailableError, SchemaError, StorageError) as error:
        log.warning("No %s: %s", what, error)
    except Exception:
        log.exception("No %s", what)


def _prune(pruner: Pruner) -> None:
    """Delete one batch by retention, unless this or another sweep has just done so."""
    if not jobs.claim_pruning(interval_s=PRUNE_INTERVAL_S):
        return
    removed = pruner.prune()
    if removed:
        log.info("Deleted by retention: %s", removed)


def _wake(app: Celery) -> int:
    """Send the missing wake-ups; returns how many. While the broker is away, none is noted as sent."""
    try:
        lengths = _queue_lengths(app)
    except wake.BROKER_ERRORS as error:
        log.warning("No wake-ups: the broker does not answer (%s)", wake.describe(error))
        return 0
    return sum(_wake_new(app, queue) + _wake_overdue(app, queue, length) for queue, length in lengths.items())


def _wake_new(app: Celery, queue: str) -> int:
    """Wake the stages that were never woken, however long the queue is; returns how many were sent.

    Each is woken once here. Its message need not be the one that claims it: any message of the kind takes
    the most urgent stage.
    """
    return wake.send(app, jobs.new_wakes(queue, limit=MAX_QUEUED_WAKE_UPS))


def _wake_overdue(app: Celery, queue: str, length: int) -> int:
    """Repeat overdue wake-ups of a queue with so many messages; returns how many were sent."""
    # Never more messages than ready stages: those in the queue are wake-ups of ready stages already.
    room = jobs.ready_count(queue, limit=MAX_QUEUED_WAKE_UPS) - length
    if room <= 0:
        return 0
    return wake.send(app, jobs.overdue_wakes(queue, grace_s=settings().wake_grace_s, limit=room))


def _queue_lengths(app: Celery) -> dict[str, int]:
    """Return how many messages wait in each queue."""
    with app.connection_for_write() as connection:
        return {queue: _queue_length(connection, queue) for queue in queues.ALL}


def _queue_length(connection: Connection, queue: str) -> int:
    # A channel of its own: RabbitMQ closes the one on which a queue was asked for that does not exist.
    with connection.channel() as channel:  # type: ignore[no-untyped-call] # kombu has no types
        try:
            return int(channel.queue_declare(queue, passive=True).message_count)
        except (ChannelError, NotFound):
            return 0  # no message was ever sent to the queue
