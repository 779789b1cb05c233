"""One process that starts the servers, the workers, the sweep and the dashboard, and stops them all."""

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType, TracebackType
from typing import Any, Self

import psutil

from config import queues
from config.settings import settings
from worker.machine.embedded.process import Process, ServerError
from worker.machine.embedded.servers import EmbeddedServers

log = logging.getLogger(__name__)

STOP_PATIENCE_S = 10.0
"""How long a worker may go on with its stage when it is told to stop; a killed stage is run again later."""

STEADY_S = 60.0
"""A child that lived this long did not crash at its start: its next restart comes at once."""

LONGEST_PAUSE_S = 30.0


@dataclass
class Child:
    """A supervised child process: how to start it, and how it has fared."""

    name: str
    command: Sequence[str]
    process: Process
    crashes: int = 0
    started_at: float = 0.0
    not_before: float = 0.0
    down: bool = field(default=False)


class Supervisor:
    """Everything on one machine, as a context manager; to be used from the main thread.

    Raises ServerError where a part does not start. SIGINT and SIGTERM raise KeyboardInterrupt in the main
    thread, and leaving the context stops the children first and the servers last.
    """

    def __init__(
        self,
        *,
        cpu_processes: int | None = None,
        flower_port: int | None = None,
        ready: Callable[["Supervisor"], bool] | None = None,
        commands: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Take the number of CPU stage processes, the dashboard's port if there is to be one, and a test
        of readiness; `commands` replaces the child processes."""
        self.data_dir = settings().data_dir.absolute()
        self.servers = EmbeddedServers(self.data_dir)
        self._ready = ready or _queues_are_served
        chosen = commands if commands is not None else default_commands(cpu_processes, flower_port)
        self.children = [
            Child(name, command, Process(name, self.data_dir / "logs" / f"{name}.log"))
            for name, command in chosen.items()
        ]
        self._handlers: dict[signal.Signals, Any] = {}
        self._hurry = False

    def start(self) -> None:
        """Start the servers, bring the tables up to date, start the children."""
        self.servers.start()
        from db import migrate

        migrate.upgrade()
        for child in self.children:
            self._start(child)

    def wait_ready(self, patience_s: float = 180.0) -> None:
        """Wait until the workers can take jobs.

        Raises ServerError with the end of a log when a child cannot start, or when patience ends.
        """
        deadline = time.monotonic() + patience_s
        while not self._ready(self):
            self.watch()
            for child in self.children:
                if child.crashes >= 3:
                    raise ServerError(f"{child.name} keeps ending.\n{child.process.tail()}")
            if time.monotonic() > deadline:
                tails = "\n".join(child.process.tail() for child in self.children)
                raise ServerError(f"The workers were not ready within {patience_s:g} s.\n{tails}")
            time.sleep(0.1)

    def run(self) -> None:
        """Keep everything running until SIGINT or SIGTERM."""
        try:
            while True:
                self.watch()
                time.sleep(0.2)
        except KeyboardInterrupt:
            return

    def watch(self) -> None:
        """Start again what has ended: servers at once, children after a pause that grows."""
        for name in self.servers.dead():
            log.error("%s ended by itself; starting it again", name)
            self.servers.restart(name)
        now = time.monotonic()
        for child in self.children:
            if not child.process.running and not child.down:
                self._note_end(child, now)
            if child.down and now >= child.not_before:
                self._start(child)

    def stop(self) -> None:
        """Stop the children, then the servers; safe to call twice."""
        try:
            stop_children(self.children, lambda: 0.0 if self._hurry else STOP_PATIENCE_S)
        finally:
            self.servers.stop()

    def descendants(self) -> set[int]:
        """Return the process ids of the children and of theirs."""
        found: set[int] = set()
        for child in self.children:
            if child.process.running:
                found.add(child.process.pid)
                try:
                    found.update(p.pid for p in psutil.Process(child.process.pid).children(recursive=True))
                except psutil.NoSuchProcess:
                    continue
        return found

    def _start(self, child: Child) -> None:
        child.process.start(
            child.command,
            environment=os.environ | self.servers.environment(),
            # At once: a worker whose servers are gone has nothing to finish for.
            death_signal=signal.SIGKILL,
        )
        child.started_at, child.down = time.monotonic(), False

    def _note_end(self, child: Child, now: float) -> None:
        code = child.process.child.returncode if child.process.child else None
        child.process.wait_or_kill(0)  # what it started and left
        if code == os.EX_CONFIG:
            raise ServerError(f"{child.name} cannot start.\n{child.process.tail()}")
        child.crashes = child.crashes + 1 if now - child.started_at < STEADY_S else 0
        pause = min(LONGEST_PAUSE_S, 2.0 ** (child.crashes - 1)) if child.crashes else 0.0
        child.down, child.not_before = True, now + pause
        log.error(
            "%s ended with exit status %s; starting it again in %g s (%s)",
            child.name,
            code,
            pause,
            child.process.log,
        )

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._handlers[number] = signal.signal(number, self._interrupt)
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
        for number in self._handlers:
            signal.signal(number, self._hasten)
        try:
            self.stop()
        finally:
            for number, handler in self._handlers.items():
                signal.signal(number, handler)
            self._handlers = {}

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    def _hasten(self, number: int, frame: FrameType | None) -> None:
        self._hurry = True


def stop_children(children: Sequence[Child], patience_s: Callable[[], float]) -> None:
    """Ask all children to end, wait together for as long as `patience_s` says, then kill their sessions."""
    running = [child for child in children if child.process.running]
    for child in running:
        child.process.signal(signal.SIGTERM)
    began = time.monotonic()
    while any(child.process.running for child in running) and time.monotonic() < began + patience_s():
        time.sleep(0.05)
    for child in children:
        if not child.process.wait_or_kill(0):
            log.warning("%s was still busy and was killed; its stage will run again", child.name)


def default_commands(cpu_processes: int | None, flower_port: int | None) -> dict[str, list[str]]:
    """Return the command of each child process."""
    celery = [sys.executable, "-m", "celery", "-A", "worker.app"]
    processes = cpu_processes or max(1, (os.cpu_count() or 1) // 2)
    commands = {
        f"worker-{queue}": [
            *(*celery, "worker", "-Q", queue, "-n", f"{queue}-{os.getpid()}@%h", "--loglevel", "INFO"),
            # Workers tell each other nothing that the rows do not; looking for neighbours takes a second.
            *("--without-mingle", "--without-gossip"),
            # A GPU worker counts its devices itself.
            *(["--concurrency", str(processes)] if queue == queues.CPU else []),
        ]
        for queue in queues.ALL
    }
    commands["sweep"] = [sys.executable, "-c", "from tasks.cli import main; main()", "sweep"]
    if flower_port is not None:
        commands["flower"] = [*celery, "flower", "--address=127.0.0.1", f"--port={flower_port}"]
    return commands


def _queues_are_served(supervisor: Supervisor) -> bool:
    """Whether each queue has a ready process among the supervisor's own; rows of the dead do not count."""
    from db import jobs

    ours = supervisor.descendants()
    served = {
        queue
        for worker in jobs.workers()
        if worker["pid"] in ours and worker["state"] in ("ready", "busy")
        for queue in worker["queues"]
    }
    return served.issuperset(queues.ALL)


@contextmanager
def everything(**options: Any) -> Iterator[Supervisor]:
    """Run everything and wait until it takes jobs."""
    with Supervisor(**options) as supervisor:
        supervisor.wait_ready()
        yield supervisor
