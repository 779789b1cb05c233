"""The worker's Celery application of the soak: stub stages that record their ends and can break on request.

    celery -A tests.soak.app worker -Q cpu,gpu

A person whose object is `POISON` kills the process that computes its pose. The process that removes the file
`SICK_REQUEST` first has a lost GPU from then on: each of its stages raises CUDA's error.
"""

import os
import signal

from config.settings import settings
from tests.support import quick

quick.install()

from db import jobs  # noqa: E402 - the stubs are installed first
from worker.app import app  # noqa: E402 - the stubs are installed first

__all__ = ["app"]

POISON = b"kill the worker"
SICK_REQUEST = "sick-request"
SICK_PROCESS = "sick-process"
FINISHES = "finishes"

_is_sick = False


def _run(self, model, inputs):
    if inputs.sources.get("person") == POISON and self._stage == "pose":
        os.kill(os.getpid(), signal.SIGKILL)
    if _becomes_sick():
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
    return model(inputs)


def _becomes_sick() -> bool:
    """Return whether this process is sick: it took the request now, or earlier."""
    global _is_sick
    folder = settings().data_dir
    try:
        # One step: a kill between taking the request and telling who took it would hide the process.
        (folder / SICK_REQUEST).rename(folder / f"{SICK_PROCESS}-{os.getpid()}")
    except FileNotFoundError:
        return _is_sick
    _is_sick = True
    return True


def _finish(claim, **values):
    """Finish the stage, and record that it succeeded: a stage must not succeed twice."""
    wake_ups = _finish_stage(claim, **values)
    if wake_ups is not None:
        with (settings().data_dir / FINISHES).open("a") as log:
            log.write(f"{claim.job_id} {claim.stage}\n")
    return wake_ups


_finish_stage = jobs.finish
quick.Stub.run = _run
jobs.finish = _finish
