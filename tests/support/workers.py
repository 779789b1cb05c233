"""Real worker processes for tests."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from db import jobs
from tests.support.waiting import wait_for

ROOT = Path(__file__).parents[2]

FAST_SETTINGS = {
    "TRYON_RETRY_BACKOFF_S": "0.05",
    "TRYON_SWEEP_INTERVAL_S": "0.1",
    "TRYON_WAKE_GRACE_S": "1",
    "TRYON_LEASE_S": "2",
    "TRYON_HEARTBEAT_S": "0.3",
    "TRYON_DEVICE": "cpu",
}
"""Settings with which a dead worker is noticed within seconds."""


class WorkerProcess:
    """A Celery worker, started as in production; ready when the constructor returns."""

    def __init__(
        self, log: Path, *, app: str = "tests.support.app", queues: str = "cpu,gpu", **environment: str
    ) -> None:
        self.log = log
        earlier = {worker["name"] for worker in jobs.workers()}
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", app, "worker", "-Q", queues, "-n", f"{log.stem}@%h"],
                cwd=ROOT,
                env=os.environ | FAST_SETTINGS | environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        wait_for(lambda: self._ready(earlier), f"the worker to be ready; see {log}:\n{self.tail()}")

    def _ready(self, earlier: set[str]) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"the worker exited with {self.process.returncode}:\n{self.tail()}")
        return any(w["state"] == "ready" and w["name"] not in earlier for w in jobs.workers())

    def tail(self) -> str:
        return self.log.read_text()[-3000:]

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def stop(self) -> None:
        """Stop the worker with SIGTERM, and kill what is left of its session."""
        if self.alive:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def ended(job_id: str, timeout: float = 60) -> dict[str, Any]:
    """Return the job's status record once the job has finished."""
    record: dict[str, Any] = wait_for(
        lambda: (r := jobs.status(job_id))["status"] in ("succeeded", "failed", "canceled") and r,
        f"job {job_id} to finish; it is {jobs.status(job_id)}",
        timeout,
    )
    return record
