"""The clients. Both make the same requests; one waits, the other is awaited."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx

FINAL_STATUSES = ("succeeded", "failed", "canceled")

WAIT_S = 30
"""How long one request waits for the end of a job, seconds; the server allows 60."""

TIMEOUT_S = 90.0
"""Time limit of a request, seconds: longer than it may wait."""

ATTEMPTS = 4
"""Attempts at a request when the server does not answer, or says that a later one may succeed."""

FIRST_DELAY_S = 0.5
"""Delay before the second attempt, seconds; it doubles."""

Picture = str | Path | bytes
Record = dict[str, Any]


class TryonError(Exception):
    """An answer that is an error.

    Attributes:
        name: the error's name, such as InputValidationError.
        status: HTTP status code.
        message: what is wrong and what to do.
        input: the field at fault, or None.
        retryable: whether the same request may succeed later.
    """

    def __init__(self, response: httpx.Response) -> None:
        try:
            document = response.json()
        except ValueError:
            document = {}
        self.name = str(document.get("name", "HttpError"))
        self.status = response.status_code
        self.message = str(document.get("detail", response.text[:200]))
        self.input = document.get("input")
        self.retryable = bool(document.get("retryable", response.status_code >= 500))
        super().__init__(f"{self.name}: {self.message}")


@dataclass(frozen=True)
class _Call:
    """A request."""

    method: str
    path: str
    options: Mapping[str, Any] = field(default_factory=dict)
    repeatable: bool = True
    """Whether it may be sent again when its answer was lost: doing it twice is doing it once."""


def _submit(
    person: Picture, garment: Picture, idempotency_key: str | None, options: Mapping[str, Any]
) -> _Call:
    """Return the request of a submission; keys of objects and files may be mixed."""
    files, keys = {}, {}
    for name, key_name, picture in (("person", "person_key", person), ("garment", "cloth_key", garment)):
        if isinstance(picture, bytes):
            files[name] = (name, picture)
        elif isinstance(picture, Path) or Path(picture).is_file():
            files[name] = (Path(picture).name, Path(picture).read_bytes())
        else:
            keys[key_name] = picture
    headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
    if not files:
        return _Call("POST", "/v1/tryons", {"json": keys | dict(options), "headers": headers})
    texts = {
        name: ",".join(value) if isinstance(value, list) else str(value)
        for name, value in (keys | dict(options)).items()
        if value is not None
    }
    return _Call("POST", "/v1/tryons", {"files": files, "data": texts, "headers": headers})


def _batch(
    person_keys: Iterable[str],
    garment_keys: Iterable[str],
    idempotency_key: str | None,
    options: Mapping[str, Any],
) -> _Call:
    body = {"person_keys": list(person_keys), "cloth_keys": list(garment_keys), **options}
    headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
    return _Call("POST", "/v1/tryons:batch", {"json": body, "headers": headers})


def _upload(picture: Picture) -> _Call:
    data = picture if isinstance(picture, bytes) else Path(picture).read_bytes()
    return _Call("POST", "/v1/pictures", {"content": data})


def _list(status: str | None, cursor: str | None, limit: int) -> _Call:
    parameters = {"limit": limit, "status": status, "cursor": cursor}
    return _Call("GET", "/v1/tryons", {"params": {k: v for k, v in parameters.items() if v is not None}})


def _delays() -> Iterator[float | None]:
    """Yield the delay after each attempt, seconds; None after the last."""
    for attempt in range(ATTEMPTS - 1):
        yield FIRST_DELAY_S * 2.0**attempt
    yield None


def _may_pass(response: httpx.Response) -> bool:
    return response.status_code in (429, 502, 503, 504)


def _options(url: str, key: str | None) -> dict[str, Any]:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return {"base_url": url, "headers": headers, "timeout": TIMEOUT_S}


def _checked(response: httpx.Response) -> httpx.Response:
    if response.is_error:
        raise TryonError(response)
    return response


class Client:
    """A client that waits for the answers.

    Every method raises TryonError for an answer that is an error, and httpx.TransportError when the server
    does not answer in four attempts.
    """

    def __init__(self, url: str, key: str | None = None) -> None:
        """Connect nothing yet.

        Args:
            url: the server, such as http://127.0.0.1:8000.
            key: the API key.
        """
        self._http = httpx.Client(**_options(url, key))

    def submit(
        self, person: Picture, garment: Picture, *, idempotency_key: str | None = None, **options: Any
    ) -> Record:
        """Submit a try-on of two files, bytes or object keys; return its status record."""
        return self._json(_submit(person, garment, idempotency_key, options))

    def batch(
        self,
        person_keys: Iterable[str],
        garment_keys: Iterable[str],
        *,
        idempotency_key: str | None = None,
        **options: Any,
    ) -> list[Record]:
        """Submit each person with each garment, all or none; return their status records."""
        records: list[Record] = self._json(_batch(person_keys, garment_keys, idempotency_key, options))[
            "tryons"
        ]
        return records

    def upload(self, picture: Picture) -> str:
        """Store a picture; return its object key."""
        return str(self._json(_upload(picture))["key"])

    def status(self, job_id: str) -> Record:
        """Return a job's status record."""
        return self._json(_Call("GET", f"/v1/tryons/{job_id}"))

    def wait(self, job_id: str, timeout_s: float | None = None) -> Record:
        """Return a job's status record once it has finished, or after the time limit."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left = WAIT_S if deadline is None else max(0, min(WAIT_S, int(deadline - time.monotonic())))
            record = self._json(_Call("GET", f"/v1/tryons/{job_id}", {"headers": {"Prefer": f"wait={left}"}}))
            if record["status"] in FINAL_STATUSES or left == 0:
                return record

    def list(self, *, status: str | None = None, cursor: str | None = None, limit: int = 20) -> Record:
        """Return `tryons`, the newest jobs, and `next`, the cursor of the next page or None."""
        return self._json(_list(status, cursor, limit))

    def result(self, job_id: str) -> bytes:
        """Return a job's picture."""
        response = self._send(_Call("GET", f"/v1/tryons/{job_id}/result"))
        picture = httpx.get(response.headers["location"], timeout=TIMEOUT_S)
        return _checked(picture).content

    def save(self, job_id: str, path: str | Path) -> None:
        """Write a job's picture to a file."""
        Path(path).write_bytes(self.result(job_id))

    def cancel(self, job_id: str) -> Record:
        """Cancel a job that has not finished."""
        return self._json(_Call("POST", f"/v1/tryons/{job_id}/cancel", repeatable=False))

    def retry(self, job_id: str) -> Record:
        """Start a failed or canceled job again."""
        return self._json(_Call("POST", f"/v1/tryons/{job_id}/retry", repeatable=False))

    def forget(self, job_id: str) -> None:
        """Delete a job and its pictures."""
        self._send(_Call("DELETE", f"/v1/tryons/{job_id}", repeatable=False))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _json(self, call: _Call) -> Record:
        record: Record = self._send(call).json()
        return record

    def _send(self, call: _Call) -> httpx.Response:
        for delay_s in _delays():
            try:
                response = self._http.request(call.method, call.path, **call.options)
            except httpx.TransportError:
                if delay_s is None or not call.repeatable:
                    raise
            else:
                if delay_s is None or not _may_pass(response):
                    return _checked(response)
            time.sleep(delay_s)
        raise AssertionError("unreachable: the last attempt returns or raises")


