"""One process that starts the servers, the workers, the sweep and the dashboard, and stops all of them."""

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any, Self

import psutil

from config import queues
from config.settings import settings
from worker.machine.embedded.process import Process, ServerError
from worker.machine.embedded.servers import EmbeddedServers

log = logging.getLogger(__name__)

STOP_TIMEOUT_S = 10.0
"""Time that a worker may continue its stage after the signal to stop; a killed stage is retried later."""

READY_TIMEOUT_S = 180.0
"""Time until the workers must be ready: they load their models first."""

STABLE_S = 60.0
"""A child that ran this long did not crash at its start: it is restarted at once."""

MAX_RESTART_DELAY_S = 30.0
MAX_START_CRASHES = 3
"""Crashes of a child before the workers are ready; then `wait_ready` fails."""

READY_POLL_S = 0.1
WATCH_POLL_S = 0.2
STOP_POLL_S = 0.05


@dataclass
class Child:
    """A supervised child process.

    Attributes:
        name: its name in logs.
        command: the command that starts it.
        process: the process.
        crashes: consecutive ends within STABLE_S of a start.
        started_at: time of its last start, seconds of the monotonic clock.
        restart_at: earliest time of its next start, if it is down.
        down: whether it has ended and waits for its restart.
    """

    name: str
    command: Sequence[str]
    process: Process
    crashes: int = 0
    started_at: float = 0.0
    restart_at: float = 0.0
    down: bool = False


