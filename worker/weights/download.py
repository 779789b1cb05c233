"""Brings one file over HTTP, going on where an earlier attempt broke off."""

import fcntl
import os
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError, MaxRetryError

from config.errors import WeightsMissingError

RETRY = urllib3.Retry(
    total=5, backoff_factor=0.5, backoff_max=30, status_forcelist=(408, 429, 500, 502, 503, 504)
)
"""How often a download is begun again that brings nothing new; what brings bytes starts the count anew."""

_TIMEOUT = urllib3.Timeout(connect=15, read=60)
_CHUNK = 1 << 20


def download(url: str, target: Path, advance: Callable[[int, int | None], None]) -> None:
    """Bring the file at the URL to `target`.

    What an earlier call left of it is kept and completed with a range request, if the server still has the
    same version (ETag or Last-Modified); otherwise everything is brought anew. Proxies are taken from the
    environment.

    Args:
        url: where the file is; redirects are followed.
        target: where it goes; a second file beside it notes the version that it is part of.
        advance: told the bytes so far and the whole size, None where the server does not say.

    Raises WeightsMissingError when the server refuses, or breaks off too often; what came is kept.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    retry = RETRY
    with target.open("ab") as file, _pool(url) as pool:
        _lock(file, url)
        while True:
            before = os.fstat(file.fileno()).st_size
            try:
                if _go_on(pool, url, target, file, retry, advance):
                    _version_file(target).unlink(missing_ok=True)
                    return
            except MaxRetryError as error:
                raise _gave_up(url, error.reason or error) from error
            except HTTPError as error:
                if os.fstat(file.fileno()).st_size > before:
                    retry = RETRY
                try:
                    retry = retry.increment("GET", url, error=error)
                except (MaxRetryError, HTTPError) as last:
                    raise _gave_up(url, error) from last
                retry.sleep()


def discard(target: Path) -> None:
    """Remove what a download left, so that the next one starts anew."""
    target.unlink(missing_ok=True)
    _version_file(target).unlink(missing_ok=True)


def _go_on(
    pool: urllib3.PoolManager,
    url: str,
    target: Path,
    file: BinaryIO,
    retry: urllib3.Retry,
    advance: Callable[[int, int | None], None],
) -> bool:
    """Ask for the rest of the file and append it; return whether the file is whole."""
    have = os.fstat(file.fileno()).st_size
    version = _version(target)
    headers = {"Accept-Encoding": "identity", "User-Agent": "tryon-workers"}
    if have and version:
        headers |= {"Range": f"bytes={have}-", "If-Range": version}
    response = pool.request(
        "GET", url, headers=headers, preload_content=False, retries=retry, timeout=_TIMEOUT
    )
    try:
        if response.status == 416 and have:  # more is there than the server has: it is not what it was
            file.truncate(0)
            _version_file(target).unlink(missing_ok=True)
            return False
        if response.status == 200:
            have = 0
            file.truncate(0)
            _note_version(target, response.headers)
        elif response.status != 206 or not response.headers.get("Content-Range", "").startswith(
            f"bytes {have}-"
        ):
            raise WeightsMissingError(
                f"{url} answered {response.status} {response.reason or ''}".strip() + ". Nothing was put in "
                "place. Check the network, or bring the file yourself and give it to `tryon weights add`.",
                input=url,
            )
        rest = response.headers.get("Content-Length")
        total = have + int(rest) if rest is not None else None
        advance(have, total)
        # read1 gives what has come: a connection that breaks off within a chunk loses none of it.
        while chunk := response.read1(_CHUNK):
            file.write(chunk)
            file.flush()
            have += len(chunk)
            advance(have, total)
    finally:
        response.close()
    return True


def _pool(url: str) -> urllib3.PoolManager:
    parts = urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.hostname or ""):
        return urllib3.ProxyManager(proxy)
    return urllib3.PoolManager()


def _lock(file: BinaryIO, url: str) -> None:
    """Keep a second process from writing into the same file; the lock goes when the file is closed."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise WeightsMissingError(f"Another process is downloading {url} just now.", input=url) from error


def _version_file(target: Path) -> Path:
    return target.with_name(f"{target.name}.version")


def _version(target: Path) -> str | None:
    try:
        return _version_file(target).read_text()
    except FileNotFoundError:
        return None


def _note_version(target: Path, headers: urllib3.HTTPHeaderDict) -> None:
    """Note by what the server tells this version of the file from others, if by anything that is exact."""
    etag = headers.get("ETag", "")
    version = etag if etag.startswith('"') else headers.get("Last-Modified")
    if version:
        _version_file(target).write_text(version)
    else:
        _version_file(target).unlink(missing_ok=True)


def _gave_up(url: str, error: Exception) -> WeightsMissingError:
    return WeightsMissingError(
        f"{url} could not be downloaded: {error}. Check the network and try again: what came so far is kept. "
        "Or bring the file yourself and give it to `tryon weights add`.",
        input=url,
    )
