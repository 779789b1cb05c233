"""Stores the pictures that a request brings: under the hash of their content, without reading them whole."""

import hashlib
import tempfile
from collections.abc import AsyncIterator
from typing import BinaryIO

from config.errors import ImageLoadError
from config.settings import settings
from tasks.api.problems import ProblemError
from worker.artifacts.storage import storage

CHUNK_BYTES = 1 << 20
"""Bytes that are read at once."""

_SIGNATURES = (
    (b"\xff\xd8\xff", "image/jpeg", ".jpg"),
    (b"\x89PNG\r\n\x1a\n", "image/png", ".png"),
    (b"GIF8", "image/gif", ".gif"),
    (b"BM", "image/bmp", ".bmp"),
    (b"II*\x00", "image/tiff", ".tiff"),
    (b"MM\x00*", "image/tiff", ".tiff"),
)
"""How the accepted formats begin, their media types and suffixes; WebP and AVIF are told by bytes 4 to 12."""


def picture_type(head: bytes) -> tuple[str, str] | None:
    """Return media type and suffix of a picture file by its first 12 bytes; None when it is none."""
    for signature, media_type, suffix in _SIGNATURES:
        if head.startswith(signature):
            return media_type, suffix
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp", ".webp"
    if head[4:12] in (b"ftypavif", b"ftypavis"):
        return "image/avif", ".avif"
    return None


def store(file: BinaryIO, tenant: str, field: str) -> str:
    """Store a picture of a tenant and return its object key.

    Args:
        file: the file, at its beginning.
        tenant: whose it is.
        field: what the request calls it, for errors.

    Raises ImageLoadError for what is no picture, ProblemError for one that is too large, StorageError.
    """
    digest, size = hashlib.sha256(), 0
    kind = picture_type(file.read(12))
    file.seek(0)
    if kind is None:
        raise ImageLoadError("The file is not a picture of an accepted format.", input=field)
    while chunk := file.read(CHUNK_BYTES):
        digest.update(chunk)
        size += len(chunk)
    if size > settings().max_image_bytes:
        raise ProblemError(
            "BodyTooLargeError",
            413,
            f"The picture is {size} bytes; at most {settings().max_image_bytes} are accepted "
            "(TRYON_MAX_IMAGE_BYTES).",
            input=field,
        )
    file.seek(0)
    media_type, suffix = kind
    key = f"{own_prefix(tenant)}{digest.hexdigest()}{suffix}"
    storage().put_input_file(key, file, media_type)
    return key


def own_prefix(tenant: str) -> str:
    """Return what the keys of a tenant's uploads begin with."""
    return f"uploads/{tenant}/"


async def spool(chunks: AsyncIterator[bytes]) -> BinaryIO:
    """Return a temporary file with these bytes, at its beginning; a small one stays in memory."""
    file = tempfile.SpooledTemporaryFile(max_size=CHUNK_BYTES)  # noqa: SIM115 - the caller closes it
    async for chunk in chunks:
        file.write(chunk)
    file.seek(0)
    return file  # type: ignore[return-value] # it has the methods of a binary file
