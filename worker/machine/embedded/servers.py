"""Starts the embedded servers that the settings do not replace, says where they are, and stops them."""

import json
import logging
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from config.endpoints import EMBEDDED_FILE
from config.settings import Settings, settings
from worker.machine.embedded.postgres import Postgres
from worker.machine.embedded.process import ServerError
from worker.machine.embedded.seaweedfs import SeaweedFS
from worker.machine.embedded.state import DataFolder, write_private
from worker.machine.embedded.valkey import Valkey

log = logging.getLogger(__name__)

NAMES = ("postgres", "valkey", "s3")

START_PATIENCE_S = 60.0
STOP_PATIENCE_S = 15.0


def missing(here: Settings) -> set[str]:
    """Return the servers that no setting replaces."""
    given = {"postgres": here.database_url, "valkey": here.broker_url, "s3": here.s3_endpoint_url}
    return {name for name, url in given.items() if url is None}


class EmbeddedServers:
    """The embedded servers of one data folder, as a context manager.

    Use it from the main thread: the servers end with the thread that started them, even when it is killed.
    """

    def __init__(self, data_dir: Path, only: Iterable[str] | None = None) -> None:
        """Take a data folder and the servers to start: those the settings leave open, or `only` these."""
        self.folder = DataFolder(data_dir)
        wanted = missing(settings()) if only is None else set(only)
        if unknown := wanted - set(NAMES):
            raise ValueError(f"no embedded server is called {', '.join(sorted(unknown))}; there are {NAMES}")
        self.postgres = Postgres(self.folder)
        self.valkey = Valkey(self.folder)
        self.s3 = SeaweedFS(self.folder)
        every: dict[str, Postgres | Valkey | SeaweedFS] = {
            "postgres": self.postgres,
            "valkey": self.valkey,
            "s3": self.s3,
        }
        self.servers = {name: server for name, server in every.items() if name in wanted}

    @property
    def endpoints(self) -> dict[str, str]:
        """Where the running servers are, by the names of the settings."""
        return {key: value for server in self.servers.values() for key, value in server.endpoints().items()}

    @property
    def file(self) -> Path:
        """The file that tells other processes where the servers are."""
        return self.folder.path / EMBEDDED_FILE

    def environment(self) -> dict[str, str]:
        """Return the environment variables that lead a child process to the servers and the data folder."""
        values = {"data_dir": str(self.folder.path), **self.endpoints}
        return {f"TRYON_{name.upper()}": value for name, value in values.items()}

    def start(self) -> None:
        """Start the servers and wait until they answer.

        Raises ServerError when the folder is in use or a server does not come up; none is left running.
        """
        self.folder.open()
        try:
            self.file.unlink(missing_ok=True)  # of a run that was killed
            self.folder.end_leftovers(
                {name: server.stop_signal for name, server in self.servers.items()}, STOP_PATIENCE_S
            )
            for name, server in self.servers.items():
                server.launch()
                self.folder.remember(name, server.process.pid)
            for server in self.servers.values():
                server.wait(START_PATIENCE_S)
            write_private(self.file, json.dumps(self.endpoints, indent=1))
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the servers; does nothing where they were not started, or were stopped already."""
        if not self.folder.held:
            return  # what the folder says may be another process's
        self.file.unlink(missing_ok=True)
        self._stop(self.servers)
        self.folder.close()

    def restart(self, name: str) -> None:
        """Stop one server in good order and start it again on the same port."""
        if name not in self.servers:
            raise ValueError(f"{name} is not one of the running servers {sorted(self.servers)}")
        self._stop([name])
        server = self.servers[name]
        before = server.port
        server.launch()
        self.folder.remember(name, server.process.pid)
        server.wait(START_PATIENCE_S)
        if server.port != before:
            raise ServerError(f"{name} lost its port {before} while it was away.")

    def dead(self) -> list[str]:
        """Return the servers that should run and do not."""
        return [name for name, server in self.servers.items() if not server.process.running]

    def _stop(self, names: Iterable[str]) -> None:
        running = {name: self.servers[name] for name in names if self.servers[name].process.running}
        for server in running.values():
            server.process.signal(server.stop_signal)
        deadline = time.monotonic() + STOP_PATIENCE_S
        for name, server in running.items():
            if not server.process.wait_or_kill(deadline - time.monotonic()):
                log.warning("%s did not stop within %g s and was killed", name, STOP_PATIENCE_S)
            self.folder.remember(name, None)
        if "s3" in running:
            self.s3.remove_sockets()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
