"""Accepts requests: the job is written before anything else, so that no accepted job can be lost."""

import hashlib
import json
import math
from collections.abc import Sequence
from typing import Any

from config.errors import InputValidationError, QueueLimitError, TryonError
from config.settings import settings
from db import jobs
from worker.queue import traces
from worker.queue.request import MAX_KEY_LENGTH, TryonRequest
from worker.stages import table

MAX_JOB_ID_LENGTH = 255
"""Longest id of a job, characters: the length of its column. It is a part of the result's object key."""

MAX_OPTION_NAME_LENGTH = 100
"""Characters of an option's name that are stored of a refused request."""

MAX_MESSAGE_LENGTH = 2_000
"""Characters of the reason that are stored of a refused request."""

MAX_REFUSED_OPTIONS_LENGTH = 20_000
"""Largest options that are stored of a refused request, characters of JSON."""

_ID_DIGEST_LENGTH = 16
_LONGEST_ESCAPE = len(r"\U0001F600")
_LARGEST_NUMBER = 2**63


def stage_specs() -> tuple[jobs.StageSpec, ...]:
    """Return the planned stages of a job, as the database stores them."""
    return tuple(jobs.StageSpec(row.name, row.queue, (*row.needs, *row.after)) for row in table.STAGES)


def accept(job_id: str, request: TryonRequest) -> jobs.Submission:
    """Write the job, or return the existing job of this id or idempotency key.

    Raises InputValidationError when the id is not valid, or when the id or the idempotency key belongs to
    another person, garment or options; QueueLimitError when the tenant has too many queued jobs.
    """
    return accept_all([(job_id, request)])[0]


def accept_all(requests: Sequence[tuple[str, TryonRequest]]) -> list[jobs.Submission]:
    """Write several jobs (id, request) in one transaction: all of them, or none. See `accept`."""
    for job_id, _ in requests:
        _check_id(job_id)
    try:
        spans = [traces.submission(job_id, request.tenant) for job_id, request in requests]
        submitted = jobs.submit_all(
            [
                _new_job(job_id, request) | {"traceparent": span.traceparent}
                for (job_id, request), span in zip(requests, spans, strict=True)
            ]
        )
        for job, span in zip(submitted, spans, strict=True):
            if job.created:
                span.end()
        return submitted
    except jobs.TenantLimitError as error:
        raise QueueLimitError(
            f"The job was not accepted: {error}. Submit it again when some have started.", input="tenant"
        ) from error
    except jobs.IdempotencyConflictError as error:
        raise InputValidationError(f"The request is not valid: {error}.", input="idempotency_key") from error


def _check_id(job_id: str) -> None:
    if not 0 < len(job_id) <= MAX_JOB_ID_LENGTH or not job_id.isprintable() or ".." in job_id.split("/"):
        raise InputValidationError(
            f"The id of the job must have 1 to {MAX_JOB_ID_LENGTH} printable characters and no part '..'; "
            f"it is {storable(job_id, MAX_JOB_ID_LENGTH)!r}.",
            input="task_id",
        )


def _new_job(job_id: str, request: TryonRequest) -> dict[str, Any]:
    """Return the arguments of `db.jobs.submit`."""
    return {
        "job_id": job_id,
        "person_key": request.person_key,
        "cloth_key": request.cloth_key,
        "options": request.options(),
        "stages": stage_specs(),
        "table_version": table.version(),
        "priority": request.priority,
        "tenant": request.tenant,
        "tenant_limit": settings().tenant_limit,
        "idempotency_key": request.idempotency_key,
        "webhook_url": request.webhook_url,
        "webhook_events": request.webhook_events,
    }


def refuse(job_id: str, arguments: tuple[Any, ...], options: dict[str, Any], error: TryonError) -> None:
    """Write a refused request as a failed job, for a producer that sent a message and polls its id.

    The request may be anything. What the database cannot store is escaped; what is long is cut.
    """
    keys = [*arguments, "", ""]
    rest = {name: value for name, value in options.items() if name not in ("person_key", "cloth_key")}
    shown = {storable(name, MAX_OPTION_NAME_LENGTH): _storable_option(value) for name, value in rest.items()}
    if len(json.dumps(shown)) > MAX_REFUSED_OPTIONS_LENGTH:
        shown = {"refused": f"{len(rest)} options, too large to store"}
    record = error.record()
    record["message"] = storable(record["message"], MAX_MESSAGE_LENGTH)
    record["input"] = storable(record["input"], MAX_KEY_LENGTH) if record["input"] is not None else None
    jobs.submit_refused(
        storable_id(job_id),
        person_key=storable(options.get("person_key", keys[0]), MAX_KEY_LENGTH),
        cloth_key=storable(options.get("cloth_key", keys[1]), MAX_KEY_LENGTH),
        options=shown,
        error=record,
    )


def storable(value: object, max_length: int) -> str:
    """Return the value as text that can be stored and printed on one line, cut to a length in characters."""
    text = str(value)[:max_length]
    shown = "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)
    return shown if len(shown) <= max_length else shown[: max_length - 1] + "…"


def storable_id(job_id: str) -> str:
    """Return the id under which a refused request is stored: its own, or a cut one and a hash."""
    shown = storable(job_id, len(job_id) * _LONGEST_ESCAPE) or "(empty)"
    if shown == job_id and len(job_id) <= MAX_JOB_ID_LENGTH:
        return job_id
    digest = hashlib.sha256(job_id.encode("utf-8", "surrogatepass")).hexdigest()[:_ID_DIGEST_LENGTH]
    return f"{shown[: MAX_JOB_ID_LENGTH - _ID_DIGEST_LENGTH - 1]}~{digest}"


def _storable_option(value: object) -> object:
    """Return the value of an option as it is stored: numbers that JSON has, or text."""
    if value is None or isinstance(value, bool) or (isinstance(value, int) and abs(value) < _LARGEST_NUMBER):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    return storable(value, MAX_KEY_LENGTH)


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape", "surrogatepass").decode("ascii")
