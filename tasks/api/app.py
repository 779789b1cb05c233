"""The web application: the HTTP interface and the page."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio.to_thread
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.staticfiles import StaticFiles
from starlette.middleware import Middleware

from config.settings import settings
from db.session import MAX_OVERFLOW
from tasks.api import page, problems, tryons
from tasks.api.callers import Callers
from tasks.api.guard import BodyGuard, OriginGuard
from tasks.api.reader import Reader
from tasks.api.schemas import ProblemDocument

FORM_BYTES = 1_000_000
"""Bytes of a request besides its two pictures."""


def create_app(*, keys_required: bool) -> FastAPI:
    """Return the application.

    Args:
        keys_required: whether every request needs an API key. False: on this machine's loopback address a
            request needs none until the first key is made.
    """
    current = settings()
    origins = [origin.strip() for origin in (current.api_cors_origins or "").split(",") if origin.strip()]
    app = FastAPI(
        lifespan=_limit_threads,
        title="Try-on",
        summary="Submit try-ons and read their state.",
        version="1",
        docs_url=None,  # its scripts come from another host
        redoc_url=None,
        middleware=[
            Middleware(
                BodyGuard,
                max_bytes=2 * current.max_image_bytes + FORM_BYTES,
                timeout_s=current.api_body_timeout_s,
            ),
            Middleware(OriginGuard, origins=origins),
            *(
                [
                    Middleware(
                        CORSMiddleware,
                        allow_origins=origins,
                        allow_methods=["GET", "POST", "DELETE"],
                        allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "Prefer"],
                    )
                ]
                if origins
                else []
            ),
        ],
    )
    app.state.reader = Reader()
    app.state.callers = Callers(keys_required)
    app.add_api_route("/healthz", _alive, include_in_schema=False)
    app.include_router(tryons.router)
    app.include_router(page.router)
    app.mount("/static", StaticFiles(directory=page.FOLDER / "static"))
    problems.install(app, page.show)
    _describe(app)
    return app


async def _alive() -> dict[str, str]:
    """Answer that the server runs, whatever runs behind it."""
    return {"status": "ok"}


@asynccontextmanager
async def _limit_threads(_: FastAPI) -> AsyncIterator[None]:
    """Run no more blocking calls at once than there are connections to the database."""
    limiter = anyio.to_thread.current_default_thread_limiter()
    limiter.total_tokens = settings().database_pool_size + MAX_OVERFLOW
    yield


def _describe(app: FastAPI) -> None:
    """Add the schema of problem documents and the keys to the description of the interface."""
    described = app.openapi()
    described["components"]["schemas"]["ProblemDocument"] = ProblemDocument.model_json_schema()
    described["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    described["security"] = [{"key": []}, {}]
