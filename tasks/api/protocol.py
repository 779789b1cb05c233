"""uvicorn's HTTP protocol with a time limit for the head of a request, which uvicorn itself does not have."""

import asyncio
import json

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from config.settings import settings
from tasks.api.problems import MEDIA_TYPE, slow_request


class TimedProtocol(HttpToolsProtocol):
    """Closes a connection whose next request does not begin, or whose head does not end, in time.

    Without it, clients that send a byte now and then could hold every connection.
    """

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """Wait for the first head."""
        super().connection_made(transport)
        self._await_head()

    def on_message_begin(self) -> None:
        """Wait for the end of this head."""
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        """Stop waiting: the body has a time limit of its own."""
        self._stop_timer()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_timer()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(settings().api_body_timeout_s, self._refuse)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self) -> None:
        problem = slow_request("head")
        body = json.dumps(problem.document()).encode()
        head = (
            f"HTTP/1.1 {problem.status} Request Timeout\r\nContent-Type: {MEDIA_TYPE}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
