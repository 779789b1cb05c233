"""What the description of the HTTP interface (OpenAPI) says about bodies and answers."""

from typing import Any

from pydantic import BaseModel, ConfigDict

from worker.queue.request import TryonRequest


class ErrorOfJob(BaseModel):
    """Why a job or an attempt failed."""

    name: str
    message: str
    stage: str | None
    input: str | None
    retryable: bool


class StageStatus(BaseModel):
    """One stage of a job."""

    model_config = ConfigDict(title="Stage")

    name: str
    status: str
    attempt: int
    postponed: int
    queued_ms: float | None
    run_ms: float | None
    compute_ms: float | None
    cache_hit: bool | None
    worker: str | None
    artifact_key: str | None
    details: dict[str, Any] | None
    error: ErrorOfJob | None


class Tryon(BaseModel):
    """The status record of a job; docs/reference.md explains the fields."""

    id: str
    status: str
    stage: str | None
    progress: int
    queue_position: int | None
    attempt: int
    tenant: str
    person_key: str
    cloth_key: str
    options: dict[str, Any]
    engine: str | None
    result_key: str | None
    error: ErrorOfJob | None
    created_at: str
    started_at: str | None
    finished_at: str | None
    stages: list[StageStatus]


class Tryons(BaseModel):
    """The jobs of a batch."""

    tryons: list[Tryon]


class ListedTryon(BaseModel):
    """A job in a list."""

    id: str
    status: str
    person_key: str
    cloth_key: str
    created_at: str
    error: str | None


class TryonPage(BaseModel):
    """A part of a list of jobs; `next` is the cursor of the next part."""

    tryons: list[ListedTryon]
    next: str | None


class PictureKey(BaseModel):
    """The object key of a stored picture."""

    key: str


class ProblemDocument(BaseModel):
    """An error, RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    name: str
    input: str | None
    retryable: bool


_REASONS = {
    200: "The job as it is now.",
    202: "The job was accepted.",
    400: "The request cannot be read.",
    401: "No API key, a wrong or a revoked one.",
    403: "A page of another origin, or a proxy before a server without keys.",
    404: "No job of yours has this id.",
    408: "The body did not arrive in time.",
    409: "The job's state, or its idempotency key, does not allow it.",
    413: "The body or a picture is too large.",
    415: "The body is of another media type.",
    422: "The request is not valid.",
    429: "Too many requests or queued jobs.",
    503: "The database or the object store does not answer.",
}


def answers(*codes: int) -> dict[int | str, dict[str, Any]]:
    """Return the description of these answers: a status record below 300, a problem document above."""
    return {
        code: {"model": Tryon, "description": _REASONS[code]} if code < 300 else _problem(code)
        for code in codes
    }


def _problem(code: int) -> dict[str, Any]:
    return {
        "description": _REASONS[code],
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
    }


PROBLEMS: dict[int | str, dict[str, Any]] = {
    code: _problem(code) for code in (400, 401, 403, 408, 413, 422, 429, 503)
}
"""Answers that every route may give."""

LIST_OF_RECORDS: dict[int | str, dict[str, Any]] = {202: {"model": Tryons, "description": "Accepted."}}
PAGE_OF_JOBS: dict[int | str, dict[str, Any]] = {200: {"model": TryonPage, "description": "The newest jobs."}}
KEY_OF_PICTURE: dict[int | str, dict[str, Any]] = {201: {"model": PictureKey, "description": "Stored."}}


def _fields(*, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the JSON schema of a request's fields, as a client may send them."""
    hidden = ("tenant", "idempotency_key", *without)
    properties = TryonRequest.model_json_schema()["properties"]
    return {name: schema for name, schema in properties.items() if name not in hidden}


def _json_body(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }
    return {"application/json": {"schema": schema}}


_KEYS = {"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1, "maxLength": 1024}}
_FILE = {"type": "string", "format": "binary", "description": "A picture file."}

SUBMIT_BODY = {
    "requestBody": {
        "required": True,
        "content": _json_body(_fields(), ["person_key", "cloth_key"])
        | {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"person": _FILE, "garment": _FILE} | _fields(),
                    "additionalProperties": False,
                }
            }
        },
    }
}
BATCH_BODY = {
    "requestBody": {
        "required": True,
        "content": _json_body(
            {"person_keys": _KEYS, "cloth_keys": _KEYS} | _fields(without=("person_key", "cloth_key")),
            ["person_keys", "cloth_keys"],
        ),
    }
}
PICTURE_BODY = {"requestBody": {"required": True, "content": {"image/*": {"schema": _FILE}}}}
