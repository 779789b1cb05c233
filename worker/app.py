"""The Celery application, and the start and stop of its worker processes.

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

# A producer's process often has a Celery application of its own. This one must not become the process's
# current application, to which `@shared_task` binds, nor take up a Django project (the default fixup).
app = Celery(
    "tryon",
    include=["tasks"],
    set_as_current=False,
    fixups=[],
    control="worker.queue.control:JobControl",
)
app.config_from_object("worker.celeryconfig")

POOLS = ("prefork", "solo", "processes")
"""Celery's pools in which one process runs one stage at a time; `processes` is another name of prefork."""

_queues: tuple[str, ...] = queues.ALL
_devices: list[str] = ["cpu"]


@signals.celeryd_init.connect  # type: ignore[untyped-decorator] # Celery has no types
def _prepare(instance: Any, conf: Any, options: dict[str, Any], **_: Any) -> None:
    """Set the queues and devices before the pool forks: one process per device for GPU stages."""
    if instance.app is not app:
        return  # a worker of another application that imported `tasks` as a producer
    signals.setup_logging.connect(_set_up_logging)
    signals.worker_process_init.connect(_start)
    signals.worker_process_shutdown.connect(_stop)

    global _queues, _devices
    from config.errors import WeightsMissingError
    from config.settings import ConfigurationError, settings
    from db import migrate
    from db.session import DatabaseUnavailableError, SchemaError, dispose
    from worker.machine import device
    from worker.stages import table

    set_up_logging()
    pool = str(options.get("pool") or conf.worker_pool)
    if not any(name in pool for name in POOLS):
        log.critical(
            "This worker cannot start: the pool %s shares a process between stages that run at once, but "
            "models, time limits and heartbeats need a process each. Use --pool prefork (or solo).",
            pool,
        )
        sys.exit(os.EX_CONFIG)
    selected = options.get("queues") or queues.ALL
    _queues = tuple(selected.split(",") if isinstance(selected, str) else selected)
    try:
        for stage in table.of_queues(_queues):
            table.check(stage)
        if queues.GPU in _queues:
            _devices = device.choose(settings().device)
            conf.worker_concurrency = len(_devices)
        migrate.require_current()
    except DatabaseUnavailableError as error:
        log.warning("%s The worker's processes wait for it.", error)
    except (ConfigurationError, SchemaError, WeightsMissingError) as error:
        # Celery only logs the exceptions of a signal's receiver: without the exit the worker would start.
        log.critical("This worker cannot start: %s", error)
        sys.exit(os.EX_CONFIG)
    finally:
        dispose()


def _set_up_logging(**_: Any) -> None:
    set_up_logging()


def _start(**_: Any) -> None:
    """Load the models in a pool process."""
    from billiard.process import current_process

    from db import session
    from worker.queue import process

    session.dispose()
    index = getattr(current_process(), "index", 0)
    try:
        process.set_up(_queues, _devices[index % len(_devices)])
    except Exception:
        log.critical("This worker process cannot start", exc_info=True)
        os._exit(os.EX_CONFIG)  # the pool starts a new process, which tries again


def _stop(**_: Any) -> None:
    from worker.queue import process

    process.tear_down()
