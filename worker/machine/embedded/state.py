"""What the embedded servers keep between runs: ports, passwords, and who is running now."""

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

# Below the range from which Linux takes ports for outgoing connections, so that none is taken in between.
_PORTS = range(15_000, 32_000)


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


class DataFolder:
    """The one folder of everything embedded, held by one process at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._file = self.path / "servers.json"
        self._lock: IO[str] | None = None
        self._kept: dict[str, Any] = {}

    @property
    def held(self) -> bool:
        """Whether this object has taken the folder."""
        return self._lock is not None

    def open(self) -> None:
        """Take the folder.

        Raises ServerError when another process holds it or it belongs to someone else.
        """
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
            holder = lock.read().strip() or "unknown"
            lock.close()
            raise ServerError(
                f"Embedded servers already run in {self.path} (process {holder}). "
                "Stop them, or set TRYON_DATA_DIR to another folder."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock
        try:
            self._kept = json.loads(self._file.read_text())
        except FileNotFoundError:
            self._kept = {}
        except ValueError as error:
            self.close()
            raise ServerError(
                f"{self._file} is damaged ({error}). It holds the passwords of the data beside it: "
                f"mend it, or move {self.path} away to begin anew."
            ) from error
        self._kept.setdefault("ports", {})
        self._kept.setdefault("passwords", {})
        self._kept.setdefault("processes", {})

    def close(self) -> None:
        """Let go of the folder."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def ports(self, *names: str) -> list[int]:
        """Return a free port on the loopback for each name: the one of the last run if nobody has it."""
        chosen = []
        with ExitStack() as held:
            for name in names:
                probe = held.enter_context(_bound(self._kept["ports"].get(name)))
                chosen.append(probe.getsockname()[1])
        self._kept["ports"].update(zip(names, chosen, strict=True))
        self._save()
        return chosen

    def password(self, name: str) -> str:
        """Return a random password that stays the same for this folder."""
        passwords = self._kept["passwords"]
        if name not in passwords:
            passwords[name] = secrets.token_hex(20)
            self._save()
        return str(passwords[name])

    def remember(self, name: str, pid: int | None) -> None:
        """Note the running process of a server, or that it has ended."""
        if pid is None:
            self._kept["processes"].pop(name, None)
        else:
            self._kept["processes"][name] = [pid, psutil.Process(pid).create_time()]
        self._save()

    def end_leftovers(self, signals: dict[str, signal.Signals], patience_s: float) -> None:
        """End servers of an earlier run that was killed: first with their signal, then for good."""
        left = {}
        for name, (pid, created) in self._kept["processes"].items():
            try:
                process = psutil.Process(pid)
                if abs(process.create_time() - created) < 1:
                    left[name] = process
                    process.send_signal(signals.get(name, signal.SIGTERM))
            except psutil.NoSuchProcess:
                continue
        _, stubborn = psutil.wait_procs(left.values(), timeout=patience_s)
        for process in stubborn:
            process.kill()
        psutil.wait_procs(stubborn, timeout=patience_s)
        self._kept["processes"] = {}
        self._save()

    def _save(self) -> None:
        write_private(self._file, json.dumps(self._kept, indent=1))


def _bound(wanted: int | None) -> socket.socket:
    candidates = [wanted] if wanted is not None else []
    candidates += random.sample(_PORTS, 50)
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
