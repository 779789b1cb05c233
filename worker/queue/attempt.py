"""One attempt at a stage of a job: from the claimed row to its artifact and result, or to a named error."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from billiard.exceptions import SoftTimeLimitExceeded

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


class Attempt:
    """One claim of a stage: `begin` it, then `compute` it, or `end` it with what a batch made.

    What goes wrong is this job's alone: it is written in its row and kept in `error`, not raised. Only
    DatabaseUnavailableError is raised, when the row cannot be written: its lease then ends and the sweep
    takes the stage back.

    Attributes:
        held: the claim.
        row: the stage's row in the table.
        inputs: what the stage's method reads, once `begin` said that it has to run.
        method: what does the stage.
        succeeded: whether it ended well and was still this worker's.
        error: what it ended with otherwise.
    """

    inputs: StageInput
    method: Method

    def __init__(self, held: jobs.Claim, *, models: Models, wake: Callable[[list[jobs.Wake]], Any]) -> None:
        self.held = held
        self.row = table.stage(held.stage)
        self.succeeded = False
        self.error: TryonError | None = None
        self._models = models
        self._wake = wake
        self._began = time.perf_counter()

    def begin(self) -> bool:
        """Look the artifact up; True when it is to be computed here, False when the attempt has ended."""
        with self._ending_in_errors():
            held, row, store = self.held, self.row, storage()
            names = {"person": held.person_key, "cloth": held.cloth_key}
            sources = {
                source: store.get_input(names[source], max_bytes=settings().max_image_bytes)
                for source in row.sources
            }
            self.method = table.method(row, held.options)
            options = table.selected(row, held.options)
            self._key = table.artifact_key(row, sources, held.artifacts, options)
            if not jobs.lead(held, self._key):
                log.info("%s waits for %s, which another job is computing", self, self._key)
            elif store.has_artifact(self._key):
                self._finish(store.get_artifact(self._key), options, cache_hit=True)
            else:
                artifacts = {need: unpack(store.get_artifact(held.artifacts[need])) for need in row.needs}
                self.inputs = StageInput(sources, names, artifacts, options)
                return True
        return False

    def compute(self) -> None:
        """Run the stage's method, and end with what it makes."""
        with self._ending_in_errors():
            computing = time.perf_counter()
            bundle = self.method.run(self._models.of(self.method), self.inputs)
            self.end(bundle, 1000 * (time.perf_counter() - computing))

    def end(self, outcome: Bundle | Exception, compute_ms: float) -> None:
        """Store the bundle that was computed in so many milliseconds and finish; or fail with the error."""
        with self._ending_in_errors():
            if isinstance(outcome, Exception):
                raise outcome
            data = pack(outcome)
            storage().put_artifact(self._key, data)
            self._finish(data, self.inputs.options, compute_ms=compute_ms)

    def fail(self, problem: Exception) -> None:
        """End with the named error for whatever went wrong."""
        error = _named(problem, self.held)
        log.warning("%s, attempt %d: %s: %s", self, self.held.attempt, error.name, error.message)
        retry_after_s = _retry_after(error, self.held.attempt)
        self._wake(jobs.fail(self.held, error.record(), retry_after_s=retry_after_s) or [])
        if error is not problem:
            error.__cause__ = problem
        self.error = error

    def __str__(self) -> str:
        return f"{self.held.stage} of {self.held.job_id}"

    def _finish(
        self, data: bytes, options: Mapping[str, Any], *, compute_ms: float = 0.0, cache_hit: bool = False
    ) -> None:
        made = unpack(data)
        last = self.row is table.STAGES[-1]
        result_key = _deliver(storage(), self.held, made) if last else None
        wakes = jobs.finish(
            self.held,
            artifact_key=self._key,
            run_ms=1000 * (time.perf_counter() - self._began),
            compute_ms=compute_ms,
            cache_hit=cache_hit,
            details=made.get("details.json"),
            engine=options["engine"] if last else None,
            result_key=result_key,
        )
        if wakes is None:
            log.warning("%s was taken away while it ran; its outcome is dropped", self)
            return
        self.succeeded = True
        self._wake(wakes)

    @contextmanager
    def _ending_in_errors(self) -> Iterator[None]:
        """End the attempt with whatever goes wrong inside."""
        try:
            yield
        except DatabaseUnavailableError:
            raise
        except Exception as problem:
            self.fail(problem)


@contextmanager
def attempting(
    held: jobs.Claim, *, models: Models, wake: Callable[[list[jobs.Wake]], Any]
) -> Iterator[Attempt]:
    """Give an attempt at the claimed stage, its lease renewed from a thread of its own."""
    attempt = Attempt(held, models=models, wake=wake)
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(settings().heartbeat_s):
            try:
                if not jobs.heartbeat(held, lease_s=settings().lease_s):
                    return  # ended, taken away or canceled; the finishing compare-and-set will see it too
            except DatabaseUnavailableError as error:
                log.warning("The lease of %s was not renewed: %s", attempt, error)

    thread = threading.Thread(target=beat, name=f"heartbeat-{held.stage}", daemon=True)
    thread.start()
    try:
        yield attempt
    finally:
        stop.set()
        thread.join()


def _deliver(store: Storage, held: jobs.Claim, made: Packed) -> str:
    """Put the picture where the customer's shop fetches it; the same job always writes the same object."""
    output_format = held.options["output_format"]
    if output_format == "png":
        data, content_type = made.file("result.png"), "image/png"  # the file that is there already
    else:
        data, content_type = encode(made["result.png"], output_format)
    result_key = f"results/{held.job_id}/tryon.{output_format}"
    store.put_result(result_key, data, content_type)
    return result_key


def _named(problem: Exception, held: jobs.Claim) -> TryonError:
    """Return the named error for whatever went wrong."""
    if isinstance(problem, TryonError):
        error = problem
    elif isinstance(problem, SoftTimeLimitExceeded):
        error = JobTimeoutError(
            f"The stage did not end within {settings().stage_timeout_s:g} s (TRYON_STAGE_TIMEOUT_S)."
        )
    elif isinstance(problem, MemoryError) or type(problem).__name__ == "OutOfMemoryError":  # torch's own
        error = OutOfMemoryError(f"The device had too little memory for the stage: {problem}")
    else:
        log.error("Unforeseen in %s of %s:", held.stage, held.job_id, exc_info=problem)
        error = InternalError(f"{type(problem).__name__}: {problem}")
    error.stage = error.stage or held.stage
    return error


def _retry_after(error: TryonError, attempt: int) -> float | None:
    if not error.retryable or attempt >= settings().max_attempts:
        return None
    return settings().retry_backoff_s * 2 ** (attempt - 1)
