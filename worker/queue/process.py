"""The state of a worker process: its name, its loaded models, and its row in the table of workers."""

import logging
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from config.settings import settings
from db import jobs
from db.session import DatabaseUnavailableError
from worker.machine import device as gpu
from worker.queue import traces
from worker.queue.health import Health
from worker.stages import table
from worker.stages.models import Models

log = logging.getLogger(__name__)

PRESENCE_INTERVAL_S = 10.0
"""Interval at which an idle worker process records that it is alive, seconds: one short UPDATE each."""


@dataclass(frozen=True)
class WorkerProcess:
    """This process, once it is ready to run stages.

    Attributes:
        name: host and process id; the key of its row in the table of workers.
        models: the models of its stages, loaded.
        stopping: set when the process stops.
        presence: the thread that records that the process is alive.
        health: whether the process can still run stages.
    """

    name: str
    models: Models
    stopping: threading.Event
    presence: threading.Thread
    health: Health = field(default_factory=Health)


_current: WorkerProcess | None = None


def set_up(queues: tuple[str, ...], device: str) -> None:
    """Load the models of these queues' stages, then report ready.

    An error of a model that cannot be loaded is written to the table of workers and raised.
    """
    global _current
    name = f"{socket.gethostname()}:{os.getpid()}"
    register = partial(jobs.register_worker, name, pid=os.getpid(), queues=queues, device=device)
    register(state="starting")
    try:
        models = Models(settings().models_dir, device)
        for stage in table.of_queues(queues):
            models.of(table.method(stage, device=device))
    except Exception as error:
        register(state="failed", message=f"{type(error).__name__}: {error}")
        raise
    register(state="ready")
    stopping = threading.Event()
    presence = threading.Thread(target=_stay_present, args=(name, device, stopping, register), daemon=True)
    presence.start()
    _current = WorkerProcess(name, models, stopping, presence)
    log.info("%s is ready for %s on %s", name, ", ".join(queues), device)


def tear_down() -> None:
    """Release the models and remove the process from the table of workers."""
    global _current
    if _current is not None:
        _current.stopping.set()
        _current.models.close()
        _current.presence.join()  # it must not register the process again
        jobs.forget_worker(_current.name)
        traces.flush()
        _current = None


def leave_if_broken() -> None:
    """End a process that cannot run stages any more, at once; the pool or the supervisor starts a new one.

    The row of the process says why. Nothing is closed: a lost GPU or a stopped graph may hang in it.
    """
    if _current is None or _current.health.broken is None:
        return
    log.critical("%s ends: %s", _current.name, _current.health.broken)
    try:
        jobs.fail_worker(_current.name, _current.health.broken)
        traces.flush()
    finally:
        logging.shutdown()
        os._exit(os.EX_SOFTWARE)


def current() -> WorkerProcess:
    """Return this worker process. Raises RuntimeError in a process without `set_up`."""
    if _current is None:
        raise RuntimeError("this process was not set up as a worker")
    return _current


def _stay_present(name: str, device: str, stopping: threading.Event, register: Callable[..., None]) -> None:
    """Record every `PRESENCE_INTERVAL_S` that the process is alive, and its GPU memory, until it stops."""
    while not stopping.wait(PRESENCE_INTERVAL_S):
        try:
            if not jobs.worker_present(name, gpu_bytes=gpu.memory(device)):
                register(state="ready")  # a sweep removed its row during an outage
        except DatabaseUnavailableError as error:
            log.warning("%s could not record that it is alive: %s", name, error)
        except Exception:
            log.exception("%s could not record that it is alive", name)
