"""A receiver of webhooks, and a sender in a process of its own."""

import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from standardwebhooks import Webhook

from tests.support.workers import ROOT

SENDER = [sys.executable, "-c", "from tasks.cli import main; main()", "webhooks", "send"]
SETTINGS = {
    "TRYON_WEBHOOK_NETWORKS": "127.0.0.0/8",
    "TRYON_WEBHOOK_BACKOFF_S": "0.1",
    "TRYON_WEBHOOK_TIMEOUT_S": "0.7",
}


@dataclass
class Received:
    """A request that a receiver got."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def verified(self, secret: str) -> Any:
        """Return the event; raises an error when the signature is not that of the secret."""
        return Webhook(secret).verify(self.body, self.headers)


class Receiver:
    """Receives webhooks on a free port of 127.0.0.1. `codes` are its next answers; then 204."""

    def __init__(self, *codes: int, port: int = 0) -> None:
        self.received: list[Received] = []
        self.codes = list(codes)
        self.hang = threading.Event()
        self.hang.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.received.append(Received(self.path, headers, body))
                if self.path == "/hang":
                    receiver.hang.clear()
                    receiver.hang.wait(30)
                code = receiver.codes.pop(0) if receiver.codes else 204
                self.send_response(code)
                if code == 302:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/hook"
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def stop(self) -> None:
        self.hang.set()
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


class SenderProcess:
    """`tryon webhooks send` in a process of its own."""

    def __init__(self, log: Path, command: list[str] | None = None, **environment: str) -> None:
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command or SENDER,
                cwd=ROOT,
                env=os.environ | SETTINGS | environment,
                stdout=output,
                stderr=output,
            )

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)
