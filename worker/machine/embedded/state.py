"""The data folder of the embedded servers: its lock, and the ports, passwords and process ids it stores."""

import fcntl
import json
import os
import random
import secrets
import signal
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import psutil

from worker.machine.embedded.process import ServerError

_PORTS = range(15_000, 32_000)
"""Below the range that Linux uses for outgoing connections, so that no connection takes a chosen port."""

_PORT_ATTEMPTS = 50  # random ports that are tried before the search fails

_PASSWORD_BYTES = 20

_START_TIME_TOLERANCE_S = 1.0
"""Two start times that differ by less are those of one process; else its id was reused."""


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, completely or not at all."""
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


class DataFolder:
    """The folder of all embedded servers, locked by one process at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._state_file = self.path / "servers.json"
        self._lock: IO[str] | None = None
        self._state: dict[str, Any] = {}

    @property
    def acquired(self) -> bool:
        """Whether this object has locked the folder."""
        return self._lock is not None

    def acquire(self) -> None:
        """Lock the folder and read its state.

        Raises ServerError when another process has locked it, it is not writable, or its state is damaged.
        """
        self._lock = self._locked_file()
        try:
            self._state = json.loads(self._state_file.read_text())
        except FileNotFoundError:
            self._state = {}
        except ValueError as error:
            self.release()
            raise ServerError(
                f"{self._state_file} is damaged ({error}). It contains the passwords of the data next to it: "
                f"repair it, or move {self.path} away to start with empty servers."
            ) from error
        self._state.setdefault("ports", {})
        self._state.setdefault("passwords", {})
        self._state.setdefault("processes", {})

    def release(self) -> None:
        """Unlock the folder."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def ports(self, *names: str) -> list[int]:
        """Return a free port on the loopback for each name: the port of the last run if it is still free."""
        ports = []
        with ExitStack() as open_sockets:
            for name in names:
                probe = open_sockets.enter_context(_bound_socket(self._state["ports"].get(name)))
                ports.append(probe.getsockname()[1])
        self._state["ports"].update(zip(names, ports, strict=True))
        self._save()
        return ports

    def password(self, name: str) -> str:
        """Return a random password, which stays the same for this folder."""
        passwords = self._state["passwords"]
        if name not in passwords:
            passwords[name] = secrets.token_hex(_PASSWORD_BYTES)
            self._save()
        return str(passwords[name])

    def record_process(self, name: str, pid: int | None) -> None:
        """Store the process id of a running server, or None when it has ended."""
        if pid is None:
            self._state["processes"].pop(name, None)
        else:
            self._state["processes"][name] = [pid, psutil.Process(pid).create_time()]
        self._save()

    def stop_leftovers(self, stop_signals: dict[str, signal.Signals], timeout_s: float) -> None:
        """Stop the servers that an earlier, killed run left behind: by their signal, then by SIGKILL."""
        leftovers = {}
        for name, (pid, created) in self._state["processes"].items():
            try:
                process = psutil.Process(pid)
                if abs(process.create_time() - created) < _START_TIME_TOLERANCE_S:
                    leftovers[name] = process
                    process.send_signal(stop_signals.get(name, signal.SIGTERM))
            except psutil.NoSuchProcess:
                continue
        _, still_running = psutil.wait_procs(leftovers.values(), timeout=timeout_s)
        for process in still_running:
            process.kill()
        psutil.wait_procs(still_running, timeout=timeout_s)
        self._state["processes"] = {}
        self._save()

    def _locked_file(self) -> IO[str]:
        """Return the lock file, locked, with this process's id as its content."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = (self.path / "embedded.lock").open("a+")
        except OSError as error:
            raise ServerError(
                f"The data folder {self.path} cannot be written ({error.strerror}). "
                "Set TRYON_DATA_DIR to a folder of your own."
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            owner = lock.read().strip() or "unknown"
            lock.close()
            raise ServerError(
                f"Embedded servers already run in {self.path} (process {owner}). "
                "Stop them, or set TRYON_DATA_DIR to another folder."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        return lock

    def _save(self) -> None:
        write_private(self._state_file, json.dumps(self._state, indent=1))


def _bound_socket(preferred_port: int | None) -> socket.socket:
    """Return a socket on a free port of the loopback. Raises ServerError if none is found."""
    candidates = [preferred_port] if preferred_port is not None else []
    candidates += random.sample(_PORTS, _PORT_ATTEMPTS)
    for port in candidates:
        probe = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            probe.close()
            continue
        return probe
    raise ServerError("No free port was found on 127.0.0.1.")
