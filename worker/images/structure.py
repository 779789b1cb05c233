"""Checks an image file's structure before it is decoded: how many parts it has, how large they claim to be.

A small file can ask a decoder for hours of work or gigabytes of memory: thousands of scans, hundreds of
thousands of metadata segments, a tile or canvas much larger than the picture. These are counted here, without
decoding anything. A file whose structure is damaged passes: the decoder refuses it.
"""

import re
import struct
from collections.abc import Callable, Iterator

from config.errors import ImageLimitError, ImageLoadError, TryonError

MAX_JPEG_SEGMENTS = 2_000
"""Most marker segments of a JPEG, its tables and scans included. Cameras and editors write fewer than 100;
500 hold the largest metadata that fits into an accepted file (64 kB in each)."""

MAX_JPEG_SCANS = 100
"""Most scans of a progressive JPEG: each costs one pass over all coefficients. Encoders write 10 to 20."""

MAX_PNG_CHUNKS = 50_000
"""Most chunks of a PNG; a picture of 30 MB in chunks of 8 kB has 4,000, an animation more."""

MAX_GIF_BLOCKS = 10_000
"""Most data blocks (255 bytes each) in front of a GIF's first picture: comments and extensions."""

MAX_WEBP_CHUNKS = 20_000
"""Most chunks of a WebP: metadata, and one for each frame of an animation."""

MAX_TIFF_TAGS = 500
"""Most tags of a TIFF's first directory; cameras and editors write fewer than 100."""

MAX_TIFF_BLOCKS = 65_536
"""Most strips or tiles of a TIFF: each costs one call of the decoder."""

MAX_TIFF_TILE_SIDE = 2_048
"""Largest side of a tile that is larger than its picture, pixels; the decoder allocates whole tiles."""

MAX_RLE_PIXELS = 10_000_000
"""Most pixels of a run-length coded BMP: its decoder is written in Python, some 0.1 µs per pixel."""

MAX_RLE_BYTES = 2_000_000
"""Most bytes of a run-length coded BMP: some 0.5 µs for each pair of bytes."""

_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"heif"}
_AVIF_BRANDS = {b"avif", b"avis"}

# A marker is 0xFF and a code. 0xFF00 is a data byte; 0xFFD0 to 0xFFD7 restart a scan; 0xFFFF is filling.
_JPEG_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_JPEG_WITHOUT_LENGTH = (0x01, 0xD8)  # TEM and SOI
_JPEG_END, _JPEG_SCAN = 0xD9, 0xDA

_TIFF_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 16: 8, 17: 8}
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_STRIPS = 256, 257, 273
_TIFF_TILE_WIDTH, _TIFF_TILE_HEIGHT, _TIFF_TILES = 322, 323, 324
_TIFF_SHORT = 3

_BMP_RUN_LENGTH = (1, 2)  # BI_RLE8 and BI_RLE4
_BMP_INFO_HEADER = 40  # bytes; shorter headers have no compression


def check(data: bytes, *, name: str, max_pixels: int) -> None:
    """Refuse an image file whose structure would cost too much to decode.

    Args:
        data: the bytes of the file.
        name: the input's name, used in errors.
        max_pixels: most pixels of the picture.

    Raises:
        ImageLimitError: it has too many parts, or parts that are too large.
        ImageLoadError: it has too many pixels, or is HEIC.
    """
    scan = next((scan for matches, scan in _SCANS if matches(data)), None)
    if scan is None:
        return
    try:
        scan(data, name, max_pixels)
    except (struct.error, IndexError):
        return  # the file ends within its structure: the decoder says so


def too_many_pixels(name: str, width: int, height: int, max_pixels: int) -> ImageLoadError:
    """Return the error of a picture that is too large."""
    return ImageLoadError(
        f"{name} has {width}×{height} pixels; at most {max_pixels} are accepted. Use a smaller picture.",
        input=name,
    )


