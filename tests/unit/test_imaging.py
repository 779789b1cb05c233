"""Decoding of every accepted kind of image file, and refusal of all others."""

import io
import struct
import warnings
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from config.errors import ImageLoadError, InputValidationError
from worker.images import decoder
from worker.images.decode import decode, encode

SIZE = (160, 200)


def decoded(data: bytes, **limits: Any) -> np.ndarray:
    defaults: dict[str, Any] = {
        "name": "in/photo",
        "max_bytes": 10_000_000,
        "max_pixels": 4_000_000,
        "min_side": 128,
        "max_aspect": 4,
    }
    return decode(data, **{**defaults, **limits})


def file(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def picture(size: tuple[int, int] = SIZE) -> Image.Image:
    """A gradient: red grows to the right and green downwards, so that each corner is distinct."""
    x, y = np.meshgrid(np.linspace(0, 255, size[0]), np.linspace(0, 255, size[1]))
    return Image.fromarray(np.stack([x, y, np.full_like(x, 90)], -1).astype(np.uint8))


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "JPEG", "WEBP", "AVIF"])
def test_reads_each_accepted_format(format: str) -> None:
    read_back = decoded(file(picture(), format))
    assert read_back.shape == (200, 160, 3)
    assert read_back.dtype == np.uint8
    assert difference(read_back, np.array(picture())) < (0.01 if format in ("PNG", "BMP", "TIFF") else 4)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_turns_the_picture_upright_by_its_exif_orientation(orientation: int, format: str) -> None:
    # The stored pixels for each orientation: the inverse of EXIF's table of where row 0 and column 0 are.
    upright = np.array(picture())
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: upright.swapaxes(0, 1)[::-1],
        7: upright[::-1, ::-1].swapaxes(0, 1),
        8: upright.swapaxes(0, 1)[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = file(Image.fromarray(np.ascontiguousarray(stored)), format, exif=exif)
    assert difference(decoded(data), upright) < 4


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK"])
def test_reads_other_colour_modes(mode: str) -> None:
    image = picture().convert(mode)
    data = file(image, "TIFF" if mode == "CMYK" else "PNG")
    assert difference(decoded(data), np.array(image.convert("RGB"))) < 1


def test_reads_a_cmyk_jpeg() -> None:
    data = file(picture().convert("CMYK"), "JPEG", quality=95)
    assert difference(decoded(data), np.array(picture())) < 8


def test_applies_a_colour_profile() -> None:
    # sRGB with red and green exchanged: with the profile applied they are exchanged in the result.
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for old, new in [(b"rXYZ", b"@XYZ"), (b"gXYZ", b"rXYZ"), (b"@XYZ", b"gXYZ")]:
        profile = profile.replace(old, new, 1)
    profile = profile.replace("sRGB".encode("utf-16-be"), "mine".encode("utf-16-be"))
    assert difference(decoded(file(picture(), icc_profile=profile)), np.array(picture())[..., [1, 0, 2]]) < 2


def test_ignores_a_profile_that_cannot_be_applied() -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for profile in (lab, b"not a profile"):
        assert difference(decoded(file(picture(), icc_profile=profile)), np.array(picture())) == 0


def test_scales_sixteen_bits_instead_of_clipping() -> None:
    ramp = np.tile(np.linspace(0, 65535, 160).astype(np.uint16), (200, 1))
    read_back = decoded(file(Image.fromarray(ramp)))
    assert difference(read_back[..., 0], np.round(ramp / 257)) < 0.01
    assert (read_back[..., 0] == read_back[..., 2]).all()


def test_scales_a_sixteen_bit_colour_picture() -> None:
    values = np.array(picture()).astype(">u2") * 257
    read_back = decoded(png(16, 2, b"".join(b"\0" + row.tobytes() for row in values)))
    assert difference(read_back, np.array(picture())) <= 1


def test_refuses_32_bits_per_channel() -> None:
    data = file(Image.fromarray(np.full((200, 160), 0.5, np.float32)), "TIFF")
    with pytest.raises(ImageLoadError, match="in/photo has 32 bits"):
        decoded(data)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_composites_transparent_pixels_on_the_background(mode: str) -> None:
    image = Image.new("RGBA", SIZE, (0, 0, 0, 128)).convert(mode)
    image.paste((0,) * len(mode), (0, 0, 80, 200))
    read_back = decoded(file(image), background=200)
    assert (read_back[:, :80] == 200).all()
    assert np.abs(read_back[:, 80:].astype(int) - 200 * 127 / 255).max() <= 1


@pytest.mark.parametrize("mode", ["P", "RGB", "L"])
def test_composites_a_transparent_colour_on_the_background(mode: str) -> None:
    image = Image.new("RGB", SIZE).convert(mode)
    key = image.getpixel((0, 0))
    assert (decoded(file(image, transparency=key), background=77) == 77).all()


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_reads_the_first_frame_of_an_animation(format: str) -> None:
    first, second = Image.new("RGB", SIZE, (200, 30, 30)), Image.new("RGB", SIZE, (30, 30, 200))
    data = file(first, format, save_all=True, append_images=[second])
    assert difference(decoded(data), np.array(first)) < 4


def test_ignores_damaged_exif_data() -> None:
    data = file(picture(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert decoded(data).shape == (200, 160, 3)


def test_turns_the_picture_although_its_exif_data_cannot_be_rewritten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = file(picture(), "JPEG", exif=exif)

    def fail(exif: Image.Exif, offset: int = 8) -> bytes:
        raise ValueError("a damaged entry")

    monkeypatch.setattr(Image.Exif, "tobytes", fail)
    options = {"name": "a", "max_pixels": 4_000_000, "min_side": 128, "max_aspect": 4, "background": 255}
    assert decoder.pixels(data, **options).size == (200, 160)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"hello, this is no picture", "cannot be read as an image"),
        (b"%PDF-1.7 " + bytes(500), "cannot be read as an image"),
        (b"\xff\xd8\xff\xe0", "cannot be read as an image"),
        (file(picture(), "JPEG")[:900], "is truncated"),
        (file(picture())[:-300], "cannot be decoded"),
        (file(picture(), "WEBP")[:-200], "cannot be"),
        (file(picture(), "ICO"), "cannot be read as an image"),
        (file(picture(), "EPS"), "cannot be read as an image"),
    ],
    ids=["empty", "text", "pdf", "header", "jpeg", "png", "webp", "ico", "eps"],
)
def test_refuses_files_that_are_not_complete_images(data: bytes, message: str) -> None:
    with pytest.raises(ImageLoadError, match=message) as caught:
        decoded(data)
    assert caught.value.input == "in/photo"
    assert caught.value.message.startswith("in/photo ")
    assert not caught.value.retryable


