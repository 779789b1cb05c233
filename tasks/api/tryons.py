"""The routes of the HTTP interface, version 1."""

import re
from collections.abc import AsyncIterator
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Header, Path, Query, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from config.errors import InputValidationError
from config.settings import settings
from db import jobs
from db.keys import Key
from tasks.api import schemas, submission
from tasks.api.callers import caller_of
from tasks.api.problems import ProblemError, unknown_job
from tasks.api.reader import FINAL_STATUSES, Reader, Record
from tasks.api.uploads import spool, store

MAX_WAIT_S = 60
"""Longest time that a request may wait for the end of its job, seconds: proxies close slower answers."""

POLL_AGAIN_S = 2
"""When a client that polls should ask again, seconds."""

Caller = Annotated[Key, Depends(caller_of)]
JobId = Annotated[str, Path(min_length=1, max_length=255, description="The job's id.")]
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern=r"^[\x20-\x7e]+$",
        description="Any text: a second request with the same key returns the first job.",
    ),
]
Prefer = Annotated[
    str | None,
    Header(
        description=f"`wait=N`: answer when the job has finished, or after N seconds, at most {MAX_WAIT_S}."
    ),
]

router = APIRouter(prefix="/v1", responses=schemas.PROBLEMS)


async def own_job(request: Request, job_id: JobId, caller: Caller) -> Record:
    """Return the status record of a job of the caller; a dependency of the routes of one job."""
    record = await _reader(request).read(job_id)
    if not _may_see(caller, record):
        raise unknown_job(job_id)
    return record


OwnJob = Annotated[Record, Depends(own_job)]


@router.post(
    "/tryons",
    status_code=202,
    openapi_extra=schemas.SUBMIT_BODY,
    responses=schemas.answers(200, 202, 409, 413, 415, 422, 429),
)
async def submit(
    request: Request, caller: Caller, idempotency_key: IdempotencyKey = None, prefer: Prefer = None
) -> Response:
    """Submit a try-on: two object keys, or two pictures as a form; and the options."""
    from tasks import tryon

    body = await submission.body(request, caller)
    arguments = submission.arguments(body, caller, idempotency_key)
    handle = await run_in_threadpool(tryon.apply_async, (), arguments)
    return await _answer(request, handle.id, prefer, created=True)


@router.post(
    "/tryons:batch",
    status_code=202,
    openapi_extra=schemas.BATCH_BODY,
    responses=schemas.answers(409, 413, 415, 422, 429) | schemas.LIST_OF_RECORDS,
)
async def submit_batch(request: Request, caller: Caller, idempotency_key: IdempotencyKey = None) -> Response:
    """Submit several try-ons at once, all or none: each person with each garment, each with its own job."""
    from tasks import tryon

    body = await submission.json_body(request)
    requests = [
        submission.arguments(item, caller, f"{idempotency_key}#{number}" if idempotency_key else None)
        for number, item in enumerate(submission.pairs(body))
    ]
    handles = await run_in_threadpool(tryon.batch, requests)
    records = await run_in_threadpool(jobs.statuses, [handle.id for handle in handles])
    return JSONResponse({"tryons": [records[handle.id] for handle in handles]}, 202)