def without_jpeg_end(data: bytes) -> bool:
    """Return whether this is a JPEG with a scan and without its end marker."""
    if not data.startswith(b"\xff\xd8"):
        return False
    codes = list(_jpeg_markers(data))
    return _JPEG_SCAN in codes and codes[-1] != _JPEG_END


def _refuse(name: str, found: str, limit: int) -> TryonError:
    return ImageLimitError(
        f"{name} {found}; at most {limit} are accepted, because decoding it would take too much time or "
        "memory. Open it in an image editor and save it as an ordinary JPEG or PNG.",
        input=name,
    )


def _jpeg_markers(data: bytes) -> Iterator[int]:
    """Yield the code of each marker up to the first end marker."""
    position = 0
    while found := _JPEG_MARKER.search(data, position):
        code, position = data[found.start() + 1], found.end()
        yield code
        if code == _JPEG_END:
            return
        if code not in _JPEG_WITHOUT_LENGTH and position + 2 <= len(data):
            position += int.from_bytes(data[position : position + 2])


def _scan_jpeg(data: bytes, name: str, _max_pixels: int) -> None:
    scans = 0
    for segments, code in enumerate(_jpeg_markers(data), 1):
        scans += code == _JPEG_SCAN
        if scans > MAX_JPEG_SCANS:
            raise _refuse(name, f"is a JPEG with more than {MAX_JPEG_SCANS} scans", MAX_JPEG_SCANS)
        if segments > MAX_JPEG_SEGMENTS:
            raise _refuse(name, f"is a JPEG with more than {MAX_JPEG_SEGMENTS} segments", MAX_JPEG_SEGMENTS)


def _scan_png(data: bytes, name: str, _max_pixels: int) -> None:
    position = 8  # after the signature
    for _ in range(MAX_PNG_CHUNKS):
        (length,) = struct.unpack_from(">I", data, position)
        if data[position + 4 : position + 8] == b"IEND":
            return
        position += 12 + length  # length, kind, body, checksum
    raise _refuse(name, f"is a PNG with more than {MAX_PNG_CHUNKS} chunks", MAX_PNG_CHUNKS)


def _scan_gif(data: bytes, name: str, max_pixels: int) -> None:
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    position = 13 + _gif_table_bytes(flags)
    blocks = 0
    while data[position] == 0x21:  # an extension: comments, timing, the application's own
        position += 2
        while length := data[position]:
            position += 1 + length
            blocks += 1
            if blocks > MAX_GIF_BLOCKS:
                raise _refuse(name, f"is a GIF with more than {MAX_GIF_BLOCKS} data blocks", MAX_GIF_BLOCKS)
        position += 1
    if data[position] == 0x2C:  # the first picture, which may be larger than the screen
        left, top, picture_width, picture_height = struct.unpack_from("<HHHH", data, position + 1)
        width, height = max(width, left + picture_width), max(height, top + picture_height)
    if width * height > max_pixels:
        raise too_many_pixels(name, width, height, max_pixels)


def _gif_table_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _scan_webp(data: bytes, name: str, max_pixels: int) -> None:
    # The decoder allocates the canvas two times when it opens the file, before any limit of its caller.
    width, height = _webp_canvas(data)
    if width * height > max_pixels:
        raise too_many_pixels(name, width, height, max_pixels)
    position = 12
    for _ in range(MAX_WEBP_CHUNKS):
        if position + 8 > len(data):
            return
        (length,) = struct.unpack_from("<I", data, position + 4)
        position += 8 + length + length % 2
    raise _refuse(name, f"is a WebP with more than {MAX_WEBP_CHUNKS} chunks", MAX_WEBP_CHUNKS)


