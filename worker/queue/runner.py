"""Runs a stage of a job, together with the stages of other jobs that can share its batch."""

import logging
import time
from contextlib import ExitStack
from functools import partial

from billiard.exceptions import SoftTimeLimitExceeded

from config.settings import settings
from db import jobs
from worker.queue.attempt import Attempt, SendWakeUps, attempting
from worker.queue.events import WorkerEvents
from worker.queue.health import Health, breaks_worker
from worker.stages import table
from worker.stages.models import Models

log = logging.getLogger(__name__)


def run_stage(
    name: str,
    *,
    worker: str,
    models: Models,
    wake: SendWakeUps,
    health: Health | None = None,
    events: WorkerEvents | None = None,
) -> bool:
    """Run the ready stage of this name that is next in the order of service, if there is one.

    Returns whether this call claimed a stage and the stage succeeded.

    If its method computes batches, ready stages of other jobs are claimed and run with it.

    Raises the TryonError with which the attempt failed, after it is written to the job's row, and
    DatabaseUnavailableError when a row could not be written: the lease then expires and the sweep makes the
    stage ready again.
    """
    lease_s = settings().lease_s
    health = health or Health()
    health.pause()
    version = table.version()
    claim = jobs.claim_next(name, worker=worker, lease_s=lease_s, table_version=version)
    if claim is None:
        log.info("no stage %s is ready: finished, running elsewhere, not yet due or for a newer worker", name)
        return False
    start_attempt = partial(attempting, models=models, wake=wake, health=health, events=events)
    with ExitStack() as attempts:
        first = attempts.enter_context(start_attempt(claim))
        if first.begin():
            shared = None
            if models.batch > 1:
                shared = table.batch_options(first.row, first.inputs.options, models.device)
            if shared is None:
                first.compute()
            else:
                claims = jobs.claim_more(
                    claim,
                    options=shared,
                    limit=models.batch - 1,
                    lease_s=lease_s,
                    table_version=version,
                )
                others = [attempts.enter_context(start_attempt(other)) for other in claims]
                _compute_batch([first, *(other for other in others if other.begin())], models)
    if first.error is not None:
        raise first.error
    return first.succeeded


def _compute_batch(batch: list[Attempt], models: Models) -> None:
    """Compute all attempts at once. If that fails, compute each alone before any job fails for it."""
    if len(batch) > 1:
        log.info("One batch: %s", ", ".join(map(str, batch)))
        started_at = time.perf_counter()
        try:
            method = batch[0].method
            outcomes = method.run_batch(models.of(method), [attempt.inputs for attempt in batch])
        except SoftTimeLimitExceeded as problem:
            for attempt in batch:
                attempt.fail(problem)
            return
        except Exception as problem:
            if breaks_worker(problem):  # nothing can be computed here any more
                for attempt in batch:
                    attempt.fail(problem)
                return
            log.warning("The batch failed; computing each job alone: %s: %s", type(problem).__name__, problem)
        else:
            share_ms = 1000 * (time.perf_counter() - started_at) / len(batch)
            for attempt, outcome in zip(batch, outcomes, strict=True):
                attempt.complete(outcome, share_ms)
            return
    for attempt in batch:
        attempt.compute()