class Supervisor:
    """All processes of one machine, as a context manager for the main thread.

    Raises ServerError when a part does not start. SIGINT and SIGTERM raise KeyboardInterrupt in the main
    thread. Leaving the context stops the children first and the servers last; a second signal kills the
    children at once.
    """

    def __init__(
        self,
        *,
        cpu_processes: int | None = None,
        flower_port: int | None = None,
        api_port: int | None = None,
        ready: Callable[["Supervisor"], bool] | None = None,
        commands: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Create the children; nothing is started.

        Args:
            cpu_processes: number of processes for CPU stages. Default: half the cores.
            flower_port: port of the dashboard; None: no dashboard.
            api_port: port of the HTTP interface and the page; None: neither, and no sender of webhooks.
            ready: returns whether the workers can take jobs. Default: each queue has a ready process.
            commands: name -> command of each child. Default: `default_commands`.
        """
        self.data_dir = settings().data_dir.absolute()
        self.servers = EmbeddedServers(self.data_dir)
        self._ready = ready or _queues_are_served
        if commands is None:
            commands = default_commands(cpu_processes, flower_port, api_port)
        self.children = [
            Child(name, command, Process(name, self.data_dir / "logs" / f"{name}.log"))
            for name, command in commands.items()
        ]
        self._previous_handlers: dict[signal.Signals, Any] = {}
        self._stop_now = False

    def start(self) -> None:
        """Start the servers, upgrade the tables, start the children."""
        self.servers.start()
        from db import migrate

        migrate.upgrade()
        for child in self.children:
            self._start(child)

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait until the workers can take jobs.

        Raises ServerError, with the end of a log, when a child cannot start, or when the timeout is over.
        """
        deadline = time.monotonic() + timeout_s
        while not self._ready(self):
            self.watch()
            for child in self.children:
                if child.crashes >= MAX_START_CRASHES:
                    raise ServerError(f"{child.name} crashes repeatedly.\n{child.process.tail()}")
            if time.monotonic() > deadline:
                tails = "\n".join(child.process.tail() for child in self.children)
                raise ServerError(f"The workers were not ready within {timeout_s:g} s.\n{tails}")
            time.sleep(READY_POLL_S)

    def run(self) -> None:
        """Keep everything running until SIGINT or SIGTERM."""
        try:
            while True:
                self.watch()
                time.sleep(WATCH_POLL_S)
        except KeyboardInterrupt:
            return

    def watch(self) -> None:
        """Restart what has ended: servers at once, children with exponential backoff."""
        for name in self.servers.dead():
            log.error("%s ended unexpectedly; restarting it", name)
            self.servers.restart(name)
        now = time.monotonic()
        for child in self.children:
            if not child.process.running and not child.down:
                self._schedule_restart(child, now)
            if child.down and now >= child.restart_at:
                self._start(child)

    def stop(self) -> None:
        """Stop the children, then the servers; safe to call twice."""
        try:
            stop_children(self.children, lambda: 0.0 if self._stop_now else STOP_TIMEOUT_S)
        finally:
            self.servers.stop()

    def descendants(self) -> set[int]:
        """Return the process ids of the children and of their descendants."""
        pids: set[int] = set()
        for child in self.children:
            if child.process.running:
                pids.add(child.process.pid)
                try:
                    pids.update(p.pid for p in psutil.Process(child.process.pid).children(recursive=True))
                except psutil.NoSuchProcess:
                    continue
        return pids

    def _start(self, child: Child) -> None:
        child.process.start(
            child.command,
            environment=os.environ | self.servers.environment(),
            # SIGKILL: a worker without its servers cannot finish anything.
            death_signal=signal.SIGKILL,
        )
        child.started_at, child.down = time.monotonic(), False

    def _schedule_restart(self, child: Child, now: float) -> None:
        """Schedule the restart of a child that has ended.

        Raises ServerError when it ended because of its configuration.
        """
        code = child.process.child.returncode if child.process.child else None
        child.process.wait_or_kill(0)  # the processes that it started and left
        if code == os.EX_CONFIG:
            raise ServerError(f"{child.name} cannot start.\n{child.process.tail()}")
        child.crashes = child.crashes + 1 if now - child.started_at < STABLE_S else 0
        delay = min(MAX_RESTART_DELAY_S, 2.0 ** (child.crashes - 1)) if child.crashes else 0.0
        child.down, child.restart_at = True, now + delay
        log.error(
            "%s ended with exit status %s; restarting it in %g s (%s)",
            child.name,
            code,
            delay,
            child.process.log,
        )

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous_handlers[number] = signal.signal(number, self._interrupt)
        try:
            self.start()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        for number in self._previous_handlers:
            signal.signal(number, self._request_kill)
        try:
            self.stop()
        finally:
            for number, handler in self._previous_handlers.items():
                signal.signal(number, handler)
            self._previous_handlers = {}

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    def _request_kill(self, number: int, frame: FrameType | None) -> None:
        self._stop_now = True


def stop_children(children: Sequence[Child], timeout_s: Callable[[], float]) -> None:
    """Send SIGTERM to all children, wait for all together, then kill the sessions that still run.

    Args:
        children: the children.
        timeout_s: called during the wait; returns its length, which may change.
    """
    running = [child for child in children if child.process.running]
    for child in running:
        child.process.signal(signal.SIGTERM)
    started = time.monotonic()
    while any(child.process.running for child in running) and time.monotonic() < started + timeout_s():
        time.sleep(STOP_POLL_S)
    for child in children:
        if not child.process.wait_or_kill(0):
            log.warning("%s was still busy and was killed; its stage will be retried", child.name)


def default_commands(
    cpu_processes: int | None, flower_port: int | None, api_port: int | None = None
) -> dict[str, list[str]]:
    """Return the command of each child process."""
    celery = [sys.executable, "-m", "celery", "-A", "worker.app"]
    processes = cpu_processes or max(1, (os.cpu_count() or 1) // 2)
    commands = {
        f"worker-{queue}": [
            *(*celery, "worker", "-Q", queue, "-n", f"{queue}-{os.getpid()}@%h", "--loglevel", "INFO"),
            # Workers exchange nothing that the database does not have; looking for each other takes a second.
            *("--without-mingle", "--without-gossip"),
            # A GPU worker counts its devices itself.
            *(["--concurrency", str(processes)] if queue == queues.CPU else []),
        ]
        for queue in queues.ALL
    }
    tryon = [sys.executable, "-c", "from tasks.cli import main; main()"]
    commands["sweep"] = [*tryon, "sweep"]
    if api_port is not None:
        commands["api"] = [*tryon, "serve", "--port", str(api_port)]
        commands["webhooks"] = [*tryon, "webhooks", "send"]
    if flower_port is not None:
        commands["flower"] = [*tryon, "dashboard", "--address=127.0.0.1", f"--port={flower_port}"]
    return commands


def _queues_are_served(supervisor: Supervisor) -> bool:
    """Return whether each queue has a ready process of this supervisor; rows of dead workers do not count."""
    from db import jobs

    pids = supervisor.descendants()
    served = {
        queue
        for worker in jobs.workers()
        if worker["pid"] in pids and worker["state"] in ("ready", "busy")
        for queue in worker["queues"]
    }
    return served.issuperset(queues.ALL)
