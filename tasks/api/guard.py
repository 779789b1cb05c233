"""What every request passes first: limits of its body, and where it may come from."""

import asyncio
import time
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tasks.api.problems import ProblemError, slow_request

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


@dataclass
class BodyGuard:
    """Refuses a body that is too large, before it is read where its length is known, or too slow.

    Attributes:
        app: what comes after.
        max_bytes: largest body, bytes.
        timeout_s: time in which the whole body must arrive, seconds.
    """

    app: ASGIApp
    max_bytes: int
    timeout_s: float

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "")
        if length.isascii() and length.isdigit() and int(length[:20]) > self.max_bytes:
            await _answer(_too_large(self.max_bytes), scope, receive, send)
            return
        body = _Body(receive, self.max_bytes, time.monotonic() + self.timeout_s)
        try:
            await self.app(scope, body.receive, send)
        except ProblemError as problem:  # raised after the application's own handlers
            await _answer(problem, scope, receive, send)


@dataclass
class _Body:
    """The body of one request while it arrives."""

    receive_next: Receive
    max_bytes: int
    deadline: float
    size: int = 0
    complete: bool = False

    async def receive(self) -> Message:
        if self.complete:
            return await self.receive_next()  # waits for the client's end
        try:
            async with asyncio.timeout(max(0.0, self.deadline - time.monotonic())):
                message = await self.receive_next()
        except TimeoutError:
            raise slow_request("body") from None
        self.size += len(message.get("body", b""))
        if self.size > self.max_bytes:
            raise _too_large(self.max_bytes)
        self.complete = not message.get("more_body", False)
        return message


def _too_large(max_bytes: int) -> ProblemError:
    return ProblemError(
        "BodyTooLargeError",
        413,
        f"The body of the request is larger than {max_bytes} bytes (TRYON_MAX_IMAGE_BYTES for each picture).",
        headers={"Connection": "close"},
    )


@dataclass
class OriginGuard:
    """Refuses what a foreign web page makes a browser send.

    Attributes:
        app: what comes after.
        origins: other origins that may call, such as https://shop.example.
    """

    app: ASGIApp
    origins: Collection[str] = ()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a connection."""
        problem = self._problem(scope) if scope["type"] == "http" else None
        if problem is None:
            await self.app(scope, receive, send)
        else:
            await _answer(problem, scope, receive, send)

    def _problem(self, scope: Scope) -> ProblemError | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        origin = headers.get("origin")
        foreign = origin is not None and urlsplit(origin).netloc != host and origin not in self.origins
        if scope["method"] not in _SAFE_METHODS and foreign:
            return ProblemError(
                "ForeignOriginError", 403, "A page of another origin may not call this server."
            )
        return None


async def _answer(problem: ProblemError, scope: Scope, receive: Receive, send: Send) -> None:
    await problem.response()(scope, receive, send)
