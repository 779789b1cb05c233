"""Starts and stops the embedded servers that the settings do not replace, and publishes their endpoints."""

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

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0


def missing_servers(configuration: Settings) -> set[str]:
    """Return the servers for which the settings have no URL."""
    urls = {
        "postgres": configuration.database_url,
        "valkey": configuration.broker_url,
        "s3": configuration.s3_endpoint_url,
    }
    return {name for name, url in urls.items() if url is None}


class EmbeddedServers:
    """The embedded servers of one data folder, as a context manager.

    Use it from the main thread: the servers end with the thread that started them, even when it is killed.
    """

    def __init__(self, data_dir: Path, only: Iterable[str] | None = None) -> None:
        """Create the servers of a data folder; nothing is started.

        Args:
            data_dir: the data folder.
            only: names of the servers. Default: those for which the settings have no URL.
        """
        self.folder = DataFolder(data_dir)
        names = missing_servers(settings()) if only is None else set(only)
        if unknown := names - set(NAMES):
            raise ValueError(f"no embedded server is called {', '.join(sorted(unknown))}; there are {NAMES}")
        self.postgres = Postgres(self.folder)
        self.valkey = Valkey(self.folder)
        self.s3 = SeaweedFS(self.folder)
        all_servers: dict[str, Postgres | Valkey | SeaweedFS] = {
            "postgres": self.postgres,
            "valkey": self.valkey,
            "s3": self.s3,
        }
        self.servers = {name: server for name, server in all_servers.items() if name in names}

    @property
    def endpoints(self) -> dict[str, str]:
        """The endpoints of the running servers, by the names of the settings."""
        return {key: value for server in self.servers.values() for key, value in server.endpoints().items()}

    @property
    def file(self) -> Path:
        """The file from which other processes read the endpoints."""
        return self.folder.path / EMBEDDED_FILE

    def environment(self) -> dict[str, str]:
        """Return the environment variables that give a child process the endpoints and the data folder."""
        values = {"data_dir": str(self.folder.path), **self.endpoints}
        return {f"TRYON_{name.upper()}": value for name, value in values.items()}

    def start(self) -> None:
        """Start the servers and wait until they answer.

        Raises ServerError when the folder is in use or a server does not start; then none is left running.
        """
        self.folder.acquire()
        try:
            self.file.unlink(missing_ok=True)  # of an earlier run that was killed
            self.folder.stop_leftovers(
                {name: server.stop_signal for name, server in self.servers.items()}, STOP_TIMEOUT_S
            )
            for name, server in self.servers.items():
                server.launch()
                self.folder.record_process(name, server.process.pid)
            for server in self.servers.values():
                server.wait(START_TIMEOUT_S)
            write_private(self.file, json.dumps(self.endpoints, indent=1))
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the servers; does nothing if they were not started or are stopped already."""
        if not self.folder.acquired:
            return  # The files in the folder may belong to another process.
        self.file.unlink(missing_ok=True)
        self._stop(self.servers)
        self.folder.release()

    def restart(self, name: str) -> None:
        """Shut down one server and start it again on the same port.

        Raises ServerError when it does not start, or another process has taken its port.
        """
        if name not in self.servers:
            raise ValueError(f"{name} is not one of the running servers {sorted(self.servers)}")
        self._stop([name])
        server = self.servers[name]
        port_before = server.port
        server.launch()
        self.folder.record_process(name, server.process.pid)
        server.wait(START_TIMEOUT_S)
        if server.port != port_before:
            raise ServerError(f"{name} lost its port {port_before} during the restart.")

    def dead(self) -> list[str]:
        """Return the names of the servers that have ended."""
        return [name for name, server in self.servers.items() if not server.process.running]

    def _stop(self, names: Iterable[str]) -> None:
        running = {name: self.servers[name] for name in names if self.servers[name].process.running}
        for server in running.values():
            server.process.signal(server.stop_signal)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for name, server in running.items():
            if not server.process.wait_or_kill(deadline - time.monotonic()):
                log.warning("%s did not stop within %g s and was killed", name, STOP_TIMEOUT_S)
            self.folder.record_process(name, None)
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
