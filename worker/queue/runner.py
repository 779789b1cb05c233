"""Runs a stage of a job, and with it those of other jobs that share its batch: claims, begins, computes."""

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

from billiard.exceptions import SoftTimeLimitExceeded

from config.settings import settings
from db import jobs
from worker.queue.attempt import Attempt, attempting
from worker.stages import table
from worker.stages.models import Models

log = logging.getLogger(__name__)


def run_stage(
    job_id: str, name: str, *, worker: str, models: Models, wake: Callable[[list[jobs.Wake]], Any]
) -> bool:
    """Run a stage if it is to be had, and `wake` the stages that became ready; returns whether it ran.

    Where it can be computed in one batch with other jobs' stages, those that are ready now are run with it.

    Raises the TryonError that ended the attempt, after the row says so, and DatabaseUnavailableError when
    a row could not be written: its lease then ends and the sweep takes the stage back.
    """
    lease_s = settings().lease_s
    held = jobs.claim(job_id, name, worker=worker, lease_s=lease_s)
    if held is None:
        log.info("%s of %s is not to be had: done, running elsewhere or not yet due", name, job_id)
        return False
    hold = partial(attempting, models=models, wake=wake)
    with ExitStack() as holding:
        asked = holding.enter_context(hold(held))
        if asked.begin():
            shared = table.batch_options(asked.row, asked.inputs.options) if models.batch > 1 else None
            if shared is None:
                asked.compute()
            else:
                room = models.batch - 1
                claims = jobs.claim_more(held, options=shared, limit=room, lease_s=lease_s)
                others = [holding.enter_context(hold(claim)) for claim in claims]
                _compute_batch([asked, *(other for other in others if other.begin())], models)
    if asked.error is not None:
        raise asked.error
    return asked.succeeded


def _compute_batch(batch: list[Attempt], models: Models) -> None:
    """Compute all at once; where that fails, each alone before any job is failed for it."""
    if len(batch) > 1:
        log.info("One batch: %s", ", ".join(map(str, batch)))
        began = time.perf_counter()
        try:
            method = batch[0].method
            outcomes = method.run_batch(models.of(method), [attempt.inputs for attempt in batch])
        except SoftTimeLimitExceeded as problem:
            for attempt in batch:
                attempt.fail(problem)
            return
        except Exception as problem:
            log.warning("The batch failed, each is tried alone: %s: %s", type(problem).__name__, problem)
        else:
            share_ms = 1000 * (time.perf_counter() - began) / len(batch)
            for attempt, outcome in zip(batch, outcomes, strict=True):
                attempt.end(outcome, share_ms)
            return
    for attempt in batch:
        attempt.compute()
