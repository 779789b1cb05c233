"""A server as a child process: its own session, a log file, an end that leaves nothing behind."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from worker.machine.embedded import launch

LOG_LIMIT = 10_000_000
"""Size from which a log is set aside at the next start, bytes."""


class ServerError(Exception):
    """A server or worker could not be started or did not answer; the message has the end of its log."""


@dataclass(frozen=True)
class User:
    """Whom a child runs as, where that is not the user who started it."""

    uid: int
    gid: int
    keep_search: bool = False
    """Whether it may pass through folders that are closed to it."""


def command_line(
    command: Sequence[str | Path], death_signal: signal.Signals, user: User | None = None
) -> list[str]:
    """Return the command wrapped so that it ends with this process and runs as `user`."""
    who = f"{user.uid}:{user.gid}:{int(user.keep_search)}" if user else "-"
    launcher = [sys.executable, "-I", "-S", launch.__file__, str(os.getpid()), str(int(death_signal)), who]
    return [*launcher, *map(str, command)]


class Process:
    """One child process and its log."""

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self.log = log
        self.child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id, of a process that has been started."""
        if self.child is None:
            raise ServerError(f"{self.name} has not been started")
        return self.child.pid

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self.child is not None and self.child.poll() is None

    def start(
        self,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str],
        death_signal: signal.Signals,
        user: User | None = None,
    ) -> None:
        """Start the command in a session of its own: Ctrl-C in the terminal reaches only the parent.

        Call it from the main thread: the child ends with the thread that started it.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT:
            self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(
                command_line(command, death_signal, user),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                start_new_session=True,
            )

    def wait_until(self, ready: Callable[[], None], patience_s: float, *passing: type[Exception]) -> None:
        """Wait until `ready` returns; the `passing` exceptions are what it raises while it is too early.

        Raises ServerError with the end of the log when the process ends first or patience does.
        """
        deadline = time.monotonic() + patience_s
        while True:
            if self.child is None or self.child.poll() is not None:
                code = self.child.returncode if self.child else None
                raise ServerError(f"{self.name} ended with exit status {code}.\n{self.tail()}")
            try:
                return ready()
            except passing as error:
                if time.monotonic() > deadline:
                    raise ServerError(
                        f"{self.name} did not answer within {patience_s:g} s ({error}).\n{self.tail()}"
                    ) from error
            time.sleep(0.02)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if the process is still there."""
        if self.child is not None:
            self.child.send_signal(number)

    def wait_or_kill(self, patience_s: float) -> bool:
        """Wait for the end that a signal asked for, then kill what is left.

        Returns whether the process ended by itself.
        """
        if self.child is None:
            return True
        try:
            self.child.wait(max(0.0, patience_s))
            ended = True
        except subprocess.TimeoutExpired:
            ended = False
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, signal.SIGKILL)  # its session, so also children that outlived it
        self.child.wait()
        return ended

    def tail(self, lines: int = 15) -> str:
        """Return the end of the log, with the log's path."""
        try:
            text = self.log.read_text(errors="replace")
        except FileNotFoundError:
            text = ""
        end = "\n".join(f"    {line}" for line in text.splitlines()[-lines:])
        return f"The end of {self.log}:\n{end}"
