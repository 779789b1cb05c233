"""Whether this worker process can run stages, and how long it pauses while something outside is away."""

import logging
import time

from config.errors import TryonError, WorkerError
from config.settings import settings

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.5
"""Pause before the next claim after one postponed stage, seconds; it doubles while the outage lasts."""

MAX_PAUSE_S = 8.0
"""Longest pause before a claim, seconds: a store that is back is noticed this soon by every worker."""

_GPU_SIGNS = ("CUDA error", "cuDNN error", "CUBLAS_STATUS", "device-side assert", "CUDA-capable device")
"""In the message of an exception: the CUDA context is lost; PyTorch cannot recover it in this process."""

_GRAPH_SIGNS = ("CalculatorGraph", "Graph has errors")
"""In the message of an exception: MediaPipe's graph has stopped and fails every later picture."""


class Health:
    """The state of one worker process.

    Attributes:
        broken: why the process must end, or None.
    """

    def __init__(self) -> None:
        self.broken: str | None = None
        self._outages_in_row = 0
        self._jobs_with_unforeseen_errors: set[str] = set()

    def pause(self) -> None:
        """Wait before the next claim while something outside is away."""
        if self._outages_in_row:
            time.sleep(min(MAX_PAUSE_S, FIRST_PAUSE_S * 2.0 ** (self._outages_in_row - 1)))

    def succeeded(self) -> None:
        """Record an attempt that ended with an artifact or with an error of the job's own."""
        self._outages_in_row = 0
        self._jobs_with_unforeseen_errors.clear()

    def failed(self, job_id: str, error: TryonError, *, unforeseen: bool) -> bool:
        """Record a failed attempt; return whether its stage goes back without an attempt.

        Args:
            job_id: the job of the attempt. One job that fails again and again does not make a worker broken.
            error: with which it failed.
            unforeseen: whether it was an exception that has no name of its own.
        """
        if isinstance(error, WorkerError):
            self.broken = error.message
        elif error.outage:
            self._outages_in_row += 1
        elif unforeseen:
            self._jobs_with_unforeseen_errors.add(job_id)
            if len(self._jobs_with_unforeseen_errors) >= settings().max_unforeseen_errors:
                self.broken = (
                    f"{len(self._jobs_with_unforeseen_errors)} jobs in a row ended in unforeseen errors, the "
                    f"last in {error.message}"
                )
        else:
            self.succeeded()
        return error.outage or self.broken is not None


def breaks_worker(problem: Exception) -> bool:
    """Return whether an exception says that this process cannot run stages any more."""
    text = f"{type(problem).__name__}: {problem}"
    return any(sign in text for sign in (*_GPU_SIGNS, *_GRAPH_SIGNS))
