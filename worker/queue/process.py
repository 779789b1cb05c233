"""What a worker process is and has: its name, queues, device and models, and its row in the workers table."""

import logging
import os
import socket
import threading
from dataclasses import dataclass
from typing import Any

from config.settings import settings
from db import jobs
from db.session import DatabaseUnavailableError
from worker.stages import table
from worker.stages.models import Models

log = logging.getLogger(__name__)

PRESENCE_S = 10.0
"""How often an idle worker process says that it is still there, seconds."""


@dataclass(frozen=True)
class WorkerProcess:
    """This process, once it is ready to run stages."""

    name: str
    models: Models
    gone: threading.Event


_current: WorkerProcess | None = None


def set_up(queues: tuple[str, ...], device: str) -> None:
    """Load the models of these queues' stages, then report ready.

    Raises whatever a model that cannot be loaded raises, after the workers table shows it.
    """
    global _current
    name = f"{socket.gethostname()}:{os.getpid()}"
    described: dict[str, Any] = {"pid": os.getpid(), "queues": queues, "device": device}
    jobs.register_worker(name, state="starting", **described)
    try:
        models = Models(settings().models_dir, device)
        for stage in table.of_queues(queues):
            models.of(table.method(stage))
    except Exception as error:
        jobs.register_worker(name, state="failed", message=f"{type(error).__name__}: {error}", **described)
        raise
    jobs.register_worker(name, state="ready", **described)
    _current = WorkerProcess(name, models, threading.Event())
    presence = threading.Thread(target=_stay_present, args=(_current, described), daemon=True)
    presence.start()
    log.info("%s is ready for %s on %s", name, ", ".join(queues), device)


def tear_down() -> None:
    """Release the models and leave the workers table."""
    global _current
    if _current is not None:
        _current.gone.set()
        _current.models.close()
        jobs.forget_worker(_current.name)
        _current = None


def current() -> WorkerProcess:
    """Return this worker process."""
    if _current is None:
        raise RuntimeError("this process was not set up as a worker")
    return _current


def _stay_present(here: WorkerProcess, described: dict[str, Any]) -> None:
    while not here.gone.wait(PRESENCE_S):
        try:
            if not jobs.worker_present(here.name):
                jobs.register_worker(here.name, state="ready", **described)  # forgotten in an outage
        except DatabaseUnavailableError as error:
            log.warning("%s could not say that it is present: %s", here.name, error)
