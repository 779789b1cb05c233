"""Errors as problem documents (RFC 9457) with the project's error names."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from config.errors import QueueLimitError, StorageError, TryonError
from config.settings import ConfigurationError
from db import jobs
from db.session import DatabaseUnavailableError, SchemaError

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

RETRY_AFTER_S = 5
"""When a client should try again while a server is away or a queue is full, seconds."""

_RETRY_LATER = {"Retry-After": str(RETRY_AFTER_S)}


class ProblemError(Exception):
    """An answer that is an error.

    Attributes:
        name: the error's name.
        status: HTTP status code.
        message: what is wrong and what to do.
        input: the field or the key at fault, or None.
        retryable: whether the same request may succeed later.
        headers: further headers of the answer.
    """

    def __init__(
        self,
        name: str,
        status: int,
        message: str,
        *,
        input: str | None = None,
        retryable: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.name = name
        self.status = status
        self.message = message
        self.input = input
        self.retryable = retryable
        self.headers = dict(headers or {})

    def document(self) -> dict[str, Any]:
        """Return the problem document."""
        return {
            "type": f"urn:tryon:problem:{self.name}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.message,
            "name": self.name,
            "input": self.input,
            "retryable": self.retryable,
        }

    def response(self) -> Response:
        """Return the answer."""
        return JSONResponse(self.document(), self.status, headers=self.headers, media_type=MEDIA_TYPE)


def unknown_job(job_id: str) -> ProblemError:
    """Return the answer for a job that does not exist, or is another tenant's: both look the same."""
    return ProblemError("UnknownJobError", 404, "No job of yours has this id.", input=job_id)


def slow_request(part: str) -> ProblemError:
    """Return the answer to a request whose head or body (`part`) did not arrive in time."""
    return ProblemError(
        "SlowRequestError",
        408,
        f"The {part} of the request did not arrive in time (TRYON_API_BODY_TIMEOUT_S); send it again on a "
        "faster connection.",
        retryable=True,
        headers={"Connection": "close"},
    )


def problem_of(error: Exception) -> ProblemError:
    """Return the answer for an exception; what is not foreseen shows no detail."""
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, tuple(_AWAY)):
        return _away(error)
    if isinstance(error, TryonError):
        return _of_job(error)
    if isinstance(error, jobs.NotRetryableError):
        return ProblemError("NotRetryableError", 409, str(error))
    if isinstance(error, HTTPException):
        name = HTTPStatus(error.status_code).phrase.title().replace(" ", "").replace("-", "")
        return ProblemError(f"{name}Error", error.status_code, error.detail, headers=error.headers)
    if isinstance(error, RequestValidationError):
        return _of_parameters(error)
    return ProblemError(
        "InternalError", 500, "An unexpected error; the server's log has the details.", retryable=True
    )


_AWAY: dict[type[Exception], str] = {
    StorageError: "The object store does not answer.",
    DatabaseUnavailableError: "The database does not answer.",
    ConfigurationError: "The server is not set up; its log says what is missing.",
    SchemaError: "The server's tables are not those of its version; its log says what to do.",
}
"""Error of a part of the system that is away -> what a client is told; the log has the address."""


def _away(error: Exception) -> ProblemError:
    log.error("%s", error)
    kind = next(kind for kind in _AWAY if isinstance(error, kind))
    return ProblemError(kind.__name__, 503, _AWAY[kind], retryable=True, headers=_RETRY_LATER)


def _of_job(error: TryonError) -> ProblemError:
    """Return the answer for an error of a request or a job."""
    if isinstance(error.__cause__, jobs.IdempotencyConflictError):
        return ProblemError("IdempotencyConflictError", 409, error.message, input="Idempotency-Key")
    full = isinstance(error, QueueLimitError)
    return ProblemError(
        error.name,
        429 if full else 422,
        error.message,
        input=error.input,
        retryable=error.retryable,
        headers=_RETRY_LATER if full else None,
    )


def _of_parameters(error: RequestValidationError) -> ProblemError:
    """Return the answer for parameters of the path, the query or a header that are not valid."""
    problems = [(".".join(map(str, item["loc"][1:])), item["msg"]) for item in error.errors()]
    return ProblemError(
        "InputValidationError",
        422,
        "The request is not valid: " + "; ".join(f"{name}: {text}" for name, text in problems),
        input=problems[0][0],
    )


def install(app: FastAPI, show: Callable[[Request, ProblemError], Awaitable[Response | None]]) -> None:
    """Answer every exception of the application with a problem document, or as `show` does.

    Args:
        app: the application.
        show: returns the answer for a person, None for a program.
    """

    async def answer(request: Request, error: Exception) -> Response:
        problem = problem_of(error)
        return await show(request, problem) or problem.response()

    for kind in (
        ProblemError,
        TryonError,
        jobs.NotRetryableError,
        DatabaseUnavailableError,
        SchemaError,
        ConfigurationError,
        HTTPException,
        RequestValidationError,
        Exception,
    ):
        app.add_exception_handler(kind, answer)
