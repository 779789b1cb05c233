"""What a stage leaves behind: named pictures (PNG) and values (JSON) in one deterministic zip."""

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from worker.errors import InternalError

Bundle = Mapping[str, Any]
"""``name.png`` -> uint8 array, (h, w) or RGB (h, w, 3); ``name.json`` -> JSON value."""

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date a zip can hold: equal content, equal bytes


def pack(bundle: Bundle) -> bytes:
    """Return the bundle as bytes; equal bundles give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(bundle):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), _encode(name, bundle[name]))
    return buffer.getvalue()


def unpack(data: bytes) -> dict[str, Any]:
    """Return the bundle that `pack` made. Raises InternalError when the bytes are damaged."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return {name: _decode(name, archive.read(name)) for name in archive.namelist()}
    except (zipfile.BadZipFile, ValueError, cv2.error) as error:
        raise InternalError(f"A stored artifact is damaged: {error}") from error


def _encode(name: str, value: Any) -> bytes:
    if name.endswith(".json"):
        return json.dumps(value, sort_keys=True).encode()
    return encode_png(value)


def _decode(name: str, data: bytes) -> Any:
    if name.endswith(".json"):
        return json.loads(data)
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise ValueError(f"{name} is not a PNG")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB) if image.ndim == 3 else image


def encode_png(image: np.ndarray) -> bytes:
    """Return a uint8 array, (h, w) or RGB (h, w, 3), as a PNG file."""
    if image.dtype != np.uint8:
        raise TypeError(f"a picture must be uint8, not {image.dtype}")
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    done, data = cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not done:
        raise ValueError("the PNG encoder refused the picture")
    return bytes(data)
