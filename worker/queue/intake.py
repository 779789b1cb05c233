"""Accepts requests: the job is written before anything else, so that no accepted job can be lost."""

from typing import Any

from config.errors import InputValidationError, TryonError
from db import jobs
from worker.queue.request import MAX_KEY_LENGTH, TryonRequest
from worker.stages.table import STAGES


def stage_specs() -> tuple[jobs.StageSpec, ...]:
    """Return the planned stages of a job, as the database stores them."""
    return tuple(jobs.StageSpec(row.name, row.queue, (*row.needs, *row.after)) for row in STAGES)


def accept(job_id: str, request: TryonRequest) -> jobs.Submission:
    """Write the job, or return the existing job of this id or idempotency key.

    Raises InputValidationError when the idempotency key belongs to another person, garment or options.
    """
    try:
        return jobs.submit(
            job_id,
            person_key=request.person_key,
            cloth_key=request.cloth_key,
            options=request.options(),
            stages=stage_specs(),
            priority=request.priority,
            idempotency_key=request.idempotency_key,
        )
    except jobs.IdempotencyConflictError as error:
        raise InputValidationError(f"The request is not valid: {error}.", input="idempotency_key") from error


def refuse(job_id: str, arguments: tuple[Any, ...], options: dict[str, Any], error: TryonError) -> None:
    """Write a refused request as a failed job, for a producer that sent a message and polls its id."""
    keys = [str(argument)[:MAX_KEY_LENGTH] for argument in (*arguments, "", "")]
    jobs.submit_refused(
        job_id,
        person_key=str(options.get("person_key", keys[0])),
        cloth_key=str(options.get("cloth_key", keys[1])),
        options={name: value for name, value in options.items() if name not in ("person_key", "cloth_key")},
        error=error.record(),
    )