@pytest.mark.parametrize("progressive", [False, True])
def test_reads_a_jpeg_that_lacks_only_its_end_marker(progressive: bool) -> None:
    data = file(picture(), "JPEG", progressive=progressive)
    assert difference(decoded(data[:-2]), decoded(data)) == 0
    assert difference(decoded(data[:-1]), decoded(data)) == 0


@pytest.mark.parametrize("missing", [100, 2000])
@pytest.mark.parametrize("progressive", [False, True])
def test_refuses_a_jpeg_that_lacks_pixels(progressive: bool, missing: int) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 160, 3), dtype=np.uint8))
    data = file(noise, "JPEG", progressive=progressive)
    with pytest.raises(ImageLoadError, match="in/photo is truncated"):
        decoded(data[:-missing])


@pytest.mark.parametrize("brands", [b"heic\0\0\0\0mif1heic", b"mif1\0\0\0\0mif1heic", b"hevc\0\0\0\0"])
def test_names_heic(brands: bytes) -> None:
    data = struct.pack(">I", 8 + len(brands)) + b"ftyp" + brands + bytes(500)
    with pytest.raises(ImageLoadError, match=r"in/photo is a HEIC picture.*Export it as JPEG"):
        decoded(data)


def test_refuses_too_many_bytes_before_reading_the_header() -> None:
    with pytest.raises(ImageLoadError, match="at most 20 are accepted"):
        decoded(b"x" * 21, max_bytes=20)


@pytest.mark.parametrize("side", [3000, 12_000, 60_000])
def test_refuses_too_many_pixels_by_the_header_alone(side: int) -> None:
    # The header declares more pixels than the file has: decoding them would raise another error.
    data = png(8, 2, b"", size=(side, side))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageLoadError, match="pixels"):
            decoded(data)


@pytest.mark.parametrize(("size", "message"), [((1, 1), "at least 128"), ((127, 400), "at least 128")])
def test_refuses_a_small_picture(size: tuple[int, int], message: str) -> None:
    with pytest.raises(InputValidationError, match=message) as caught:
        decoded(file(Image.new("RGB", size)))
    assert caught.value.input == "in/photo"


@pytest.mark.parametrize("size", [(20_000, 50), (50, 20_000), (1000, 200)])
def test_refuses_an_elongated_picture(size: tuple[int, int]) -> None:
    with pytest.raises(InputValidationError, match="at most 4 times"):
        decoded(file(Image.new("RGB", size)), min_side=16)


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
def test_an_encoded_picture_decodes_to_the_same_pixels(output_format: str) -> None:
    data, content_type = encode(np.array(picture()), output_format)
    assert content_type == f"image/{output_format}"
    assert difference(decoded(data), np.array(picture())) < (0.01 if output_format == "png" else 2)
    assert encode(np.array(picture()), output_format)[0] == data


def test_jpeg_is_written_without_chroma_subsampling() -> None:
    stripes = np.zeros((200, 160, 3), np.uint8)
    stripes[:, ::2, 0] = 255  # one-pixel stripes of red: chroma subsampling would mix them
    assert difference(decoded(encode(stripes, "jpeg")[0]), stripes) < 12


def test_refuses_another_output_format() -> None:
    with pytest.raises(InputValidationError, match="bmp"):
        encode(np.array(picture()), "bmp")


def png(depth: int, colour: int, rows: bytes, *, size: tuple[int, int] = SIZE) -> bytes:
    """Return a PNG file with any depth and colour type, also those that Pillow does not write."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
