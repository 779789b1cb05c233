"""One attempt at a stage of a job: from the claimed row to the stored artifact, or to a named error."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from billiard.exceptions import SoftTimeLimitExceeded

from config import logs
from config.errors import InternalError, JobTimeoutError, OutOfMemoryError, TryonError
from config.settings import settings
from db import jobs
from db.session import DatabaseUnavailableError
from worker.artifacts.bundle import Packed, pack, unpack
from worker.artifacts.storage import Storage, storage
from worker.contract import Bundle, Method, StageInput
from worker.images.decode import encode
from worker.stages import table
from worker.stages.models import Models

log = logging.getLogger(__name__)

SendWakeUps = Callable[[list[jobs.WakeUp]], object]
"""Sends the wake-ups of stages that became ready."""


class Attempt:
    """One claim of a stage: call `begin`, then `compute`; in a batch, `begin`, then `complete`.

    An error concerns this job only: it is written to the job's row and kept in `error`, not raised.
    Only DatabaseUnavailableError is raised, when the row cannot be written: the lease then expires and the
    sweep makes the stage ready again.

    Attributes:
        claim: the claim of the stage.
        row: the stage's row in the table.
        inputs: what the stage's method reads; set when `begin` returns True.
        method: what computes the stage; set by `begin`.
        succeeded: whether the stage succeeded and the claim was still valid.
        error: the error with which the attempt failed, or None.
    """

    inputs: StageInput
    method: Method

    def __init__(self, claim: jobs.Claim, *, models: Models, wake: SendWakeUps) -> None:
        self.claim = claim
        self.row = table.stage(claim.stage)
        self.succeeded = False
        self.error: TryonError | None = None
        self._models = models
        self._wake = wake
        self._started_at = time.perf_counter()
        logs.hide({claim.person_key: "person", claim.cloth_key: "cloth"})

    def begin(self) -> bool:
        """Look the artifact up. True: it has to be computed here. False: the attempt has ended."""
        with self._recording_errors():
            claim, row, store = self.claim, self.row, storage()
            names = {"person": claim.person_key, "cloth": claim.cloth_key}
            sources = {
                source: store.get_input(names[source], max_bytes=settings().max_image_bytes)
                for source in row.sources
            }
            options = table.selected(row, claim.options)
            self.method = table.method(row, options)  # the selected one: `auto` is resolved once
            self._artifact_key = table.artifact_key(row, sources, claim.artifacts, options)
            if not jobs.lead(claim, self._artifact_key):
                log.info("%s waits for %s, which another job computes", self, self._artifact_key)
            elif store.has_artifact(self._artifact_key):
                self._finish(store.get_artifact(self._artifact_key), options, cache_hit=True)
            else:
                artifacts = {need: unpack(store.get_artifact(claim.artifacts[need])) for need in row.needs}
                self.inputs = StageInput(sources, names, artifacts, options)
                return True
        return False

    def compute(self) -> None:
        """Run the stage's method and complete the attempt with its bundle."""
        with self._recording_errors():
            started_at = time.perf_counter()
            bundle = self.method.run(self._models.of(self.method), self.inputs)
            self.complete(bundle, 1000 * (time.perf_counter() - started_at))

    def complete(self, outcome: Bundle | Exception, compute_ms: float) -> None:
        """Store the computed bundle and mark the stage as succeeded; or fail with the error.

        Args:
            outcome: the bundle of the method, or its error for this job.
            compute_ms: duration of the computation, milliseconds.
        """
        with self._recording_errors():
            if isinstance(outcome, Exception):
                raise outcome
            data = pack(outcome)
            storage().put_artifact(self._artifact_key, data)
            self._finish(data, self.inputs.options, compute_ms=compute_ms)

    def fail(self, problem: Exception) -> None:
        """Record a failed attempt with the named error for this exception."""
        error = _named_error(problem, self.claim)
        log.warning("%s, attempt %d: %s: %s", self, self.claim.attempt, error.name, error.message)
        wake_ups = jobs.fail(
            self.claim, error.record(), retry_after_s=_retry_after_s(error, self.claim.attempt)
        )
        self._wake(wake_ups or [])
        if error is not problem:
            error.__cause__ = problem
        self.error = error

    def __str__(self) -> str:
        return f"{self.claim.stage} of {self.claim.job_id}"

    def _finish(
        self, data: bytes, options: Mapping[str, Any], *, compute_ms: float = 0.0, cache_hit: bool = False
    ) -> None:
        """Mark the stage as succeeded with this packed bundle; after the last stage, deliver the result."""
        bundle = unpack(data)
        is_last = self.row is table.STAGES[-1]
        result_key = _deliver(storage(), self.claim, bundle) if is_last else None
        wake_ups = jobs.finish(
            self.claim,
            artifact_key=self._artifact_key,
            run_ms=1000 * (time.perf_counter() - self._started_at),
            compute_ms=compute_ms,
            cache_hit=cache_hit,
            details=bundle.get("details.json"),
            engine=options["engine"] if is_last else None,
            result_key=result_key,
        )
        if wake_ups is None:
            log.warning("%s lost its claim while it ran; its result is discarded", self)
            return
        self.succeeded = True
        self._wake(wake_ups)

    @contextmanager
    def _recording_errors(self) -> Iterator[None]:
        """Record every exception of the block as a failed attempt."""
        try:
            yield
        except DatabaseUnavailableError:
            raise
        except Exception as problem:
            self.fail(problem)


