"""The servers, the sweep and the workers of a soak, and the ways to break them."""

import os
import random
import signal
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import psutil
import redis
from sqlalchemy import text

import db.session
from config.settings import settings
from db import jobs
from db.migrate import upgrade
from db.session import engine
from tests.soak.app import SICK_PROCESS, SICK_REQUEST
from tests.support.waiting import wait_for
from tests.support.workers import FAST_SETTINGS, ROOT
from worker.artifacts.storage import storage
from worker.machine.embedded.process import Process
from worker.machine.embedded.servers import NAMES, EmbeddedServers

SETTINGS = FAST_SETTINGS | {
    # A busy machine must not make a live worker miss its lease: each lost attempt must have its kill.
    "TRYON_LEASE_S": "6",
    "TRYON_HEARTBEAT_S": "0.5",
    "TRYON_S3_CONNECT_TIMEOUT_S": "1",
    "TRYON_S3_READ_TIMEOUT_S": "2",
    "TRYON_POSTPONE_MAX_S": "3",
}
"""Faults are noticed within seconds, so that a soak of minutes has many of them."""

WORKERS = 2
PROCESSES_PER_WORKER = 3
START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 10


class Stack:
    """Embedded servers, one sweep and some workers with stub stages, as a context manager.

    Use it from the main thread: its processes end with the thread that started them.

    Attributes:
        kills: how many worker processes or whole workers were killed.
        victims: (job id, stage) of each stage that ran in a killed process, once for each kill.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.servers = EmbeddedServers(folder, only=NAMES)
        self.kills = 0
        self.victims: list[tuple[str, str]] = []
        self._random = random.Random(seed)
        self._environment: dict[str, str] = {}
        self._processes: dict[str, Process] = {}
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            opened.enter_context(self.servers)
            self._environment = os.environ | SETTINGS | self.servers.environment()
            os.environ.update(self._environment)
            settings.cache_clear()
            opened.callback(db.session.dispose)
            upgrade()
            storage().ensure_buckets()
            opened.callback(self._stop_processes)
            self._start("sweep", "-c", "from tasks.cli import main; main()", "sweep")
            for number in range(WORKERS):
                self._start_worker(f"worker-{number}")
            wait_for(
                lambda: len(self._ready()) >= WORKERS * PROCESSES_PER_WORKER,
                f"the workers to be ready; see {self.folder / 'logs'}",
                START_TIMEOUT_S,
            )
            self._exit = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def kill_something(self) -> None:
        """SIGKILL one process of a worker's pool, or a whole worker, which is started again."""
        sick = self.sick_pid()
        name = self._random.choice(sorted(name for name in self._processes if name.startswith("worker")))
        worker = self._processes[name]
        pool = [child.pid for child in psutil.Process(worker.pid).children(recursive=True)]
        if sick in pool:
            return  # it has to leave on its own
        if self._random.random() < 0.25 or not pool:
            worker.wait_or_kill(0)
            killed = [*pool, worker.pid]
        else:
            killed = [self._random.choice(pool)]
            os.kill(killed[0], signal.SIGKILL)
        self.kills += 1
        self._record_victims(killed)
        if not worker.running:
            self._start_worker(name)

    def flush_broker(self) -> None:
        """Let the broker lose everything."""
        with redis.Redis.from_url(self.servers.endpoints["broker_url"]) as client:
            client.flushall()

    def restart_database(self) -> None:
        """Restart Postgres."""
        self.servers.restart("postgres")

    def stop_store(self) -> None:
        """Stop the object store."""
        self.servers.servers["s3"].process.wait_or_kill(0)

    def start_store(self) -> None:
        """Start the object store again."""
        self.servers.restart("s3")

    def freeze_store(self) -> None:
        """Freeze the object store: it accepts connections and answers nothing."""
        os.kill(self.servers.servers["s3"].process.pid, signal.SIGSTOP)

    def thaw_store(self) -> None:
        """Let the frozen object store go on."""
        os.kill(self.servers.servers["s3"].process.pid, signal.SIGCONT)

    def make_a_worker_sick(self) -> None:
        """Let the next stage find that its process has lost its GPU."""
        (self.folder / SICK_REQUEST).touch()

    def sick_pid(self) -> int | None:
        """Return the id of the sick process while it lives."""
        pids = [int(file.name.rsplit("-", 1)[1]) for file in self.folder.glob(f"{SICK_PROCESS}-*")]
        return next((pid for pid in pids if psutil.pid_exists(pid)), None)

    def sick_worker_left(self) -> bool:
        """Return whether a process became sick and has ended."""
        return any(self.folder.glob(f"{SICK_PROCESS}-*")) and self.sick_pid() is None

    def _record_victims(self, pids: list[int]) -> None:
        """Record which stages ran in these processes, once their last transactions have ended."""
        clients = [f"tryon-{pid}" for pid in pids]
        connected = text("SELECT count(*) FROM pg_stat_activity WHERE application_name = ANY(:clients)")
        running = text(
            "SELECT job_id, name FROM stages WHERE status = 'running' "
            "AND split_part(worker, ':', 2)::int = ANY(:pids)"
        )

        def disconnected() -> bool:
            with engine().connect() as connection:
                return not connection.execute(connected, {"clients": clients}).scalar()

        wait_for(disconnected, "the killed processes' connections to end")
        with engine().connect() as connection:
            self.victims += [tuple(row) for row in connection.execute(running, {"pids": pids})]

    def _ready(self) -> list[str]:
        return [worker["name"] for worker in jobs.workers() if worker["state"] in ("ready", "busy")]

    def _start_worker(self, name: str) -> None:
        options = ("-Q", "cpu,gpu", "-n", f"{name}@%h", "--without-mingle", "--without-gossip")
        concurrency = ("--concurrency", str(PROCESSES_PER_WORKER))
        self._start(name, "-m", "celery", "-A", "tests.soak.app", "worker", *options, *concurrency)

    def _start(self, name: str, *arguments: str) -> None:
        assert threading.current_thread() is threading.main_thread()
        self._processes[name] = Process(name, self.folder / "logs" / f"{name}.log")
        self._processes[name].start(
            [sys.executable, *arguments],
            environment=self._environment | {"PYTHONPATH": str(ROOT)},
            death_signal=signal.SIGKILL,
        )

    def _stop_processes(self) -> None:
        for process in self._processes.values():
            process.signal(signal.SIGTERM)
        for process in self._processes.values():
            process.wait_or_kill(STOP_TIMEOUT_S)
