"""One attempt at a stage of a job: from the claimed row to the stored artifact, or to a named error."""

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from billiard.exceptions import SoftTimeLimitExceeded

from config import logs
from config.errors import (
    ArtifactError,
    InputValidationError,
    InternalError,
    JobTimeoutError,
    OutOfMemoryError,
    StorageError,
    TryonError,
    WorkerError,
)
from config.settings import settings
from db import jobs
from db.session import DatabaseUnavailableError
from worker.artifacts.bundle import Packed, pack, unpack
from worker.artifacts.storage import Storage, storage
from worker.contract import Bundle, CanceledError, Method, Progress, StageInput
from worker.images.decode import encode
from worker.queue import traces
from worker.queue.events import WorkerEvents
from worker.queue.health import Health, breaks_worker
from worker.stages import table
from worker.stages.models import Models

log = logging.getLogger(__name__)

SendWakeUps = Callable[[list[jobs.WakeUp]], object]
"""Sends the wake-ups of stages that became ready."""

MAX_BROKEN_WORKERS = 5
"""Returns of a stage after which one more broken worker counts as an attempt: one broken GPU among healthy
ones rarely gets the same stage so often, and a picture that breaks every worker must come to an end."""


OUTCOMES = ("succeeded", "failed", "retried", "postponed", "waiting", "recomputing", "lost")
"""How an attempt can end: the stage succeeded; it failed, and its job with it; it is tried again, with an
attempt used or not; it waits for another job's stage, or an earlier one of its own; its claim was lost."""


class ClaimLostError(Exception):
    """The claim is not valid any more: the job was canceled, or the stage was taken from this worker."""


