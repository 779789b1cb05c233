"""The worker's Celery application with the tiny network of FASHN VTON in place of the full-size one.

    celery -A tests.support.fashn_app worker -Q cpu,gpu

While the file `hold` is in the data folder, each drawing stays at the step HELD_STEP until the file is gone
or the job is canceled. The file `steps` lists the numbers of the steps that were drawn.
"""

from config.settings import settings
from tests.support import fashn_vton
from tests.support.waiting import wait_for
from worker.app import app
from worker.fashn_vton.steps import Steps

__all__ = ["app"]

HELD_STEP = 5

fashn_vton.install()

_report = Steps.__call__


def _report_and_hold(followed: Steps, step: int, steps: int) -> None:
    _report(followed, step, steps)
    with (settings().data_dir / "steps").open("a") as log:
        log.write(f"{step}\n")
    hold = settings().data_dir / "hold"
    if step == HELD_STEP:
        (inputs,) = followed._batch
        wait_for(lambda: inputs.canceled() or not hold.exists(), "the test to remove the file `hold`")


Steps.__call__ = _report_and_hold
