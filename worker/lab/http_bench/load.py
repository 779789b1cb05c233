"""A server of the HTTP interface and clients that load it; measures the processor time of each."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import psutil
from sqlalchemy import text

from db import jobs, keys
from db.models import DEFAULT_TENANT
from db.session import engine
from worker.lab.http_bench.pollers import KEY_VARIABLE

PREFIX = "bench-http"
"""What the ids of the benchmark's jobs begin with."""

NO_RATE_LIMIT = "1000000"
"""Requests a second: all clients of the benchmark are one caller."""


def idle_jobs(number: int) -> list[str]:
    """Write queued jobs that no worker claims, because no worker has their stage; return their ids."""
    spec = jobs.StageSpec("idle", "idle", ())
    ids = [f"{PREFIX}-{time.time_ns()}-{index}" for index in range(number)]
    jobs.submit_all(
        [
            {
                "job_id": job_id,
                "person_key": "bench",
                "cloth_key": "bench",
                "options": {},
                "stages": [spec],
                "tenant": DEFAULT_TENANT,
            }
            for job_id in ids
        ]
    )
    return ids


def delete(job_ids: Sequence[str]) -> None:
    """Delete the jobs of a benchmark."""
    for job_id in job_ids:
        jobs.delete_job(job_id, reason="bench", removed={})


@dataclass
class Server:
    """A running server: its address and its process."""

    url: str
    process: "subprocess.Popen[str]"

    def cpu_s(self) -> float:
        """Return the processor time of the server and of its connections in Postgres, seconds."""
        query = text("SELECT pid FROM pg_stat_activity WHERE application_name = :name")
        with engine().connect() as connection:
            backends = connection.scalars(query, {"name": f"tryon-{self.process.pid}"}).all()
        return sum(_cpu_s(pid) for pid in (self.process.pid, *backends))


def _cpu_s(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:  # a connection that was closed
        return 0.0
    return float(times.user + times.system)


@contextmanager
def serving() -> Iterator[Server]:
    """Run a server of its own during the block."""
    command = [sys.executable, "-c", "from tasks.cli import main; main()", "serve", "--port", "0"]
    process = subprocess.Popen(  # noqa: S603 - our own command
        command,
        env=os.environ | {"TRYON_API_RATE_PER_S": NO_RATE_LIMIT},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Server(_address(process), process)
    finally:
        process.terminate()
        process.wait()
        _pipe(process.stdout).close()


def _address(process: "subprocess.Popen[str]") -> str:
    line = _pipe(process.stdout).readline()
    if not line.startswith("The page: "):
        raise RuntimeError(f"the server did not start: {line}")
    return line.removeprefix("The page: ").strip()


def _pipe(pipe: IO[str] | None) -> IO[str]:
    if pipe is None:
        raise RuntimeError("the process was started without pipes")
    return pipe


@contextmanager
def needed_key() -> Iterator[str | None]:
    """Give a key during the block where the system has keys; None where it has none, and needs none."""
    if not keys.keys_exist():
        yield None
        return
    key_id, key = keys.add_key(DEFAULT_TENANT, label="tryon bench http")
    try:
        yield key
    finally:
        keys.revoke_key(key_id)


class Clients:
    """Pollers and event streams, one poller for each job, while the block runs; then `figures` are there."""

    def __init__(self, server: Server, job_ids: Sequence[str], streams: int, key: str | None) -> None:
        self._server, self._job_ids, self._streams = server, job_ids, streams
        self._environment = os.environ | ({KEY_VARIABLE: key} if key else {})
        self.figures: dict[str, Any] = {}

    def __enter__(self) -> "Clients":
        command = [
            sys.executable,
            "-m",
            "worker.lab.http_bench.pollers",
            self._server.url,
            str(self._streams),
        ]
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=self._environment
        )
        stdin = _pipe(self._process.stdin)
        stdin.write("\n".join(self._job_ids) + "\n\n")
        stdin.flush()
        self._began, self._cpu_before_s = time.monotonic(), self._server.cpu_s()
        return self

    def __exit__(self, *_: object) -> None:
        seconds = time.monotonic() - self._began
        server_cpu_s = self._server.cpu_s() - self._cpu_before_s
        clients_cpu_s = _cpu_s(self._process.pid)
        output, _errors = self._process.communicate("stop\n")
        self.figures = json.loads(output) | {
            "seconds": round(seconds, 1),
            "server_cores": round(server_cpu_s / seconds, 3),
            "clients_cores": round(clients_cpu_s / seconds, 3),
        }
