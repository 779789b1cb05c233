"""Commands, producers and workers of a system whose servers a test chooses."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import db.session
from config.settings import settings
from db import jobs
from tests.support.workers import FAST_SETTINGS, ROOT, WorkerProcess

COMMAND_TIMEOUT_S = 120
"""Far more than the time limits of a command together."""

SWEEP_STOP_TIMEOUT_S = 60
"""Longer than any time limit within a sweep."""

SEND = """
import json, sys
from celery import Celery
app = Celery("shop", broker=sys.argv[1])
app.send_task("tasks.tryon", json.loads(sys.argv[2]), task_id=sys.argv[3], queue="cpu")
"""
"""A shop's application that does not have this package, as in the README."""


@dataclass
class Stack:
    """A system with these settings.

    Attributes:
        environment: the variables in which it differs from the running embedded servers.
    """

    environment: dict[str, str] = field(default_factory=dict)

    def python(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a program in a process of its own."""
        return subprocess.run(
            [sys.executable, "-c", program, *arguments],
            cwd=ROOT,
            env=os.environ | FAST_SETTINGS | self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_TIMEOUT_S,
        )

    def tryon(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of `tryon`."""
        return self.python("from tasks.cli import main; main()", *arguments)

    def submit(self, *keys: str) -> dict[str, Any]:
        """Submit a try-on by the command line; it must be accepted."""
        submitted = self.tryon("submit", *keys, "--json")
        assert submitted.returncode == 0, submitted.stderr
        record: dict[str, Any] = json.loads(submitted.stdout)
        return record

    def send(self, broker_url: str, keys: tuple[str, str], job_id: str) -> None:
        """Send the message alone, from an application without this package."""
        sent = self.python(SEND, broker_url, json.dumps(keys), job_id)
        assert sent.returncode == 0, sent.stderr

    @contextmanager
    def worker(self, log):
        """A worker on both queues that runs the stub stages."""
        worker = WorkerProcess(log, **self.environment)
        try:
            yield worker
        finally:
            worker.stop()

    @contextmanager
    def sweep(self, log):
        """A running `tryon sweep`."""
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-c", "from tasks.cli import main; main()", "sweep"],
                cwd=ROOT,
                env=os.environ | FAST_SETTINGS | self.environment,
                stdout=output,
                stderr=output,
            )
        try:
            yield process
        finally:
            process.terminate()
            assert process.wait(SWEEP_STOP_TIMEOUT_S) == 0, log.read_text()[-3000:]

    @contextmanager
    def here(self, monkeypatch):
        """Use these settings in this process, too."""
        with monkeypatch.context() as patch:
            for name, value in self.environment.items():
                patch.setenv(name, value)
            db.session.dispose()
            settings.cache_clear()
            yield
            db.session.dispose()
        settings.cache_clear()


def known(job_id: str) -> bool:
    """Return whether a job has the id."""
    try:
        return bool(jobs.status(job_id))
    except jobs.UnknownJobError:
        return False
