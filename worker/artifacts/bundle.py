"""Packs a bundle: named pictures (PNG, JPEG) and JSON values in one deterministic zip file."""

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from config.errors import ArtifactError
from worker.contract import Bundle

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest date of the zip format. With a constant date, equal contents give equal bytes."""

_PNG_COMPRESSION = 1
"""0 to 9. The fastest level that compresses: the time of a stage matters more than its artifact's size."""

_JPEG_QUALITY = 92
"""0 to 100: no visible loss in pictures that are only looked at."""

_DAMAGED = (zipfile.BadZipFile, ValueError, cv2.error)
"""What reading damaged bytes raises."""


def pack(bundle: Bundle) -> bytes:
    """Return the bundle as bytes; equal bundles give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(bundle):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), _encode(name, bundle[name]))
    return buffer.getvalue()


def unpack(data: bytes, key: str = "") -> "Packed":
    """Return the bundle of these packed bytes.

    Raises ArtifactError, which names the artifact's key, when they are damaged; reading a member does too.
    """
    return Packed(data, key)


class Packed(Mapping[str, Any]):
    """A packed bundle. Each member is decoded when it is read: most readers need few of them."""

    def __init__(self, data: bytes, key: str) -> None:
        self._key = key
        try:
            self._archive = zipfile.ZipFile(io.BytesIO(data))
        except _DAMAGED as error:
            raise self._damaged(error) from error

    def __getitem__(self, name: str) -> Any:
        try:
            return _decode(name, self.file(name))
        except _DAMAGED as error:
            raise self._damaged(error) from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._archive.namelist())

    def __len__(self) -> int:
        return len(self._archive.namelist())

    def verify(self) -> None:
        """Compare the checksums of all members. Raises ArtifactError."""
        try:
            damaged = self._archive.testzip()
        except _DAMAGED as error:
            raise self._damaged(error) from error
        if damaged is not None:
            raise self._damaged(ValueError(f"the checksum of {damaged} is wrong"))

    def file(self, name: str) -> bytes:
        """Return the bytes of a member's PNG, JPEG or JSON file. Raises KeyError when there is none."""
        try:
            return self._archive.read(name)
        except _DAMAGED as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> ArtifactError:
        return ArtifactError(f"The stored artifact {self._key} is damaged: {error}", input=self._key)


def _encode(name: str, value: Any) -> bytes:
    if name.endswith(".json"):
        return json.dumps(value, sort_keys=True).encode()
    return encode_jpeg(value) if name.endswith(".jpg") else encode_png(value)


def _decode(name: str, data: bytes) -> Any:
    if name.endswith(".json"):
        return json.loads(data)
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise ValueError(f"{name} is not a picture")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB) if image.ndim == 3 else image


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """Return a uint8 array, (h, w) or RGB (h, w, 3), as a PNG file."""
    return _encode_file(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, _PNG_COMPRESSION])


def encode_jpeg(image: NDArray[np.uint8]) -> bytes:
    """Return a uint8 array, (h, w) or RGB (h, w, 3), as a JPEG file. Pixel values are not exact."""
    return _encode_file(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])


def _encode_file(suffix: str, image: NDArray[np.uint8], parameters: list[int]) -> bytes:
    if image.dtype != np.uint8:
        raise TypeError(f"a picture must be uint8, not {image.dtype}")
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    encoded, data = cv2.imencode(suffix, bgr, parameters)
    if not encoded:
        raise ValueError(f"the encoder of {suffix} cannot encode the picture")
    return bytes(data)
