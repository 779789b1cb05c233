"""The page: submit a try-on, watch its stages, see the result beside the input; server-rendered HTML."""

from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.templating import Jinja2Templates
from starlette.concurrency import run_in_threadpool

from config.errors import TryonError
from config.settings import settings
from db import jobs
from db.keys import Key
from db.models import JOB_STATUSES
from tasks.api import pictures, submission
from tasks.api.callers import COOKIE, Callers
from tasks.api.problems import ProblemError, problem_of
from tasks.api.reader import FINAL_STATUSES, Record
from tasks.api.tryons import Caller, OwnJob
from worker.stages.engines import ENGINES
from worker.stages.table import AUTO

FOLDER = Path(__file__).parent
SIGN_IN_S = 30 * 86_400
"""How long a browser stays signed in, seconds."""

PICTURE_CACHE_S = 3600
"""How long a browser may keep a picture of a job, seconds."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""What the page may load and call: this server only."""

HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    # With `no-referrer` a browser would send forms with the origin "null".
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}

templates = Jinja2Templates(FOLDER / "templates")
router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


@router.get("/")
async def index(request: Request, caller: Caller) -> Response:
    """Show the form of a new try-on."""
    return _form(request, caller)


@router.post("/jobs")
async def submit(request: Request, caller: Caller) -> Response:
    """Submit the form; show it again with the reason when it is refused."""
    from tasks import tryon

    try:
        body = await submission.body(request, caller)
        key = body.pop("form_id", None)
        arguments = submission.arguments(body, caller, str(key) if key else None)
        handle = await run_in_threadpool(tryon.apply_async, (), arguments)
    except (TryonError, ProblemError) as error:
        return _form(request, caller, problem_of(error))
    return _see(f"/jobs/{handle.id}")


@router.get("/jobs")
async def job_list(
    request: Request,
    caller: Caller,
    status: Annotated[Literal["", "queued", "running", "succeeded", "failed", "canceled"], Query()] = "",
    cursor: Annotated[str | None, Query(max_length=1000)] = None,
) -> Response:
    """Show the newest jobs."""
    statuses = (status,) if status else JOB_STATUSES
    page = await run_in_threadpool(
        jobs.listed, tenant=caller.tenant, after=submission.cursor(cursor), statuses=statuses
    )
    after = submission.cursor_text(page.after)
    older = urlencode({"status": status, "cursor": after}) if after else None
    return _html(request, caller, "jobs.html", jobs=page.jobs, status=status, older=older)


@router.get("/jobs/{job_id}")
async def job_page(request: Request, caller: Caller, record: OwnJob) -> Response:
    """Show a job: stages, result, pictures, errors."""
    return await _job(request, caller, record, "job.html")


@router.get("/jobs/{job_id}/state")
async def job_state(request: Request, caller: Caller, record: OwnJob) -> Response:
    """Show the part of a job's page that changes while it runs."""
    return await _job(request, caller, record, "state.html")


@router.post("/jobs/{job_id}/{action}")
async def act(record: OwnJob, action: Literal["cancel", "retry", "forget"]) -> Response:
    """Cancel, retry or forget a job, and show what is there then."""
    with suppress(jobs.NotRetryableError, jobs.UnknownJobError):  # the next page shows what it has become
        await run_in_threadpool(submission.ACTIONS[action], record["id"])
    return _see("/jobs" if action == "forget" else f"/jobs/{quote(record['id'])}")


@router.get("/jobs/{job_id}/pictures/{name}")
@router.get("/jobs/{job_id}/pictures/{stage}/{name}")
async def picture(record: OwnJob, name: str, stage: str | None = None) -> Response:
    """Return a picture of a job: `person`, `garment`, `result`, or one that a stage made."""
    data, media_type = await run_in_threadpool(pictures.read, record, stage, name)
    headers = HEADERS | {"Cache-Control": f"private, max-age={PICTURE_CACHE_S}"}
    return Response(data, media_type=media_type, headers=headers)


@router.get("/sign-in")
async def sign_in_form(request: Request) -> Response:
    """Ask for an API key."""
    return _html(request, None, "sign_in.html", wrong=False)


@router.post("/sign-in")
async def sign_in(request: Request, key: Annotated[str, Form(max_length=200)]) -> Response:
    """Keep a valid key in a cookie that scripts cannot read."""
    callers: Callers = request.app.state.callers
    if await callers.find(key.strip()) is None:
        return _html(request, None, "sign_in.html", code=401, wrong=True)
    response = _see("/")
    response.set_cookie(
        COOKIE,
        key.strip(),
        max_age=SIGN_IN_S,
        httponly=True,
        samesite="strict",
        secure=request.headers.get("x-forwarded-proto", request.url.scheme) == "https",
    )
    return response


@router.post("/sign-out")
async def sign_out() -> Response:
    """Forget the key."""
    response = _see("/sign-in")
    response.delete_cookie(COOKIE)
    return response


async def show(request: Request, problem: ProblemError) -> Response | None:
    """Show a problem as a page; ask for a key where one is missing. None when no person looks."""
    if request.url.path.startswith("/v1/") or "text/html" not in request.headers.get("accept", ""):
        return None
    if problem.status == 401:
        return _see("/sign-in")
    return _html(request, None, "problem.html", code=problem.status, problem=problem)


async def _job(request: Request, caller: Key, record: Record, template: str) -> Response:
    shown = await run_in_threadpool(pictures.of_stages, record)
    done = record["status"] in FINAL_STATUSES
    return _html(request, caller, template, job=record, done=done, pictures=shown)


def _form(request: Request, caller: Key, problem: ProblemError | None = None) -> Response:
    return _html(
        request,
        caller,
        "index.html",
        code=problem.status if problem else 200,
        problem=problem,
        engines=(AUTO, *(engine.name for engine in ENGINES)),
        max_megabytes=settings().max_image_bytes // 1_000_000,
    )


def _html(request: Request, caller: Key | None, template: str, code: int = 200, **values: Any) -> Response:
    values |= {"signed_in": request.cookies.get(COOKIE) is not None, "caller": caller}
    return templates.TemplateResponse(request, template, values, status_code=code, headers=HEADERS)


def _see(path: str) -> RedirectResponse:
    """Return the answer to a form: the browser reads the path, and a reload sends nothing again."""
    return RedirectResponse(path, 303)