def _webp_canvas(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return 0, 0


def _scan_tiff(data: bytes, name: str, _max_pixels: int) -> None:
    order = "<" if data.startswith(b"II") else ">"
    is_big = struct.unpack_from(f"{order}H", data, 2)[0] == 43
    (start,) = struct.unpack_from(f"{order}Q" if is_big else f"{order}I", data, 8 if is_big else 4)
    (tags,) = struct.unpack_from(f"{order}Q" if is_big else f"{order}H", data, start)
    if tags > MAX_TIFF_TAGS:
        raise _refuse(name, f"is a TIFF with {tags} tags", MAX_TIFF_TAGS)
    entry, first = (f"{order}HHQ8s", start + 8) if is_big else (f"{order}HHI4s", start + 2)
    value_bytes, values, counts = 0, {}, {}
    for i in range(tags):
        tag, kind, count, value = struct.unpack_from(entry, data, first + i * struct.calcsize(entry))
        value_bytes += count * _TIFF_TYPE_BYTES.get(kind, 1)
        counts[tag] = count
        values[tag] = struct.unpack_from(f"{order}{'H' if kind == _TIFF_SHORT else 'I'}", value)[0]
    if value_bytes > len(data):  # several tags share their bytes: each is read on its own
        raise _refuse(name, f"is a TIFF whose tags declare {value_bytes} bytes", len(data))
    blocks = max(counts.get(_TIFF_STRIPS, 0), counts.get(_TIFF_TILES, 0))
    if blocks > MAX_TIFF_BLOCKS:
        raise _refuse(name, f"is a TIFF of {blocks} strips or tiles", MAX_TIFF_BLOCKS)
    for tile_tag, side_tag in ((_TIFF_TILE_WIDTH, _TIFF_WIDTH), (_TIFF_TILE_HEIGHT, _TIFF_HEIGHT)):
        limit = max(MAX_TIFF_TILE_SIDE, values.get(side_tag, 0) + 15)  # sides are multiples of 16
        if values.get(tile_tag, 0) > limit:
            raise _refuse(name, f"is a TIFF with a tile side of {values[tile_tag]} pixels", limit)


def _scan_bmp(data: bytes, name: str, _max_pixels: int) -> None:
    header, width, height = struct.unpack_from("<Iii", data, 14)
    if header < _BMP_INFO_HEADER:
        return
    (compression,) = struct.unpack_from("<I", data, 30)
    if compression not in _BMP_RUN_LENGTH:
        return
    if abs(width * height) > MAX_RLE_PIXELS:
        raise _refuse(name, f"is a run-length coded BMP of {abs(width)}×{abs(height)} pixels", MAX_RLE_PIXELS)
    if len(data) > MAX_RLE_BYTES:
        raise _refuse(name, f"is a run-length coded BMP of {len(data)} bytes", MAX_RLE_BYTES)


def _is_heif(data: bytes) -> bool:
    if data[4:8] != b"ftyp":
        return False
    end = min(int.from_bytes(data[:4]), 256)
    brands = {data[8:12], *(data[i : i + 4] for i in range(16, end, 4))}
    return bool(brands & _HEIF_BRANDS) and not brands & _AVIF_BRANDS


def _refuse_heif(_data: bytes, name: str, _max_pixels: int) -> None:
    raise ImageLoadError(
        f"{name} is a HEIC picture, the format of iPhones, which is not accepted. Export it as JPEG; on an "
        "iPhone, Settings > Camera > Formats > Most Compatible makes it take JPEG pictures.",
        input=name,
    )


_SCANS: tuple[tuple[Callable[[bytes], bool], Callable[[bytes, str, int], None]], ...] = (
    (lambda data: data.startswith(b"\xff\xd8"), _scan_jpeg),
    (lambda data: data.startswith(b"\x89PNG\r\n\x1a\n"), _scan_png),
    (lambda data: data.startswith((b"GIF87a", b"GIF89a")), _scan_gif),
    (lambda data: data[:4] == b"RIFF" and data[8:12] == b"WEBP", _scan_webp),
    (lambda data: data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), _scan_tiff),
    (lambda data: data.startswith(b"BM"), _scan_bmp),
    (_is_heif, _refuse_heif),
)
"""How each format is recognised, by its first bytes, and scanned."""
