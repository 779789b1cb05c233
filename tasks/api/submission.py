"""Reads what a request asks for, from JSON or a form; what the HTTP interface and the page have in common."""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from config.errors import InputValidationError
from db import jobs
from db.keys import Key
from tasks.api.problems import ProblemError
from tasks.api.uploads import own_prefix, store
from tasks.submit import MAX_BATCH

MAX_FORM_FIELDS = 20

_PICTURE_FIELDS = {"person": "person_key", "garment": "cloth_key"}
"""Field of a form with a picture -> field of the request with its key."""

_NUMBER_FIELDS = ("seed", "priority")


async def body(request: Request, caller: Key) -> dict[str, Any]:
    """Return the fields of a request, JSON or a form, whose pictures are stored.

    Raises ProblemError, InputValidationError, ImageLoadError, StorageError.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "multipart/form-data":
        return await json_body(request)
    fields: dict[str, Any] = {}
    async with request.form(max_files=len(_PICTURE_FIELDS), max_fields=MAX_FORM_FIELDS) as form:
        for name, value in form.multi_items():
            if value == "":
                continue  # a field of a page that a person left empty
            if isinstance(value, UploadFile):
                if name not in _PICTURE_FIELDS:
                    raise InputValidationError(
                        "The fields of the pictures are person and garment.", input=name
                    )
                fields[_PICTURE_FIELDS[name]] = await run_in_threadpool(
                    store, value.file, caller.tenant, name
                )
            elif name in _NUMBER_FIELDS and re.fullmatch(r"\d{1,12}", value, re.ASCII):
                fields[name] = int(value)
            elif name == "webhook_events":
                fields[name] = [event.strip() for event in value.split(",")]
            else:
                fields[name] = value
    return fields


async def json_body(request: Request) -> dict[str, Any]:
    """Return the JSON object of a request's body. Raises ProblemError and InputValidationError."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise ProblemError("UnsupportedMediaTypeError", 415, "Send application/json or multipart/form-data.")
    try:
        body = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise InputValidationError(f"The body is not JSON: {error}", input="body") from error
    if not isinstance(body, dict):
        raise InputValidationError("The body must be a JSON object.", input="body")
    return body


def arguments(body: Mapping[str, Any], caller: Key, idempotency_key: str | None) -> dict[str, Any]:
    """Return the arguments of `tryon` for a request of this caller. Raises InputValidationError."""
    for name in ("tenant", "idempotency_key"):
        if name in body:
            raise InputValidationError("The API key and the header Idempotency-Key say it.", input=name)
    for name in _PICTURE_FIELDS.values():
        _require_own(caller, name, body.get(name))
    arguments = {**body, "tenant": caller.tenant}
    if caller.webhook_url is not None:
        arguments.setdefault("webhook_url", caller.webhook_url)
    if idempotency_key is not None:
        arguments["idempotency_key"] = tenants_key(caller.tenant, idempotency_key)
    return arguments


def _require_own(caller: Key, name: str, key: object) -> None:
    """Raise InputValidationError for an object that the caller may not name."""
    prefixes = [own_prefix(caller.tenant), *([] if caller.input_prefix is None else [caller.input_prefix])]
    if isinstance(key, str) and not key.startswith(tuple(prefixes)):
        raise InputValidationError(
            f"The API key allows objects whose keys begin with {' or '.join(prefixes)}; upload the picture "
            "with POST /v1/pictures, or as a form.",
            input=name,
        )


def pairs(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the requests of a batch: each person with each garment, with the options of all."""
    options = {name: value for name, value in body.items() if name not in ("person_keys", "cloth_keys")}
    people, garments = (_keys(body, name) for name in ("person_keys", "cloth_keys"))
    if len(people) * len(garments) > MAX_BATCH:
        raise InputValidationError(f"A batch has at most {MAX_BATCH} try-ons.", input="cloth_keys")
    return [
        {**options, "person_key": person, "cloth_key": garment} for person in people for garment in garments
    ]


def _keys(body: Mapping[str, Any], name: str) -> list[Any]:
    value = body.get(name)
    if not isinstance(value, list) or not value:
        raise InputValidationError("A batch needs a list of at least one object key.", input=name)
    return value


def cursor(text: str | None) -> tuple[datetime, str] | None:
    """Return where a page of a list begins. Raises InputValidationError for what no list has returned."""
    if text is None:
        return None
    with suppress(ValueError, binascii.Error, TypeError):
        moment, job_id = json.loads(base64.urlsafe_b64decode(text))
        if isinstance(job_id, str) and job_id.isprintable():
            created_at = datetime.fromisoformat(moment)
            if created_at.tzinfo is not None:
                return created_at, job_id
    raise InputValidationError("It is not `next` of a list of jobs.", input="cursor")


def cursor_text(after: tuple[datetime, str] | None) -> str | None:
    """Return a cursor as the text that a client sends back."""
    if after is None:
        return None
    return base64.urlsafe_b64encode(json.dumps([after[0].isoformat(), after[1]]).encode()).decode()


def retry(job_id: str) -> None:
    """Start a failed or canceled job again. Raises NotRetryableError."""
    from worker.app import app
    from worker.queue import wake

    wake.send(app, jobs.retry(job_id))


def forget(job_id: str) -> None:
    """Delete a job. Raises UnknownJobError."""
    from worker.queue import retention

    retention.forget_job(job_id)


ACTIONS: Mapping[str, Callable[[str], object]] = {"cancel": jobs.cancel, "retry": retry, "forget": forget}
"""What the page does with a job."""


def tenants_key(tenant: str, idempotency_key: str) -> str:
    """Return the idempotency key of a job: each tenant has keys of its own."""
    return f"http:{tenant}:{hashlib.sha256(idempotency_key.encode()).hexdigest()}"
