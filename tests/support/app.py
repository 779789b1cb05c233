"""The worker's Celery application with stub stages, and the kills that a test requests.

    celery -A tests.support.app worker -Q cpu,gpu

``TEST_KILL=point:stage:target`` sends SIGKILL at one of `POINTS` of a stage, to the ``child`` that runs it or
to the whole ``worker``, once for each character in ``TEST_KILL_FILE``.
"""

import os
import signal
from pathlib import Path

from tests.support import quick

quick.install()

from db import jobs  # noqa: E402 - the stubs are installed first
from worker.app import app  # noqa: E402 - the stubs are installed first
from worker.artifacts.storage import Storage  # noqa: E402 - the stubs are installed first
from worker.queue import runner  # noqa: E402 - the stubs are installed first

__all__ = ["app"]

POINTS = ("claimed", "computed", "uploaded", "finishing", "finished", "woken")


def _kill(point: str, stage: str) -> None:
    requested = os.environ.get("TEST_KILL", "").split(":")
    if requested[:2] != [point, stage]:
        return
    kill_file = Path(os.environ["TEST_KILL_FILE"])
    remaining = kill_file.read_text()
    if not remaining:
        return
    kill_file.write_text(remaining[1:])
    if requested[2] == "worker":
        os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def _around(owner, name, *, before=None, after=None, stage_of):
    original = getattr(owner, name)

    def wrapped(*args, **kwargs):
        if before:
            _kill(before, stage_of(args))
        value = original(*args, **kwargs)
        if after:
            _kill(after, stage_of(args))
        return value

    setattr(owner, name, wrapped)


_around(jobs, "claim_next", after="claimed", stage_of=lambda args: args[0])
_around(
    Storage,
    "put_artifact",
    before="computed",
    after="uploaded",
    stage_of=lambda args: args[1].split("/")[1],
)
_around(jobs, "finish", before="finishing", after="finished", stage_of=lambda args: args[0].stage)
_around(runner, "run_stage", after="woken", stage_of=lambda args: args[0])
