"""Decodes the bytes of an accepted image file to RGB pixels, and encodes pixels as a result file."""

import io
from functools import lru_cache

from PIL import Image

from config.errors import ImageLoadError, InputValidationError
from config.settings import settings
from worker.images import arrays
from worker.images.decoder_process import DecoderProcess

_CONTENT_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}


def decode(
    data: bytes,
    *,
    name: str,
    max_bytes: int,
    max_pixels: int,
    min_side: int,
    max_aspect: float,
    background: int = 255,
) -> arrays.Image:
    """Return an image file as sRGB pixels, uint8 (h, w, 3), turned upright by its EXIF orientation.

    Colour profiles are applied, 16 bits are scaled to 8, transparent pixels are composited on a grey. A JPEG
    that lacks only its end marker is read.

    The limits are checked on the file's header and structure, before any pixel is decoded. The file is
    decoded in a process of its own, with limits of processor time and memory (TRYON_DECODE_CPU_S,
    TRYON_DECODE_MEMORY_BYTES).

    Args:
        data: the bytes of the file.
        name: the input's name, used in errors.
        max_bytes: most bytes of the file.
        max_pixels: most pixels of the picture.
        min_side: least pixels of the shorter side.
        max_aspect: largest ratio of the longer to the shorter side.
        background: the grey behind transparent pixels, 0..255.

    Raises:
        ImageLoadError: the data is empty, too large, truncated or not an image.
        ImageLimitError: decoding takes, or would take, too much time or memory.
        InputValidationError: the picture is too small or its sides are too different.
        OutOfMemoryError: the system killed the decoder.
    """
    if not data:
        raise ImageLoadError(f"{name} is empty. Upload the image again.", input=name)
    if len(data) > max_bytes:
        raise ImageLoadError(
            f"{name} has {len(data)} bytes; at most {max_bytes} are accepted. Use a smaller file.",
            input=name,
        )
    options = {
        "name": name,
        "max_pixels": max_pixels,
        "min_side": min_side,
        "max_aspect": max_aspect,
        "background": background,
    }
    return _decoder(settings().decode_memory_bytes).decode(data, options, cpu_s=settings().decode_cpu_s)


def decode_input(data: bytes, *, name: str, background: int = 255) -> arrays.Image:
    """Return an input image, RGB uint8 (h, w, 3), within the limits of the settings; see `decode`."""
    limits = settings()
    return decode(
        data,
        name=name,
        max_bytes=limits.max_image_bytes,
        max_pixels=limits.max_image_pixels,
        min_side=limits.min_image_side,
        max_aspect=limits.max_aspect_ratio,
        background=background,
    )


def encode(image: arrays.Image, output_format: str) -> tuple[bytes, str]:
    """Return RGB pixels, uint8 (h, w, 3), as a file of the format (png, jpeg or webp), and its MIME type.

    PNG is lossless; JPEG has quality 95 without chroma subsampling (4:4:4), WebP has quality 95. Raises
    InputValidationError for another format.
    """
    if output_format not in _CONTENT_TYPES:
        raise InputValidationError(
            f"The output format {output_format!r} is not one of {', '.join(_CONTENT_TYPES)}.",
            input="output_format",
        )
    options = {
        "png": {"compress_level": 4},
        "jpeg": {"quality": 95, "subsampling": 0},
        "webp": {"quality": 95, "method": 4},
    }
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, output_format.upper(), **options[output_format])
    return buffer.getvalue(), _CONTENT_TYPES[output_format]


@lru_cache(maxsize=1)
def _decoder(memory_bytes: int) -> DecoderProcess:
    """Return this process's decoder; it ends with this process, which closes its input."""
    return DecoderProcess(memory_bytes)