class Attempt:
    """One claim of a stage: call `begin`, then `compute`; in a batch, `begin`, then `complete`.

    An error concerns this job only: it is written to the job's row and kept in `error`, not raised. When
    something outside the job is away, the stage goes back without an attempt; when an artifact that it reads
    is missing or damaged, the stage that made it runs again.
    Only DatabaseUnavailableError is raised, when the row cannot be written: the lease then expires and the
    sweep makes the stage ready again.

    Attributes:
        claim: the claim of the stage.
        row: the stage's row in the table.
        inputs: what the stage's method reads; set when `begin` returns True.
        method: what computes the stage; set by `begin`.
        outcome: how the attempt ended: one of `OUTCOMES`.
        error: the error with which the attempt failed, or None.
        lost: set when the claim is known to be lost.
        progress: how far a method is that draws in steps; each heartbeat writes it to the row.
    """

    inputs: StageInput
    method: Method

    def __init__(self, claim: jobs.Claim, *, models: Models, wake: SendWakeUps, health: Health) -> None:
        self.claim = claim
        self.lost = threading.Event()
        self.progress: Progress | None = None
        self._health = health
        self.row = table.stage(claim.stage)
        self.outcome = "lost"
        self.error: TryonError | None = None
        self._models = models
        self._wake = wake
        self._started_at = time.perf_counter()
        logs.hide({claim.person_key: "person", claim.cloth_key: "cloth"})

    def begin(self) -> bool:
        """Look the artifact up. True: it has to be computed here. False: the attempt has ended."""
        with self._recording_errors():
            claim, row, store = self.claim, self.row, storage()
            self._require_versions()
            names = {"person": claim.person_key, "cloth": claim.cloth_key}
            sources = {
                source: store.get_input(names[source], max_bytes=settings().max_image_bytes)
                for source in row.sources
            }
            self._require_pinned(sources)
            options = table.selected(row, claim.options, self._models.device)
            self.method = table.method(row, options)  # the selected one: `auto` is resolved once
            self._artifact_key = table.artifact_key(row, sources, claim.artifacts, options)
            if not jobs.lead(claim, self._artifact_key):
                self.outcome = "waiting"
                log.info("%s waits for %s, which another job computes", self, self._artifact_key)
            elif (stored := self._stored_artifact()) is not None:
                self._finish(stored, options, cache_hit=True)
            else:
                keys = {need: claim.artifacts[need] for need in row.needs}
                artifacts = {need: unpack(store.get_artifact(key), key) for need, key in keys.items()}
                self.inputs = StageInput(
                    sources,
                    names,
                    artifacts,
                    options,
                    canceled=self.lost.is_set,
                    report=self._report,
                    time_limit_s=settings().stage_timeout_s,
                )
                return True
        return False

    def _report(self, progress: Progress) -> None:
        self.progress = progress

    def compute(self) -> None:
        """Run the stage's method and complete the attempt with its bundle."""
        with self._recording_errors():
            self._require_claim()
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
            self._require_claim()
            if isinstance(outcome, Exception):
                raise outcome
            data = pack(outcome)
            storage().put_artifact(self._artifact_key, data)
            self._finish(data, self.inputs.options, compute_ms=compute_ms)

    def fail(self, problem: Exception) -> None:
        """Record a failed attempt with the named error for this exception, or return the stage."""
        with _logged(self.claim):
            self._fail(problem)

    def _fail(self, problem: Exception) -> None:
        error, unforeseen = _named_error(problem, self.claim)
        if error is not problem:
            error.__cause__ = problem
        if isinstance(error, ArtifactError):
            try:
                if self._recompute(error):
                    self.outcome = "recomputing"
                    return
            except StorageError as outage:
                error = outage
        self.error = error
        returned = self._health.failed(self.claim.job_id, error, unforeseen=unforeseen)
        if returned and not self._breaks_workers(error):
            self.outcome = "postponed"
            delay_s = _postponed_for_s(self.claim.postponed)
            log.warning("%s is postponed by %.1f s: %s: %s", self, delay_s, error.name, error.message)
            jobs.postpone(self.claim, error.record(), delay_s=delay_s)
            return
        log.warning("%s, attempt %d: %s: %s", self, self.claim.attempt, error.name, error.message)
        retry_after_s = _retry_after_s(error, self.claim.attempt)
        wake_ups = jobs.fail(self.claim, error.record(), retry_after_s=retry_after_s)
        if wake_ups is not None:
            self.outcome = "failed" if retry_after_s is None else "retried"
        self._wake(wake_ups or [])

    def _breaks_workers(self, error: TryonError) -> bool:
        """Return whether the stage has broken so many workers that this attempt has to count."""
        again = isinstance(error, WorkerError) and self.claim.last_error == error.name
        return again and self.claim.postponed >= MAX_BROKEN_WORKERS

    @property
    def succeeded(self) -> bool:
        """Whether the stage succeeded and the claim was still valid."""
        return self.outcome == "succeeded"

    @property
    def run_s(self) -> float:
        """Time since the attempt began, seconds."""
        return time.perf_counter() - self._started_at

    def __str__(self) -> str:
        return f"{self.claim.stage} of {self.claim.job_id}"

    def _finish(
        self, data: bytes, options: Mapping[str, Any], *, compute_ms: float = 0.0, cache_hit: bool = False
    ) -> None:
        """Mark the stage as succeeded with this packed bundle; after the last stage, deliver the result."""
        bundle = unpack(data, self._artifact_key)
        is_last = self.row is table.STAGES[-1]
        if is_last and not jobs.heartbeat(self.claim, lease_s=settings().lease_s):
            raise ClaimLostError  # a canceled job leaves no result
        result_key = _deliver(storage(), self.claim, bundle) if is_last else None
        wake_ups = jobs.finish(
            self.claim,
            artifact_key=self._artifact_key,
            version=self.row.version,
            run_ms=1000 * self.run_s,
            compute_ms=compute_ms,
            cache_hit=cache_hit,
            details=bundle.get("details.json"),
            engine=options["engine"] if is_last else None,
            result_key=result_key,
        )
        if wake_ups is None:
            log.warning("%s lost its claim while it ran; its result is discarded", self)
            if result_key is not None and jobs.status(self.claim.job_id)["status"] == "canceled":
                storage().delete_result(result_key)
            return
        self.outcome = "succeeded"
        self._health.succeeded()
        self._wake(wake_ups)

    def _require_pinned(self, sources: Mapping[str, bytes]) -> None:
        """Raise InputValidationError when an input is not the one that the job's earlier stages have read."""
        digests = {name: hashlib.sha256(data).hexdigest() for name, data in sources.items()}
        pinned = self.claim.input_digests
        if not digests.keys() <= pinned.keys():
            pinned = jobs.pin_inputs(self.claim, digests)
        for name, digest in digests.items():
            if pinned[name] != digest:
                key = {"person": self.claim.person_key, "cloth": self.claim.cloth_key}[name]
                raise InputValidationError(
                    f"The {name}'s photograph was replaced while the job ran. Give every photograph a key of "
                    "its own, and submit the job again.",
                    input=key,
                )

    def _require_versions(self) -> None:
        """Raise ArtifactError when another version of an earlier stage made an artifact that is read."""
        for need in self.row.needs:
            made, known = self.claim.versions[need], table.stage(need).version
            if made not in (None, known):
                raise ArtifactError(
                    f"The artifact of {need} was made by version {made} of the stage; this worker reads "
                    f"version {known}.",
                    input=self.claim.artifacts[need],
                )

    def _require_claim(self) -> None:
        """Raise ClaimLostError when the heartbeat has found the claim lost."""
        if self.lost.is_set():
            raise ClaimLostError

    def _stored_artifact(self) -> bytes | None:
        """Return the stage's artifact if it is stored and readable; a damaged one is deleted."""
        store = storage()
        if not store.has_artifact(self._artifact_key):
            return None
        try:
            data = store.get_artifact(self._artifact_key)
            unpack(data, self._artifact_key).verify()
        except ArtifactError as error:
            log.warning("%s computes again: %s", self, error.message)
            store.delete_artifact(self._artifact_key)
            return None
        return data

    def _recompute(self, error: ArtifactError) -> bool:
        """Run the stage again whose artifact cannot be read; return whether that was possible."""
        makers = [name for name, key in self.claim.artifacts.items() if key == error.input]
        if not makers:
            return False
        if self.claim.versions[makers[0]] in (None, table.stage(makers[0]).version):
            storage().delete_artifact(self.claim.artifacts[makers[0]])  # else workers of that version read it
        wake_ups = jobs.recompute(self.claim, makers[0], max_attempts=settings().max_attempts)
        if wake_ups is None:
            return False
        log.warning("%s runs %s again: %s", self, makers[0], error.message)
        self._wake(wake_ups)
        return True

    @contextmanager
    def _recording_errors(self) -> Iterator[None]:
        """Record every exception of the block as a failed attempt."""
        with _logged(self.claim):
            try:
                yield
            except DatabaseUnavailableError:
                raise
            except (ClaimLostError, CanceledError):
                log.warning("%s lost its claim: canceled, or taken by the sweep", self)
                jobs.release(self.claim.worker)
            except Exception as problem:
                self._fail(problem)


