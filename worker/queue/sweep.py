"""The sweep: re-sends lost wake-ups, takes stages back from silent workers, ends jobs that are too old."""

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
from worker.queue.process import PRESENCE_S

log = logging.getLogger(__name__)

BATCH = 100
"""Most wake-ups that the sweep keeps in a queue: enough for any number of workers, and no flood."""

SILENT_WORKER_S = 6 * PRESENCE_S


@dataclass(frozen=True)
class Swept:
    """What one sweep did."""

    reaped: int
    released: int
    expired: int
    woken: int


def sweep_once(app: Celery) -> Swept:
    """Do every kind of sweeping once. Several sweeps may run side by side."""
    here = settings()
    swept = Swept(
        reaped=jobs.reap(
            max_attempts=here.max_attempts,
            backoff_s=here.retry_backoff_s,
            stage_timeout_s=here.stage_timeout_s,
        ),
        released=jobs.release_orphans(),
        expired=jobs.expire(job_timeout_s=here.job_timeout_s),
        woken=sum(_wake_overdue(app, queue) for queue in queues.ALL),
    )
    jobs.forget_silent_workers(silent_s=SILENT_WORKER_S)
    if any(asdict(swept).values()):
        log.info("%s", swept)
    return swept


def run(app: Celery, stop: threading.Event) -> None:
    """Sweep every `sweep_interval_s` until `stop` is set; an outage is waited out."""
    while not stop.wait(settings().sweep_interval_s):
        try:
            sweep_once(app)
        except DatabaseUnavailableError as error:
            log.warning("No sweep: %s", error)


def _wake_overdue(app: Celery, queue: str) -> int:
    try:
        # As many messages as ready stages are enough, whichever stages they name: others are not sent twice.
        room = min(BATCH, jobs.ready_count(queue)) - _depth(app, queue)
    except (OperationalError, OSError) as error:
        log.warning("No wake-ups on %s: the broker is away (%s)", queue, error)
        return 0
    if room <= 0:
        return 0
    return wake.send(app, jobs.overdue_wakes(queue, grace_s=settings().wake_grace_s, limit=room))


def _depth(app: Celery, queue: str) -> int:
    """How many messages wait in the queue."""
    with app.connection_for_write() as connection:
        try:
            declared = connection.default_channel.queue_declare(queue, passive=True)
        except ChannelError:
            return 0  # a queue that nobody has written to yet
        return int(declared.message_count)
