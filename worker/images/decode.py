"""Decodes the bytes of an accepted image file to RGB pixels, and encodes pixels as a result file."""

import io
import logging
import warnings

import numpy as np
from PIL import Image, ImageCms, ImageOps

from config.errors import ImageLoadError, InputValidationError
from config.settings import settings
from worker.images import arrays

log = logging.getLogger(__name__)

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF")
"""Accepted formats, recognised by content and not by file name; of an animation the first frame is read."""

_CONTENT_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}

_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")


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

    Colour profiles are applied, 16 bits are scaled to 8, transparent pixels are composited on a grey.
    The limits are checked on the file's header, before any pixel is decoded.

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
        InputValidationError: the picture is too small or its sides are too different.
    """
    if not data:
        raise ImageLoadError(f"{name} is empty. Upload the image again.", input=name)
    if len(data) > max_bytes:
        raise ImageLoadError(
            f"{name} has {len(data)} bytes; at most {max_bytes} are accepted. Use a smaller file.",
            input=name,
        )
    # Pillow warns about large pictures and unusual metadata; the limits are checked here instead.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = _open(data, name)
        _check_size(image, name, max_pixels, min_side, max_aspect)
        return _pixels(image, name, background)


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
        raise ImageLoadError(
            f"{name} has {width}×{height} pixels; at most {max_pixels} are accepted. Use a smaller picture.",
            input=name,
        )
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


def _pixels(image: Image.Image, name: str, background: int) -> arrays.Image:
    try:
        image.load()
        _turn_upright(image)
        return np.array(_to_srgb(image, name, background))
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
    except Exception as error:  # damaged EXIF data can raise nearly anything; image viewers ignore it too
        log.debug("Damaged EXIF data is ignored: %s", error)


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
        except (ImageCms.PyCMSError, OSError) as error:
            log.debug("An embedded colour profile is ignored, it cannot be applied: %s", error)
    return image.convert("RGB")
