"""Clients that poll and clients that follow event streams, in a process of their own.

    python -m worker.lab.http_bench.pollers URL STREAMS < ids of jobs, one a line

Prints one JSON object after a line `stop`. Plain sockets: a full HTTP client would take more processor time
than the server that is measured.
"""

import asyncio
import json
import os
import random
import sys
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

POLL_INTERVAL_S = 2.0
"""Interval of each poller, seconds: what the server's `Retry-After` asks for."""

KEY_VARIABLE = "BENCH_API_KEY"
"""Environment variable with the API key, where the system has keys."""


@dataclass
class Figures:
    """What the clients saw: seconds of each answer, events, answers that were no success."""

    latencies_s: list[float] = field(default_factory=list)
    events: int = 0
    errors: int = 0

    def summary(self) -> dict[str, float]:
        """Return counts, and the median and 99th percentile of the latency in milliseconds."""
        ordered = sorted(self.latencies_s)
        return {
            "polls": len(ordered),
            "events": self.events,
            "errors": self.errors,
            "median_ms": round(1000 * ordered[len(ordered) // 2], 1),
            "p99_ms": round(1000 * ordered[int(0.99 * len(ordered))], 1),
        }


def _request(host: str, path: str) -> bytes:
    key = os.environ.get(KEY_VARIABLE)
    authorization = f"Authorization: Bearer {key}\r\n" if key else ""
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{authorization}\r\n".encode()


async def _answer(reader: asyncio.StreamReader) -> bool:
    """Read one answer; return whether it is a success."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length:")
    )
    await reader.readexactly(length)
    return head.startswith(b"HTTP/1.1 200")


async def _poll(host: str, port: int, job_id: str, figures: Figures) -> None:
    reader, writer = await asyncio.open_connection(host, port)
    request = _request(f"{host}:{port}", f"/v1/tryons/{job_id}")
    await asyncio.sleep(random.uniform(0, POLL_INTERVAL_S))  # noqa: S311 - only spreads the load
    while True:
        asked = time.perf_counter()
        writer.write(request)
        if not await _answer(reader):
            figures.errors += 1
        figures.latencies_s.append(time.perf_counter() - asked)
        await asyncio.sleep(POLL_INTERVAL_S)


async def _follow(host: str, port: int, job_id: str, figures: Figures) -> None:
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(_request(f"{host}:{port}", f"/v1/tryons/{job_id}/events"))
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"no event stream: {head!r}")
    while line := await reader.readline():
        figures.events += line.startswith(b"data:")


async def run(url: str, streams: int, job_ids: list[str]) -> Figures:
    """Poll each job; follow the first ones by a stream, too; until standard input says `stop`."""
    parts = urlsplit(url)
    host, port = str(parts.hostname), int(parts.port or 80)
    figures = Figures()
    tasks = [asyncio.create_task(_poll(host, port, job_id, figures)) for job_id in job_ids]
    tasks += [asyncio.create_task(_follow(host, port, job_id, figures)) for job_id in job_ids[:streams]]
    stopped = asyncio.create_task(asyncio.to_thread(sys.stdin.readline))
    await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
    ended = [task.exception() for task in tasks if task.done()]
    for task in tasks:
        task.cancel()
    if ended:
        raise RuntimeError(f"{len(ended)} clients lost their connection: {ended[0]!r}")
    return figures


def main() -> None:
    """Read the ids up to an empty line, run, print the figures."""
    url, streams = sys.argv[1], int(sys.argv[2])
    job_ids = []
    while (line := sys.stdin.readline().strip()) != "":
        job_ids.append(line)
    print(json.dumps(asyncio.run(run(url, streams, job_ids)).summary()))


if __name__ == "__main__":
    main()
