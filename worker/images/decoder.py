"""The decoder process: reads image files from standard input, writes their pixels to standard output.

`worker.images.decoder_process` starts it, with limits of processor time and memory that the kernel enforces:
a crafted file ends this process and not the worker. It imports Pillow and the errors only, so that it starts
quickly; its environment holds no credentials. It ends when its input is closed.
"""

import io
import json
import resource
import signal
import struct
import sys
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from PIL import AvifImagePlugin, Image, ImageCms, ImageOps

from config.errors import ImageLimitError, ImageLoadError, InputValidationError, TryonError
from worker.images import structure

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF")
"""Accepted formats, recognised by content and not by file name; of an animation the first frame is read."""

HEADER = struct.Struct(">II")
"""In front of a request: the lengths of its JSON and of the file, bytes. Of an answer: of its JSON and of the
pixels."""

_STRIP_BYTES = 4_000_000
"""About this many bytes of pixels are copied and written at once."""

_JPEG_END = b"\xff\xd9"

_FILLER = bytes(range(1, 255)) * 64
"""Data without a marker. Appended to a JPEG, it changes the pixels that the file does not have."""

_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")


def main() -> None:
    """Answer the requests on standard input until it is closed; the argument is the memory limit, bytes."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # sent to the whole group: the worker finishes its stage
    memory_bytes = int(sys.argv[1])
    for limit, value in ((resource.RLIMIT_AS, memory_bytes), (resource.RLIMIT_CORE, 0)):
        resource.setrlimit(limit, (value, value))
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # further threads cost memory, and no processor time is saved
    serve(sys.stdin.buffer, sys.stdout.buffer, memory_bytes)


def serve(requests: BinaryIO, answers: BinaryIO, memory_bytes: int) -> None:
    """Answer each request: with pixels, or with the error's record."""
    while header := requests.read(HEADER.size):
        options_length, data_length = HEADER.unpack(header)
        options = json.loads(requests.read(options_length))
        data = requests.read(data_length)
        # Counts the processor time of this process; SIGPROF ends it, also within a library's code.
        signal.setitimer(signal.ITIMER_PROF, options.pop("cpu_s"))
        try:
            picture = pixels(data, **options)
        except TryonError as error:
            _write(answers, {"error": error.record()}, 0)
        except MemoryError:
            _write(answers, {"error": _too_much_memory(options["name"], memory_bytes).record()}, 0)
        else:
            _write(answers, {"size": picture.size}, 3 * picture.width * picture.height)
            for strip in _strips(picture):
                answers.write(strip)
            del picture
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            del data
        answers.flush()


def pixels(
    data: bytes, *, name: str, max_pixels: int, min_side: int, max_aspect: float, background: int
) -> Image.Image:
    """Return the picture as sRGB, mode RGB, upright; the arguments and errors are those of `decode`."""
    structure.check(data, name=name, max_pixels=max_pixels)
    # Pillow warns about large pictures and unusual metadata; the limits are checked here instead.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Image.MAX_IMAGE_PIXELS = max_pixels
        _check_size(_open(data, name), name, max_pixels, min_side, max_aspect)
        if structure.without_jpeg_end(data):
            _check_rest(data, name)
            data += _JPEG_END
        return _decoded(data, name, background)


