"""The sweep: repeats lost wake-ups, reaps stages of dead workers, fails jobs that exceed their time limit."""

import logging
import threading
from dataclasses import asdict, dataclass

from celery import Celery
from kombu.exceptions import ChannelError, OperationalError

from config import queues
from config.settings import settings
from db import jobs
from db.session import DatabaseUnavailableError
from worker.queue import wake
from worker.queue.process import PRESENCE_INTERVAL_S

log = logging.getLogger(__name__)

MAX_QUEUED_WAKE_UPS = 100
"""Length up to which the sweep fills a queue: enough for many workers, and no flood after an outage."""

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
        reaped=jobs.reap(
            max_attempts=current.max_attempts,
            backoff_s=current.retry_backoff_s,
            stage_timeout_s=current.stage_timeout_s,
        ),
        released=jobs.release_orphans(),
        expired=jobs.expire(job_timeout_s=current.job_timeout_s),
        woken=sum(_wake_overdue(app, queue) for queue in queues.ALL),
    )
    jobs.forget_silent_workers(silent_s=SILENT_WORKER_S)
    if any(asdict(swept).values()):
        log.info("%s", swept)
    return swept


def run(app: Celery, stop: threading.Event) -> None:
    """Sweep every `sweep_interval_s` until `stop` is set; database outages are logged and survived."""
    while not stop.wait(settings().sweep_interval_s):
        try:
            sweep_once(app)
        except DatabaseUnavailableError as error:
            log.warning("No sweep: %s", error)


def _wake_overdue(app: Celery, queue: str) -> int:
    """Repeat overdue wake-ups of a queue; returns how many were sent."""
    try:
        # Never more messages than ready stages: those in the queue are wake-ups of ready stages already.
        room = min(MAX_QUEUED_WAKE_UPS, jobs.ready_count(queue)) - _queue_length(app, queue)
    except (OperationalError, OSError) as error:
        log.warning("No wake-ups on %s: the broker is unreachable (%s)", queue, error)
        return 0
    if room <= 0:
        return 0
    return wake.send(app, jobs.overdue_wakes(queue, grace_s=settings().wake_grace_s, limit=room))


def _queue_length(app: Celery, queue: str) -> int:
    """Return how many messages wait in the queue."""
    with app.connection_for_write() as connection:
        try:
            declared = connection.default_channel.queue_declare(queue, passive=True)
        except ChannelError:
            return 0  # no message was ever sent to the queue
        return int(declared.message_count)
