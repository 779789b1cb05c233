"""The steps of a drawing as its jobs see them: progress, the time that is left, the end when canceled."""

import time
from collections.abc import Sequence
from datetime import timedelta

from config.errors import InputValidationError
from worker.contract import CanceledError, Progress, StageInput


class Steps:
    """Follows a batch that is drawn: call it after each step.

    Args:
        batch: the jobs' inputs.
    """

    def __init__(self, batch: Sequence[StageInput]) -> None:
        self._batch = batch
        self._started_at = time.perf_counter()

    def __call__(self, step: int, steps: int) -> None:
        """Report a step that is done. Raises CanceledError when all jobs are canceled."""
        if all(inputs.canceled() for inputs in self._batch):
            raise CanceledError
        step_s = (time.perf_counter() - self._started_at) / step
        self._report(Progress(step, steps, step_s * (steps - step)))

    def announce(self, steps: int, step_s: float) -> None:
        """Report what the drawing will take, before its first step.

        Args:
            steps: of the drawing.
            step_s: about how long each takes, seconds.

        Raises InputValidationError when that is more than the jobs' time limit.
        """
        total_s = steps * step_s
        limits = [inputs.time_limit_s for inputs in self._batch if inputs.time_limit_s is not None]
        if limits and total_s > min(limits):
            quality = self._batch[0].options["quality"]
            raise InputValidationError(
                f"The picture would take about {_words(total_s)} here: {steps} steps (quality={quality}) of "
                f"about {step_s:.0f} s on a processor. A stage may take {_words(min(limits))}. Use a GPU, or "
                "raise TRYON_STAGE_TIMEOUT_S.",
                input="quality",
            )
        self._report(Progress(0, steps, total_s))

    def _report(self, progress: Progress) -> None:
        for inputs in self._batch:
            inputs.report(progress)


def _words(seconds: float) -> str:
    """Return a duration as hours:minutes:seconds."""
    return str(timedelta(seconds=round(seconds)))