def _strips(picture: Image.Image) -> Iterator[bytes]:
    """Yield the pixels in strips: a copy of the whole would double the memory."""
    rows = max(1, _STRIP_BYTES // (3 * picture.width))
    for top in range(0, picture.height, rows):
        yield picture.crop((0, top, picture.width, min(top + rows, picture.height))).tobytes()


def _write(answers: BinaryIO, document: Mapping[str, Any], data_length: int) -> None:
    body = json.dumps(document).encode()
    answers.write(HEADER.pack(len(body), data_length) + body)


def _too_much_memory(name: str, memory_bytes: int) -> ImageLimitError:
    return ImageLimitError(
        f"{name} needs more than {memory_bytes // 1_000_000} MB of memory to decode "
        "(TRYON_DECODE_MEMORY_BYTES). Use a smaller picture, or save it as an ordinary JPEG or PNG.",
        input=name,
    )


def _open(data: bytes, name: str) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise ImageLoadError(
            f"{name} has too many pixels: {error}. Use a smaller picture.", input=name
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # a damaged header can make a format's reader raise nearly anything
        raise ImageLoadError(
            f"{name} cannot be read as an image. Use an undamaged file of one of: {', '.join(FORMATS)}.",
            input=name,
        ) from error


def _check_size(image: Image.Image, name: str, max_pixels: int, min_side: int, max_aspect: float) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise structure.too_many_pixels(name, width, height, max_pixels)
    if min(width, height) < min_side:
        raise InputValidationError(
            f"{name} has {width}×{height} pixels; its shorter side must have at least {min_side}. "
            "Use a larger picture.",
            input=name,
        )
    if max(width, height) > max_aspect * min(width, height):
        raise InputValidationError(
            f"{name} has {width}×{height} pixels; its longer side may be at most {max_aspect:g} times "
            "the shorter. Crop it.",
            input=name,
        )


def _check_rest(data: bytes, name: str) -> None:
    """Refuse a JPEG without an end marker whose pixels are not all there.

    The decoder paints missing pixels grey and does not tell. So it decodes the file with nothing and with
    other bytes in place of the missing ones: a complete picture is the same both times.
    """
    first, second = (_decoded(data + rest + _JPEG_END, name, background=0) for rest in (b"", _FILLER))
    if any(one != other for one, other in zip(_strips(first), _strips(second), strict=True)):
        raise ImageLoadError(f"{name} is truncated: its lower part is missing. Upload it again.", input=name)


def _decoded(data: bytes, name: str, background: int) -> Image.Image:
    try:
        image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
        image.load()
        if image.format == "WEBP":
            image = image.copy()  # the file's object keeps the decoder, three times as large as the picture
        _turn_upright(image)
        return _to_srgb(image, name, background)
    except (MemoryError, ImageLoadError):
        raise
    except Exception as error:  # a damaged file can make a format's reader raise nearly anything
        raise ImageLoadError(
            f"{name} cannot be decoded: it is damaged, truncated or of an unsupported kind ({error}). "
            "Upload it again, or save it as an ordinary JPEG or PNG.",
            input=name,
        ) from error


def _turn_upright(image: Image.Image) -> None:
    """Transpose a loaded picture in place by its EXIF orientation; damaged EXIF data is ignored."""
    try:
        # In place: Pillow may fail at the metadata after it has transposed the pixels.
        ImageOps.exif_transpose(image, in_place=True)
    except MemoryError:
        raise
    except Exception:  # noqa: S110 - damaged EXIF data can raise nearly anything; viewers ignore it too
        pass


def _to_srgb(image: Image.Image, name: str, background: int) -> Image.Image:
    if image.mode in _SIXTEEN_BIT:
        image = _from_sixteen_bits(image)
    elif image.mode in ("I", "F"):
        raise ImageLoadError(
            f"{name} has 32 bits per channel, which is not accepted. Save the picture with 8 or 16.",
            input=name,
        )
    if not image.has_transparency_data:
        return _apply_profile(image.convert("RGB") if image.mode in ("P", "1") else image)
    with_alpha = image.convert("RGBA")
    plain = Image.new("RGB", image.size, (background,) * 3)
    plain.paste(_apply_profile(with_alpha.convert("RGB")), mask=with_alpha.getchannel("A"))
    return plain


def _from_sixteen_bits(image: Image.Image) -> Image.Image:
    import numpy as np  # rarely needed, and slow to import

    values = np.array(image).astype(np.uint32)
    scaled = Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
    scaled.info = dict(image.info)
    return scaled


def _apply_profile(image: Image.Image) -> Image.Image:
    """Return the picture in sRGB: converted by its embedded colour profile, or by its mode without one."""
    embedded = image.info.get("icc_profile")
    if embedded:
        try:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(embedded))
            if "sRGB" not in ImageCms.getProfileDescription(profile):
                converted = ImageCms.profileToProfile(
                    image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB"
                )
                if converted is not None:  # None is returned only for a conversion in place
                    return converted
        except (ImageCms.PyCMSError, OSError):  # a profile that cannot be applied is ignored, as viewers do
            pass
    return image.convert("RGB")


if __name__ == "__main__":
    main()
