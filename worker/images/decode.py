"""The door for pictures: bytes of any accepted file to RGB pixels, and pixels to a result file."""

import io
import warnings

import numpy as np
from PIL import Image, ImageCms

from config.errors import ImageLoadError, InputValidationError
from config.settings import settings

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF")
"""What is accepted, by content and never by name; of an animation the first picture is taken."""

_CONTENT_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}

_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what turns the picture upright."""

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
) -> np.ndarray:
    """Return an image file as sRGB pixels, uint8 (h, w, 3), upright.

    Colour profiles are followed, 16 bits scaled to 8, transparency laid over a grey of `background`.
    The limits are checked on the file's header, before any pixel is decoded.

    Raises ImageLoadError when the object is empty, too large, truncated or no image, and
    InputValidationError when the image is too small or too long; `name` is the input that they name.
    """
    if not data:
        raise ImageLoadError(f"{name} is empty. Upload the image again.", input=name)
    if len(data) > max_bytes:
        raise ImageLoadError(
            f"{name} has {len(data)} bytes; at most {max_bytes} are accepted. Give a smaller file.",
            input=name,
        )
    # Pillow warns of large pictures and odd metadata; the limits here are the ones that count.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = _open(data, name)
        _check_size(image, name, max_pixels, min_side, max_aspect)
        return _pixels(image, name, background)


def decode_input(data: bytes, *, name: str, background: int = 255) -> np.ndarray:
    """Return an input image, RGB uint8 (h, w, 3), under the limits that the settings give; see `decode`."""
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


def encode(image: np.ndarray, output_format: str) -> tuple[bytes, str]:
    """Return RGB pixels, uint8 (h, w, 3), as a file of the format (png, jpeg or webp), and its MIME type.

    JPEG keeps the full colour resolution (4:4:4, quality 95), WebP quality 95, PNG every pixel. Raises
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
            f"{name} has too many pixels: {error}. Give a smaller picture.", input=name
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # a damaged header can make a format's reader raise nearly anything
        raise ImageLoadError(
            f"{name} cannot be read as an image. Give a whole file of one of: {', '.join(FORMATS)}.",
            input=name,
        ) from error


def _check_size(image: Image.Image, name: str, max_pixels: int, min_side: int, max_aspect: float) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise ImageLoadError(
            f"{name} has {width}×{height} pixels; at most {max_pixels} are accepted. Give a smaller picture.",
            input=name,
        )
    if min(width, height) < min_side:
        raise InputValidationError(
            f"{name} has {width}×{height} pixels; its shorter side must have at least {min_side}. "
            "Give a larger picture.",
            input=name,
        )
    if max(width, height) > max_aspect * min(width, height):
        raise InputValidationError(
            f"{name} has {width}×{height} pixels; its longer side may be at most {max_aspect:g} times "
            "the shorter. Crop it.",
            input=name,
        )


def _pixels(image: Image.Image, name: str, background: int) -> np.ndarray:
    try:
        image.load()
        rgb = _to_srgb(image, name, background)
        turn = _UPRIGHT.get(_orientation(image))
        return np.array(rgb if turn is None else rgb.transpose(turn))
    except (MemoryError, ImageLoadError):
        raise
    except Exception as error:  # a damaged file can make a format's reader raise nearly anything
        raise ImageLoadError(
            f"{name} cannot be decoded: it is damaged, truncated or of a rare kind ({error}). "
            "Upload it again, or save it as an ordinary JPEG or PNG.",
            input=name,
        ) from error


def _to_srgb(image: Image.Image, name: str, background: int) -> Image.Image:
    if image.mode in _SIXTEEN_BIT:
        image = _from_sixteen_bits(image)
    elif image.mode in ("I", "F"):
        raise ImageLoadError(
            f"{name} has 32 bits a channel, which is not accepted. Save the picture with 8 or 16.", input=name
        )
    if not image.has_transparency_data:
        return _follow_profile(image.convert("RGB") if image.mode in ("P", "1") else image)
    with_alpha = image.convert("RGBA")
    plain = Image.new("RGB", image.size, (background,) * 3)
    plain.paste(_follow_profile(with_alpha.convert("RGB")), mask=with_alpha.getchannel("A"))
    return plain


def _from_sixteen_bits(image: Image.Image) -> Image.Image:
    values = np.array(image).astype(np.uint32)
    scaled = Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
    scaled.info = dict(image.info)
    return scaled


def _follow_profile(image: Image.Image) -> Image.Image:
    """Return the picture in sRGB: by its embedded colour profile, or as its mode is commonly meant."""
    embedded = image.info.get("icc_profile")
    if embedded:
        try:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(embedded))
            if "sRGB" not in ImageCms.getProfileDescription(profile):
                converted = ImageCms.profileToProfile(
                    image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB"
                )
                assert converted is not None  # only in-place conversion returns None
                return converted
        except (ImageCms.PyCMSError, OSError):
            # A profile that is damaged or made for another kind of pixel says nothing: as if there were none.
            pass
    return image.convert("RGB")


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except (
        Exception
    ):  # EXIF is decoration: a picture whose EXIF is damaged is shown as it lies, as viewers do
        return 1
