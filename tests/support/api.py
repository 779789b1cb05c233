"""A real server of the HTTP interface, and pictures to send to it."""

import os
import signal
import subprocess
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from struct import pack

import httpx

from tests.support.waiting import wait_for
from tests.support.workers import ROOT

KEY_CACHE_S = 0.05
"""How long the tests' servers use an answer about keys, seconds: the next test has no keys."""

PROGRAM = (
    f"from tasks.api import callers; callers.KEY_CACHE_S = {KEY_CACHE_S}; from tasks.cli import main; main()"
)
COMMAND = [sys.executable, "-c", PROGRAM, "serve", "--port", "0"]
TIMEOUT_S = 30


class ApiProcess:
    """`tryon serve` in a process of its own; it answers when the constructor returns."""

    def __init__(
        self, log: Path, *arguments: str, command: Sequence[str] = COMMAND, **environment: str
    ) -> None:
        self.log = log
        self.local = "--host" not in arguments
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [*command, *arguments],
                cwd=ROOT,
                env=os.environ | environment,
                stdout=output,
                stderr=output,
            )
        self.url = wait_for(self._address, f"the server to listen; see {log}")

    def _address(self) -> str | None:
        lines = self.log.read_text().splitlines()
        if self.process.poll() is not None:
            raise AssertionError(f"the server ended:\n{self.log.read_text()}")
        return next(
            (line.removeprefix("The page: ") for line in lines if line.startswith("The page: ")), None
        )

    def client(self, key: str | None = None) -> httpx.Client:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        if key is None and self.local:
            wait_for(self._needs_no_key, "the keys of other tests to be gone")
        return httpx.Client(base_url=self.url, headers=headers, timeout=TIMEOUT_S, trust_env=False)

    def _needs_no_key(self) -> bool:
        return httpx.get(f"{self.url}v1/tryons", timeout=TIMEOUT_S, trust_env=False).status_code == 200

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(TIMEOUT_S)


def png(text: str) -> bytes:
    """Return a PNG file of one pixel, with a comment that makes its content unique."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return pack(">I", len(data)) + kind + data + pack(">I", zlib.crc32(kind + data))

    header = pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"\0\0")
    parts = ((b"IHDR", header), (b"tEXt", b"c\0" + text.encode()), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, data) for kind, data in parts)
