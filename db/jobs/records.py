"""What transitions take and return, the errors they raise, and the delay before a retry."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

ACTIVE_JOB_STATUSES = ("queued", "running")
"""Statuses of a job that can still change."""

OPEN_STAGE_STATUSES = ("blocked", "ready", "waiting", "running")
"""Statuses of a stage that can still change."""


class UnknownJobError(LookupError):
    """No job has this id."""


class IdempotencyConflictError(ValueError):
    """The idempotency key or the id belongs to a job with another person, garment or options."""


class NotRetryableError(Exception):
    """The job cannot be started again."""


class TenantLimitError(Exception):
    """The tenant has as many queued jobs as it may have."""


@dataclass(frozen=True)
class StageSpec:
    """A planned stage: it may start when every stage in `after` has succeeded."""

    name: str
    queue: str
    after: tuple[str, ...]


@dataclass(frozen=True)
class WakeUp:
    """A message to send: this stage is ready, and a worker of the queue should claim it."""

    job_id: str
    stage: str
    queue: str
    priority: int


@dataclass(frozen=True)
class Submission:
    """A job's id, and whether this submission created the job."""

    job_id: str
    created: bool


@dataclass(frozen=True)
class Claim:
    """A worker's right to run one attempt at a stage, until its lease expires."""

    job_id: str
    stage: str
    attempt: int
    postponed: int
    """How often the stage was returned without an attempt since its last attempt that counted."""
    last_error: str | None
    """Name of the error with which the stage was returned or failed last."""
    worker: str
    tenant: str
    traceparent: str | None
    """The job's place in a trace, as W3C Trace Context writes it; None if its submission was not traced."""
    ready_at: datetime
    """Since when the stage was ready."""
    priority: int
    person_key: str
    cloth_key: str
    options: Mapping[str, Any]
    artifacts: Mapping[str, str]
    """Stage name -> artifact key of the job's stages that have succeeded."""
    versions: Mapping[str, int | None]
    """Stage name -> version of the stage that made the artifact; None where that was not noted."""
    input_digests: Mapping[str, str]
    """`person`, `cloth` -> sha256 of the input that the job's stages have read so far."""


def retry_delay_s(attempt: int, *, max_attempts: int, backoff_s: float) -> float | None:
    """Return the delay after a failed attempt, with exponential backoff; None when it was the last one.

    Args:
        attempt: the number of the failed attempt, from 1.
        max_attempts: attempts after which the stage fails.
        backoff_s: delay after the first attempt, seconds; it doubles with every attempt.
    """
    return None if attempt >= max_attempts else backoff_s * 2.0 ** (attempt - 1)
