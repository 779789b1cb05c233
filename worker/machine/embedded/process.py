"""A child process with its own session and log file, which leaves no processes behind when it ends."""

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
"""Size in bytes above which a log is rotated at the next start."""

POLL_INTERVAL_S = 0.02
"""Time between two checks whether a server is ready."""

TAIL_LINES = 15
"""Last lines of a log that an error message quotes."""

_PRIVATE_FOLDER, _PRIVATE_FILE = 0o700, 0o600
"""Modes of the folder of logs and of a log: keys of pictures may be in them."""


class ServerError(Exception):
    """A server or worker did not start or did not answer; the message has the end of its log."""


@dataclass(frozen=True)
class User:
    """The user of a child process, if it differs from the user of its parent.

    Attributes:
        uid, gid: the user's and group's id.
        keep_search: whether the process may traverse folders that are closed to the user.
    """

    uid: int
    gid: int
    keep_search: bool = False


def command_line(
    command: Sequence[str | Path], death_signal: signal.Signals, user: User | None = None
) -> list[str]:
    """Return the command, wrapped so that it ends with this process and runs as `user`."""
    user_argument = f"{user.uid}:{user.gid}:{int(user.keep_search)}" if user else "-"
    launcher = [sys.executable, "-I", "-S", launch.__file__, str(os.getpid()), str(int(death_signal))]
    return [*launcher, user_argument, *map(str, command)]


class Process:
    """One child process and its log."""

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self.log = log
        self.child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id. Raises ServerError if the process was never started."""
        if self.child is None:
            raise ServerError(f"{self.name} has not been started")
        return self.child.pid

    @property
    def running(self) -> bool:
        """Whether the process was started and has not ended."""
        return self.child is not None and self.child.poll() is None

    def start(
        self,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str],
        death_signal: signal.Signals,
        user: User | None = None,
    ) -> None:
        """Start the command in its own session: Ctrl-C in the terminal reaches only the parent.

        Call this from the main thread: the child ends with the thread that started it.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log.parent.chmod(_PRIVATE_FOLDER)
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT:
            self.log.replace(self.log.with_suffix(".log.1"))
        with open(os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, _PRIVATE_FILE), "ab") as log:
            os.fchmod(log.fileno(), _PRIVATE_FILE)  # one of an earlier version may be open to others
            self.child = subprocess.Popen(  # noqa: S603 - no shell; the caller chooses the command
                command_line(command, death_signal, user),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                start_new_session=True,
            )

    def wait_until(
        self, ready: Callable[[], None], timeout_s: float, *not_ready_errors: type[Exception]
    ) -> None:
        """Wait until `ready` returns; it raises one of `not_ready_errors` while the process is not ready.

        Raises ServerError, with the end of the log, when the process ends first or the timeout is over.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            if self.child is None or self.child.poll() is not None:
                code = self.child.returncode if self.child else None
                raise ServerError(f"{self.name} ended with exit status {code}.\n{self.tail()}")
            try:
                return ready()
            except not_ready_errors as error:
                if time.monotonic() > deadline:
                    raise ServerError(
                        f"{self.name} did not answer within {timeout_s:g} s ({error}).\n{self.tail()}"
                    ) from error
            time.sleep(POLL_INTERVAL_S)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if the process is still running."""
        if self.child is not None:
            self.child.send_signal(number)

    def wait_or_kill(self, timeout_s: float) -> bool:
        """Wait for a process that was told to stop, then kill what is left of its session.

        Returns whether the process ended before the timeout.
        """
        if self.child is None:
            return True
        try:
            self.child.wait(max(0.0, timeout_s))
            ended = True
        except subprocess.TimeoutExpired:
            ended = False
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, signal.SIGKILL)  # the session: also children that outlived the process
        self.child.wait()
        return ended

    def tail(self, lines: int = TAIL_LINES) -> str:
        """Return the last lines of the log, with the log's path."""
        try:
            text = self.log.read_text(errors="replace")
        except FileNotFoundError:
            text = ""
        end = "\n".join(f"    {line}" for line in text.splitlines()[-lines:])
        return f"The end of {self.log}:\n{end}"
