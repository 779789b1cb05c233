"""The Celery application, and what its worker processes do when they start and stop.

celery -A worker.app worker -Q cpu
celery -A worker.app worker -Q gpu
"""

import logging
import os
import sys
from typing import Any

from celery import Celery, signals

from config import queues
from config.logs import set_up_logging

# Producers import this module: what only a worker needs is imported when a worker starts.

log = logging.getLogger(__name__)

app = Celery("tryon", include=["tasks"])
app.config_from_object("worker.celeryconfig")

_queues: tuple[str, ...] = queues.ALL
_devices: list[str] = ["cpu"]


@signals.setup_logging.connect
def _logging(**_: Any) -> None:
    set_up_logging()


@signals.celeryd_init.connect
def _prepare(conf: Any, options: dict[str, Any], **_: Any) -> None:
    """Settle the queues and devices before the pool forks: one process per device for GPU stages."""
    global _queues, _devices
    from config.errors import WeightsMissingError
    from config.settings import ConfigurationError, settings
    from worker.machine import device
    from worker.stages import table

    set_up_logging()
    chosen = options.get("queues") or queues.ALL
    _queues = tuple(chosen.split(",") if isinstance(chosen, str) else chosen)
    try:
        for stage in table.of_queues(_queues):
            table.check(stage)
        if queues.GPU in _queues:
            _devices = device.choose(settings().device)
            conf.worker_concurrency = len(_devices)
    except (ConfigurationError, WeightsMissingError) as error:
        # A receiver's exceptions are only logged: leave, or the worker would start without what it needs.
        log.critical("This worker cannot start: %s", error)
        sys.exit(os.EX_CONFIG)


@signals.worker_process_init.connect
def _start(**_: Any) -> None:
    from billiard.process import current_process

    from db import session
    from worker.queue import process

    session.dispose()
    index = getattr(current_process(), "index", 0)
    try:
        process.set_up(_queues, _devices[index % len(_devices)])
    except Exception:
        log.critical("This worker process cannot start", exc_info=True)
        os._exit(os.EX_CONFIG)  # the pool starts another, which tries again


@signals.worker_process_shutdown.connect
def _stop(**_: Any) -> None:
    from worker.queue import process

    process.tear_down()
