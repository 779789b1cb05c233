"""Downloads one file over HTTP, and resumes a partial download.

This module is own code because no library keeps all of its guarantees, each of which has a test:

- A download that fails keeps its bytes, and a later call, also in another process, requests only the rest.
- The parts of two versions of a file are never joined: the rest is requested with If-Range, and the ETag or
  Last-Modified of the partial file is stored next to it.
- An attempt that received new bytes resets the retry counter.
- Two processes never write to the same partial file.

`pooch` 1.9 keeps none of them: it writes to a temporary file of a random name, deletes that file when an
attempt fails, and every attempt requests the whole file, without a Range header. What pooch offers otherwise
(hash check, atomic placement, registry of files) is in `worker.weights.folder` and `catalogue.toml`, because
the files from wheels, from Google Drive, from the project and from the user need it as well. `gdown` 6.5,
which downloads from Google Drive, resumes but does not store the version between two calls.
"""

import fcntl
import os
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, MaxRetryError

from config.errors import WeightsMissingError

RETRY_POLICY = urllib3.Retry(
    total=5, backoff_factor=0.5, backoff_max=30, status_forcelist=(408, 429, 500, 502, 503, 504)
)
"""Consecutive attempts without a new byte, with exponential backoff (seconds), before a download fails."""

_TIMEOUT = urllib3.Timeout(connect=15, read=60)  # seconds; a large file may pause, but not for a minute
_MAX_REDIRECTS = 10
_CHUNK = 1 << 20  # bytes per read: one progress report for each

Progress = Callable[[int, int | None], None]
"""Called with the bytes received so far and the total size; None where the server does not state it."""


def download(url: str, target: Path, report: Progress) -> None:
    """Download the file at the URL to `target`.

    The bytes of an earlier call are kept and completed by a range request, if the server still has the same
    version of the file (ETag or Last-Modified). Otherwise the download restarts. Proxies are taken from the
    environment.

    Args:
        url: the file's URL; redirects are followed, but not from https to http.
        target: the file to write. A second file next to it stores the version of a partial download.
        report: called after each chunk.

    Raises WeightsMissingError when the server refuses, or when the retries are used up; the bytes received
    so far are kept.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    retry = RETRY_POLICY
    with target.open("ab") as file, _connection_pool(url) as pool:
        _lock(file, url)
        while True:
            size_before = os.fstat(file.fileno()).st_size
            try:
                if _request_rest(pool, url, target, file, retry, report):
                    _version_file(target).unlink(missing_ok=True)
                    return
            except MaxRetryError as error:
                raise _failed(url, error.reason or error) from error
            except HTTPError as error:
                if os.fstat(file.fileno()).st_size > size_before:
                    retry = RETRY_POLICY
                try:
                    retry = retry.increment("GET", url, error=error)
                except (MaxRetryError, HTTPError) as last_error:
                    raise _failed(url, error) from last_error
                retry.sleep()


def _request_rest(
    pool: urllib3.PoolManager,
    url: str,
    target: Path,
    file: BinaryIO,
    retry: urllib3.Retry,
    report: Progress,
) -> bool:
    """Request the rest of the file and append it; return whether the file is complete."""
    size = os.fstat(file.fileno()).st_size
    version = _stored_version(target)
    headers = {"Accept-Encoding": "identity", "User-Agent": "tryon-workers"}
    if size and version:
        headers |= {"Range": f"bytes={size}-", "If-Range": version}
    response = _get(pool, url, headers, retry)
    try:
        if response.status == 416 and size:  # The partial file is longer than the server's file: restart.
            file.truncate(0)
            _version_file(target).unlink(missing_ok=True)
            return False
        if response.status == 200:  # The whole file: another version, or a server without ranges.
            size = 0
            file.truncate(0)
            _store_version(target, response.headers)
        elif not _continues_at(response, size):
            raise _refused(url, response)
        _append_body(response, file, size, report)
    finally:
        response.close()
    return True


def _get(
    pool: urllib3.PoolManager, url: str, headers: dict[str, str], retry: urllib3.Retry
) -> urllib3.BaseHTTPResponse:
    """Return the answer to a GET; redirects are followed, but not from https to another scheme."""
    for _ in range(_MAX_REDIRECTS):
        response = pool.request(
            "GET",
            url,
            headers=headers,
            preload_content=False,
            retries=retry,
            timeout=_TIMEOUT,
            redirect=False,
        )
        location = response.get_redirect_location()
        if not location:
            return response
        response.close()
        target = urljoin(url, location)
        if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https":
            raise WeightsMissingError(
                f"{url} redirects to {target}, which is not encrypted; it is not followed. Download the file "
                "yourself from a source that you trust and import it with `tryon weights add`.",
                input=url,
            )
        url = target
    raise WeightsMissingError(f"{url} redirects more than {_MAX_REDIRECTS} times.", input=url)


def _continues_at(response: urllib3.BaseHTTPResponse, size: int) -> bool:
    content_range = response.headers.get("Content-Range", "")
    return response.status == 206 and content_range.startswith(f"bytes {size}-")


def _append_body(response: urllib3.BaseHTTPResponse, file: BinaryIO, size: int, report: Progress) -> None:
    length = response.headers.get("Content-Length")
    total = size + int(length) if length is not None else None
    report(size, total)
    # read1 returns the bytes that have arrived: a connection that breaks within a chunk loses none of them.
    while chunk := response.read1(_CHUNK):
        file.write(chunk)
        file.flush()
        size += len(chunk)
        report(size, total)


def _connection_pool(url: str) -> urllib3.PoolManager:
    parts = urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.hostname or ""):
        return urllib3.ProxyManager(proxy)
    return urllib3.PoolManager()


def _lock(file: BinaryIO, url: str) -> None:
    """Lock the file against other processes; closing it releases the lock."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise WeightsMissingError(f"Another process is downloading {url} now.", input=url) from error


def _version_file(target: Path) -> Path:
    return target.with_name(f"{target.name}.version")


def _stored_version(target: Path) -> str | None:
    try:
        return _version_file(target).read_text()
    except FileNotFoundError:
        return None


def _store_version(target: Path, headers: urllib3.HTTPHeaderDict) -> None:
    """Store the exact version of the file that the server sends: a strong ETag, else Last-Modified."""
    etag = headers.get("ETag", "")
    version = etag if etag.startswith('"') else headers.get("Last-Modified")
    if version:
        _version_file(target).write_text(version)
    else:
        _version_file(target).unlink(missing_ok=True)


def _refused(url: str, response: urllib3.BaseHTTPResponse) -> WeightsMissingError:
    answer = f"{response.status} {response.reason or ''}".strip()
    return WeightsMissingError(
        f"{url} answered {answer}. No model file was changed. Check the network, or download the "
        "file yourself and import it with `tryon weights add`.",
        input=url,
    )


def _failed(url: str, error: Exception) -> WeightsMissingError:
    return WeightsMissingError(
        f"{url} could not be downloaded: {error}. Check the network and try again: the bytes received so far "
        "are kept. Or download the file yourself and import it with `tryon weights add`.",
        input=url,
    )
