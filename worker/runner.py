"""Runs one stage of one job: claim its row, find or make its artifact, finish the row, wake the next."""

import logging
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from billiard.exceptions import SoftTimeLimitExceeded

from config.settings import settings
from db import jobs
from db.session import DatabaseUnavailableError
from worker import pipeline
from worker.bundle import Packed, pack, unpack
from worker.errors import InternalError, JobTimeoutError, OutOfMemoryError, TryonError
from worker.imaging import encode
from worker.storage import Storage, storage

log = logging.getLogger(__name__)


def run_stage(
    job_id: str, name: str, *, worker: str, models: Any, wake: Callable[[list[jobs.Wake]], Any]
) -> bool:
    """Run a stage if it is to be had, and `wake` the stages that became ready; returns whether it ran.

    Raises the TryonError that ended the attempt, after the row says so, and DatabaseUnavailableError when
    the row could not be written: its lease then ends and the sweep takes the stage back.
    """
    held = jobs.claim(job_id, name, worker=worker, lease_s=settings().lease_s)
    if held is None:
        log.info("%s of %s is not to be had: done, running elsewhere or not yet due", name, job_id)
        return False
    try:
        with _heartbeat(held):
            wakes = _work(held, models)
    except DatabaseUnavailableError:
        raise
    except Exception as problem:
        error = _named(problem, held)
        log.warning("%s of %s, attempt %d: %s: %s", name, job_id, held.attempt, error.name, error.message)
        wake(jobs.fail(held, error.record(), retry_after_s=_retry_after(error, held.attempt)) or [])
        raise error from problem
    wake(wakes or [])
    return wakes is not None


def _work(held: jobs.Claim, models: Any) -> list[jobs.Wake] | None:
    """Return the stages that became ready; None when this one is no longer, or not yet, this worker's."""
    began = time.perf_counter()
    row = pipeline.stage(held.stage)
    names = {"person": held.person_key, "cloth": held.cloth_key}
    store = storage()
    sources = {
        source: store.get_input(names[source], max_bytes=settings().max_image_bytes) for source in row.sources
    }
    options = pipeline.selected(row, held.options)
    key = pipeline.artifact_key(row, sources, held.artifacts, options)
    if not jobs.lead(held, key):
        log.info("%s of %s waits for %s, which another job is computing", held.stage, held.job_id, key)
        return None

    hit = store.has_artifact(key)
    compute_ms = 0.0
    if hit:
        data = store.get_artifact(key)
    else:
        artifacts = {need: unpack(store.get_artifact(held.artifacts[need])) for need in row.needs}
        given = pipeline.StageInput(sources, names, artifacts, options, models)
        computing = time.perf_counter()
        bundle = pipeline.function(row)(given)
        compute_ms = 1000 * (time.perf_counter() - computing)
        data = pack(bundle)
        store.put_artifact(key, data)

    made = unpack(data)
    last = row is pipeline.STAGES[-1]
    result_key = _deliver(store, held, made) if last else None
    wakes = jobs.finish(
        held,
        artifact_key=key,
        run_ms=1000 * (time.perf_counter() - began),
        compute_ms=compute_ms,
        cache_hit=hit,
        details=made.get("details.json"),
        engine=options["engine"] if last else None,
        result_key=result_key,
    )
    if wakes is None:
        log.warning("%s of %s was taken away while it ran; its outcome is dropped", held.stage, held.job_id)
    return wakes


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


@contextmanager
def _heartbeat(held: jobs.Claim) -> Iterator[None]:
    """Renew the lease from a thread of its own while the stage runs."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(settings().heartbeat_s):
            try:
                if not jobs.heartbeat(held, lease_s=settings().lease_s):
                    return  # taken away or canceled; the finishing compare-and-set will see it too
            except DatabaseUnavailableError as error:
                log.warning("The lease of %s of %s was not renewed: %s", held.stage, held.job_id, error)

    thread = threading.Thread(target=beat, name=f"heartbeat-{held.stage}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


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
        log.error("Unforeseen in %s of %s:\n%s", held.stage, held.job_id, traceback.format_exc())
        error = InternalError(f"{type(problem).__name__}: {problem}")
    error.stage = error.stage or held.stage
    return error


def _retry_after(error: TryonError, attempt: int) -> float | None:
    if not error.retryable or attempt >= settings().max_attempts:
        return None
    return settings().retry_backoff_s * 2 ** (attempt - 1)