@contextmanager
def attempting(claim: jobs.Claim, *, models: Models, wake: SendWakeUps) -> Iterator[Attempt]:
    """Provide an attempt at the claimed stage while a thread renews its lease."""
    attempt = Attempt(claim, models=models, wake=wake)
    stop = threading.Event()
    thread = threading.Thread(
        target=_renew_lease, args=(claim, stop), name=f"heartbeat-{claim.stage}", daemon=True
    )
    thread.start()
    try:
        yield attempt
    finally:
        stop.set()
        thread.join()


def _renew_lease(claim: jobs.Claim, stop: threading.Event) -> None:
    """Renew the lease every `heartbeat_s` until `stop` is set or the claim is no longer valid."""
    while not stop.wait(settings().heartbeat_s):
        try:
            if not jobs.heartbeat(claim, lease_s=settings().lease_s):
                return  # ended, reaped or canceled: `finish` notices it by its own compare-and-set
        except DatabaseUnavailableError as error:
            log.warning("The lease of %s of %s was not renewed: %s", claim.stage, claim.job_id, error)


def _deliver(store: Storage, claim: jobs.Claim, bundle: Packed) -> str:
    """Store the result picture and return its key; the same job always writes the same object."""
    output_format = claim.options["output_format"]
    if output_format == "png":
        data, content_type = bundle.file("result.png"), "image/png"  # as it is in the bundle
    else:
        data, content_type = encode(bundle["result.png"], output_format)
    result_key = f"results/{claim.job_id}/tryon.{output_format}"
    store.put_result(result_key, data, content_type)
    return result_key


def _named_error(problem: Exception, claim: jobs.Claim) -> TryonError:
    """Return the named error for an exception of the stage."""
    if isinstance(problem, TryonError):
        error = problem
    elif isinstance(problem, SoftTimeLimitExceeded):
        error = JobTimeoutError(
            f"The stage did not finish within {settings().stage_timeout_s:g} s (TRYON_STAGE_TIMEOUT_S)."
        )
    elif isinstance(problem, MemoryError) or type(problem).__name__ == "OutOfMemoryError":  # PyTorch's
        error = OutOfMemoryError(f"The device had too little memory for the stage: {problem}")
    else:
        log.error("Unexpected error in %s of %s:", claim.stage, claim.job_id, exc_info=problem)
        error = InternalError(f"{type(problem).__name__}: {problem}")
    error.stage = error.stage or claim.stage
    return error


def _retry_after_s(error: TryonError, attempt: int) -> float | None:
    """Return the delay before the next attempt, seconds; None when the stage must fail."""
    if not error.retryable:
        return None
    return jobs.retry_delay_s(
        attempt, max_attempts=settings().max_attempts, backoff_s=settings().retry_backoff_s
    )