class AsyncClient:
    """A client that is awaited; its methods are those of `Client`, and `events`."""

    def __init__(self, url: str, key: str | None = None) -> None:
        """Connect nothing yet; see `Client`."""
        self._http = httpx.AsyncClient(**_options(url, key))

    async def submit(
        self, person: Picture, garment: Picture, *, idempotency_key: str | None = None, **options: Any
    ) -> Record:
        """Submit a try-on of two files, bytes or object keys; return its status record."""
        call = await asyncio.to_thread(_submit, person, garment, idempotency_key, options)
        return await self._json(call)

    async def batch(
        self,
        person_keys: Iterable[str],
        garment_keys: Iterable[str],
        *,
        idempotency_key: str | None = None,
        **options: Any,
    ) -> list[Record]:
        """Submit each person with each garment, all or none; return their status records."""
        answer = await self._json(_batch(person_keys, garment_keys, idempotency_key, options))
        records: list[Record] = answer["tryons"]
        return records

    async def upload(self, picture: Picture) -> str:
        """Store a picture; return its object key."""
        return str((await self._json(await asyncio.to_thread(_upload, picture)))["key"])

    async def status(self, job_id: str) -> Record:
        """Return a job's status record."""
        return await self._json(_Call("GET", f"/v1/tryons/{job_id}"))

    async def wait(self, job_id: str) -> Record:
        """Return a job's status record once it has finished; limit it with `asyncio.timeout`."""
        while True:
            prefer = {"headers": {"Prefer": f"wait={WAIT_S}"}}
            record = await self._json(_Call("GET", f"/v1/tryons/{job_id}", prefer))
            if record["status"] in FINAL_STATUSES:
                return record

    async def events(self, job_id: str) -> AsyncIterator[Record]:
        """Yield the job's status record at each change, until it has finished."""
        async with self._http.stream("GET", f"/v1/tryons/{job_id}/events") as response:
            if response.is_error:
                await response.aread()
                raise TryonError(response)
            async for line in response.aiter_lines():
                if line.startswith("data: "):
                    yield json.loads(line.removeprefix("data: "))

    async def list(self, *, status: str | None = None, cursor: str | None = None, limit: int = 20) -> Record:
        """Return `tryons`, the newest jobs, and `next`, the cursor of the next page or None."""
        return await self._json(_list(status, cursor, limit))

    async def result(self, job_id: str) -> bytes:
        """Return a job's picture."""
        response = await self._send(_Call("GET", f"/v1/tryons/{job_id}/result"))
        async with httpx.AsyncClient(timeout=TIMEOUT_S) as store:
            return _checked(await store.get(response.headers["location"])).content

    async def cancel(self, job_id: str) -> Record:
        """Cancel a job that has not finished."""
        return await self._json(_Call("POST", f"/v1/tryons/{job_id}/cancel", repeatable=False))

    async def retry(self, job_id: str) -> Record:
        """Start a failed or canceled job again."""
        return await self._json(_Call("POST", f"/v1/tryons/{job_id}/retry", repeatable=False))

    async def forget(self, job_id: str) -> None:
        """Delete a job and its pictures."""
        await self._send(_Call("DELETE", f"/v1/tryons/{job_id}", repeatable=False))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _json(self, call: _Call) -> Record:
        record: Record = (await self._send(call)).json()
        return record

    async def _send(self, call: _Call) -> httpx.Response:
        for delay_s in _delays():
            try:
                response = await self._http.request(call.method, call.path, **call.options)
            except httpx.TransportError:
                if delay_s is None or not call.repeatable:
                    raise
            else:
                if delay_s is None or not _may_pass(response):
                    return _checked(response)
            await asyncio.sleep(delay_s)
        raise AssertionError("unreachable: the last attempt returns or raises")