@router.get("/tryons", responses=schemas.answers(422) | schemas.PAGE_OF_JOBS)
async def list_tryons(
    caller: Caller,
    status: Annotated[Literal["queued", "running", "succeeded", "failed", "canceled"] | None, Query()] = None,
    tenant: Annotated[str | None, Query(max_length=64)] = None,
    cursor: Annotated[str | None, Query(max_length=1000, description="`next` of the last page.")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Response:
    """List the newest jobs of the caller's tenant."""
    if tenant is not None and tenant != caller.tenant:
        raise InputValidationError("The API key is of another tenant.", input="tenant")
    page = await run_in_threadpool(
        jobs.listed,
        tenant=caller.tenant,
        after=submission.cursor(cursor),
        limit=limit,
        **({} if status is None else {"statuses": [status]}),
    )
    return JSONResponse({"tryons": page.jobs, "next": submission.cursor_text(page.after)})


@router.get("/tryons/{job_id}", responses=schemas.answers(200, 404))
async def status(request: Request, record: OwnJob, prefer: Prefer = None) -> Response:
    """Return a job's status record."""
    if _wait_s(prefer) and record["status"] not in FINAL_STATUSES:
        return await _answer(request, record["id"], prefer, created=False)
    return _record_response(record, 200)


@router.get("/tryons/{job_id}/events", response_class=EventSourceResponse, responses=schemas.answers(404))
async def events(request: Request, record: OwnJob) -> AsyncIterator[ServerSentEvent]:
    """Send the status record at each change, as server-sent events, until the job has finished."""
    number = 0
    async for current in _reader(request).watch(record["id"]):
        number += 1
        yield ServerSentEvent(data=current, event=current["status"], id=str(number))


@router.get(
    "/tryons/{job_id}/result",
    status_code=302,
    response_class=Response,
    responses=schemas.answers(404, 409) | {302: {"description": "The address of the picture."}},
)
async def result(record: OwnJob) -> Response:
    """Redirect to the picture, with a URL that is valid for `TRYON_PRESIGN_S`."""
    from worker.artifacts.storage import storage

    if record["status"] != "succeeded":
        raise ProblemError(
            "NoResultError",
            409,
            f"The job is {record['status']}: it has no picture.",
            retryable=not record["error"],
        )
    url = await run_in_threadpool(
        lambda: storage().presign_result(record["result_key"], settings().presign_s)
    )
    return RedirectResponse(url, 302, {"Cache-Control": "no-store"})


@router.post("/tryons/{job_id}/cancel", responses=schemas.answers(200, 404, 409))
async def cancel(request: Request, record: OwnJob) -> Response:
    """Cancel a job that has not finished."""
    if not await run_in_threadpool(jobs.cancel, record["id"]):
        raise ProblemError("FinishedJobError", 409, "The job has already finished.", input=record["id"])
    return _record_response(await _reader(request).read(record["id"]), 200)


@router.post("/tryons/{job_id}/retry", status_code=202, responses=schemas.answers(202, 404, 409))
async def retry(request: Request, record: OwnJob) -> Response:
    """Start a failed or canceled job again; the stages that have succeeded stay."""
    await run_in_threadpool(submission.retry, record["id"])
    return _record_response(await _reader(request).read(record["id"]), 202)


@router.delete("/tryons/{job_id}", status_code=204, responses=schemas.answers(404))
async def forget(record: OwnJob) -> Response:
    """Delete a job with its result, artifacts and inputs that no other job uses; cancel it if it runs."""
    try:
        await run_in_threadpool(submission.forget, record["id"])
    except jobs.UnknownJobError:  # another request was faster
        raise unknown_job(record["id"]) from None
    return Response(status_code=204)


@router.post(
    "/pictures",
    status_code=201,
    openapi_extra=schemas.PICTURE_BODY,
    responses=schemas.answers(413, 422) | schemas.KEY_OF_PICTURE,
)
async def upload(request: Request, caller: Caller) -> Response:
    """Store a picture, the body of the request; the answer has the key to name it by."""
    with await spool(request.stream()) as file:
        key = await run_in_threadpool(store, file, caller.tenant, "body")
    return JSONResponse({"key": key}, 201)


def _reader(request: Request) -> Reader:
    reader: Reader = request.app.state.reader
    return reader


def _may_see(caller: Key, record: Record) -> bool:
    return bool(record["tenant"] == caller.tenant)


async def _answer(request: Request, job_id: str, prefer: str | None, *, created: bool) -> Response:
    """Answer with a job's record: at once, or after the time that the client prefers to wait."""
    wait_s = _wait_s(prefer)
    record = await _reader(request).wait(job_id, wait_s)
    response = _record_response(record, 200 if not created or record["status"] in FINAL_STATUSES else 202)
    if wait_s:
        response.headers["Preference-Applied"] = f"wait={wait_s}"
    return response


def _record_response(record: Record, code: int) -> Response:
    response = JSONResponse(
        record, code, {"Location": f"/v1/tryons/{record['id']}", "Cache-Control": "no-store"}
    )
    if record["status"] not in FINAL_STATUSES:
        response.headers["Retry-After"] = str(POLL_AGAIN_S)
    return response


def _wait_s(prefer: str | None) -> int:
    """Return for how long the client prefers to wait, seconds; what is not understood is no preference."""
    found = re.search(r"(?:^|[,;\s])wait=(\d{1,6})(?:$|[,;\s])", prefer or "", re.ASCII)
    return min(int(found[1]), MAX_WAIT_S) if found else 0