@contextmanager
def attempting(
    claim: jobs.Claim,
    *,
    models: Models,
    wake: SendWakeUps,
    health: Health | None = None,
    events: WorkerEvents | None = None,
) -> Iterator[Attempt]:
    """Provide an attempt at the claimed stage while a thread renews its lease; tell the dashboard of it."""
    attempt = Attempt(claim, models=models, wake=wake, health=health or Health())
    stop = threading.Event()
    thread = threading.Thread(
        target=_renew_lease, args=(attempt, stop), name=f"heartbeat-{claim.stage}", daemon=True
    )
    thread.start()
    span = traces.attempt(claim)
    if events is not None:
        events.began(claim)
    try:
        yield attempt
    finally:
        stop.set()
        thread.join()
        span.end(attempt.outcome, attempt.error.name if attempt.error else None)
        if events is not None:
            events.ended(claim, attempt.outcome, attempt.error, attempt.run_s)


def _logged(claim: jobs.Claim) -> AbstractContextManager[None]:
    """Return the context in which log lines say that they are about the claim."""
    return logs.of_job(claim.job_id, tenant=claim.tenant, stage=claim.stage, attempt=claim.attempt)


def _renew_lease(attempt: Attempt, stop: threading.Event) -> None:
    """Renew the lease every `heartbeat_s` until `stop` is set; set `lost` when the claim is not valid.

    The same transaction writes the progress, so that a database that is away does not hold up the drawing. No
    error ends the thread: without it a live worker would lose its stage.
    """
    claim = attempt.claim
    with _logged(claim):
        while not stop.wait(settings().heartbeat_s):
            progress = attempt.progress
            details = None if progress is None else {"progress": progress.record()}
            try:
                if not jobs.heartbeat(claim, lease_s=settings().lease_s, details=details):
                    attempt.lost.set()  # ended, reaped or canceled
                    return
            except DatabaseUnavailableError as error:
                log.warning("The lease of %s of %s was not renewed: %s", claim.stage, claim.job_id, error)
            except Exception:
                log.exception("The lease of %s of %s was not renewed", claim.stage, claim.job_id)


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


def _named_error(problem: Exception, claim: jobs.Claim) -> tuple[TryonError, bool]:
    """Return the named error for an exception of the stage, and whether nobody foresaw it."""
    unforeseen = False
    error: TryonError
    if isinstance(problem, TryonError):
        error = problem
    elif isinstance(problem, SoftTimeLimitExceeded):
        error = JobTimeoutError(
            f"The stage did not finish within {settings().stage_timeout_s:g} s (TRYON_STAGE_TIMEOUT_S)."
        )
    elif isinstance(problem, MemoryError) or type(problem).__name__ == "OutOfMemoryError":  # PyTorch's
        error = OutOfMemoryError(f"The device had too little memory for the stage: {problem}")
    elif breaks_worker(problem):
        log.error("The worker is broken, found in %s of %s:", claim.stage, claim.job_id, exc_info=problem)
        error = WorkerError(f"The worker cannot go on: {type(problem).__name__}: {problem}")
    else:
        log.error("Unexpected error in %s of %s:", claim.stage, claim.job_id, exc_info=problem)
        error = InternalError(f"{type(problem).__name__}: {problem}")
        unforeseen = True
    error.stage = error.stage or claim.stage
    return error, unforeseen


def _postponed_for_s(postponed: int) -> float:
    """Return the pause of a stage that was postponed so often before, seconds."""
    return float(min(settings().postpone_max_s, settings().retry_backoff_s * 2.0 ** min(postponed, 16)))


def _retry_after_s(error: TryonError, attempt: int) -> float | None:
    """Return the delay before the next attempt, seconds; None when the stage must fail."""
    if not error.retryable:
        return None
    return jobs.retry_delay_s(
        attempt, max_attempts=settings().max_attempts, backoff_s=settings().retry_backoff_s
    )
