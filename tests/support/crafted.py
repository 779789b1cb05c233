"""Crafted image files: small ones that cost a decoder much time or memory, and mutations of ordinary ones."""

import io
import random
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF")


def picture(width: int, height: int) -> Image.Image:
    """A picture of coarse noise."""
    small = np.random.default_rng(0).integers(0, 255, (height // 8, width // 8, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def file(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def jpeg_of_many_scans() -> bytes:
    """A progressive JPEG whose last scan is repeated 7,000 times."""
    whole = file(picture(2048, 2048), "JPEG", progressive=True, quality=20)
    start = whole.rindex(b"\xff\xda")
    scan = whole[start:-2]
    # Of the refinement scans, one without data: the header and a few zero bytes.
    return whole[:-2] + scan[: 2 + int.from_bytes(scan[2:4]) + 1] * 7_000 + b"\xff\xd9"


def jpeg_of_many_segments() -> bytes:
    whole = file(picture(256, 256), "JPEG")
    return whole[:2] + b"\xff\xe1\x00\x0cExif\0\0II*\0" * 150_000 + whole[2:]


def jpeg_of_stuffed_bytes() -> bytes:
    whole = file(picture(256, 256), "JPEG")
    return whole[:-2] + b"\xff\0" * 10_000_000 + b"\xff\xd9"


def jpeg_of_restart_markers() -> bytes:
    whole = file(picture(256, 256), "JPEG")
    return whole[:-2] + b"\xff\xd0" * 10_000_000


def png_of_many_chunks() -> bytes:
    whole = file(picture(256, 256), "PNG")
    return whole[:33] + png_chunk(b"tEXt", b"a\0b") * 400_000 + whole[33:]


def png_of_compressed_text() -> bytes:
    whole = file(picture(256, 256), "PNG")
    return whole[:33] + png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1_000_000))) * 2_000 + whole[33:]


def png_of_compressed_profiles() -> bytes:
    whole = file(picture(256, 256), "PNG")
    return whole[:33] + png_chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(1_000_000))) * 20_000 + whole[33:]


def png_that_inflates() -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 7000, 7000, 8, 2, 0, 0, 0))
    pixels = png_chunk(b"IDAT", zlib.compress(bytes(400_000_000), 1))
    return b"\x89PNG\r\n\x1a\n" + header + pixels + png_chunk(b"IEND", b"")


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def tiff(tags: dict[int, tuple[int, int, int]], body: bytes = b"") -> bytes:
    """A TIFF of one directory: tag -> (type, count, value or offset); the body follows at 8 + its size."""
    entries = b"".join(struct.pack("<HHII", tag, *entry) for tag, entry in sorted(tags.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0) + body


def tiff_of_one_huge_tile() -> bytes:
    block = zlib.compress(bytes(100_000_000), 9)
    tags = {256: 512, 257: 512, 258: 8, 259: 8, 262: 1, 277: 1, 322: 40_000, 323: 40_000, 325: len(block)}
    entries = {tag: (4, 1, value) for tag, value in tags.items()}
    return tiff(entries | {324: (4, 1, 8 + 2 + 12 * 10 + 4)}, block)


def tiff_whose_tags_share_their_bytes() -> bytes:
    common = {256: (4, 1, 512), 257: (4, 1, 512), 273: (4, 1, 8), 279: (4, 1, 512 * 512)}
    shared = {40_000 + i: (1, 2_000_000, 8) for i in range(400)}
    return tiff(common | shared, bytes(2_000_000))


def tiff_of_many_tiles() -> bytes:
    tags = {256: 8_000, 257: 7_000, 258: 8, 259: 1, 262: 1, 277: 1, 322: 16, 323: 16}
    count = 500 * 438
    entries = {tag: (4, 1, value) for tag, value in tags.items()}
    start = 8 + 2 + 12 * 10 + 4
    entries |= {324: (4, count, start), 325: (4, count, start + 4 * count)}
    return tiff(entries, struct.pack(f"<{count}I", *[8] * count) + struct.pack(f"<{count}I", *[256] * count))


def webp_of_huge_canvas(side: int = 16_000, frames: int = 1) -> bytes:
    frame = file(Image.new("RGB", (16, 16)), "WEBP", lossless=True)[12:]
    sizes = (side - 1).to_bytes(3, "little") * 2
    position_and_size = bytes(6) + (15).to_bytes(3, "little") * 2 + (100).to_bytes(3, "little") + b"\0"
    body = riff(b"VP8X", bytes([2, 0, 0, 0]) + sizes) + riff(b"ANIM", bytes(6))
    body += riff(b"ANMF", position_and_size + frame) * frames
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def riff(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def bmp_of_runs(width: int, height: int, kind: int, runs: bytes) -> bytes:
    palette = bytes(4 * (256 if kind == 1 else 16))
    start = 14 + 40 + len(palette)
    bits = 8 if kind == 1 else 4
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, kind, len(runs), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", start + len(runs), 0, 0, start) + info + palette + runs


def gif_of_many_comments() -> bytes:
    whole = file(picture(256, 256).convert("P"), "GIF")
    start = 13 + (3 << (whole[10] & 7) + 1)
    return whole[:start] + b"\x21\xfe" + b"\x01a" * 5_000_000 + b"\0" + whole[start:]


def gif_larger_than_its_screen() -> bytes:
    whole = bytearray(file(picture(256, 256).convert("P"), "GIF"))
    start = whole.index(b"\x2c", 13 + (3 << (whole[10] & 7) + 1))
    whole[start + 1 : start + 9] = struct.pack("<HHHH", 60_000, 60_000, 5_000, 5_000)
    return bytes(whole)


def avif_of_other_size() -> bytes:
    whole = bytearray(file(picture(256, 256), "AVIF", speed=10))
    start = whole.index(b"ispe") + 8
    whole[start : start + 8] = struct.pack(">II", 7_000, 8_000)
    return bytes(whole)


def jpeg_with_looping_exif() -> bytes:
    """EXIF data whose sub-directory is itself."""
    entries = struct.pack("<HHHII", 1, 0x8769, 4, 1, 8) + struct.pack("<I", 8)
    return file(picture(256, 256), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0" + entries)


CRAFTED: dict[str, Callable[[], bytes]] = {
    "7,000 scans": jpeg_of_many_scans,
    "150,000 APP1 segments": jpeg_of_many_segments,
    "20 MB of stuffed bytes": jpeg_of_stuffed_bytes,
    "10 million restart markers": jpeg_of_restart_markers,
    "looping EXIF": jpeg_with_looping_exif,
    "400,000 PNG chunks": png_of_many_chunks,
    "compressed text": png_of_compressed_text,
    "compressed profiles": png_of_compressed_profiles,
    "an inflating PNG": png_that_inflates,
    "one huge TIFF tile": tiff_of_one_huge_tile,
    "overlapping TIFF tags": tiff_whose_tags_share_their_bytes,
    "219,000 TIFF tiles": tiff_of_many_tiles,
    "a huge WebP canvas": webp_of_huge_canvas,
    "a large WebP canvas": lambda: webp_of_huge_canvas(7_700),
    "many WebP frames": lambda: webp_of_huge_canvas(512, 200_000),
    "BMP runs of nothing": lambda: bmp_of_runs(5_000, 5_000, 1, b"\0\x02\0\0" * 7_000_000),
    "BMP runs of one pixel": lambda: bmp_of_runs(5_000, 5_000, 1, b"\x01\x07" * 10_000_000),
    "RLE4 of one row": lambda: bmp_of_runs(7_000, 7_000, 2, b"\xff\x12" * 190_000 * 2),
    "a short RLE BMP": lambda: bmp_of_runs(3_000, 3_000, 1, b"\x01\x07" * 900_000),
    "many GIF comments": gif_of_many_comments,
    "a GIF larger than its screen": gif_larger_than_its_screen,
    "an AVIF of another size": avif_of_other_size,
}
"""What is special about a file, and the function that makes it."""


def originals() -> list[bytes]:
    """Small ordinary files of every accepted format, and of the rarer kinds of them."""
    image = picture(64, 48)
    exif = Image.Exif()
    exif[0x0112] = 6
    return [
        *(file(image, kind, **({"speed": 10} if kind == "AVIF" else {})) for kind in FORMATS),
        file(image, "JPEG", progressive=True, exif=exif),
        file(image.convert("CMYK"), "JPEG"),
        file(image.convert("RGBA"), "PNG"),
        file(image.convert("P"), "PNG", transparency=3),
        file(image, "WEBP", lossless=True, exif=exif),
        file(image, "WEBP", save_all=True, append_images=[image.rotate(90)]),
        file(image, "TIFF", compression="tiff_lzw"),
        file(image, "TIFF", compression="jpeg"),
        file(image, "TIFF", compression="tiff_adobe_deflate"),
        file(image.convert("1"), "TIFF", compression="group4"),
        file(image.convert("P"), "GIF", save_all=True, append_images=[image.rotate(90).convert("P")]),
        bmp_of_runs(64, 48, 1, b"\x40\x07\0\0" * 48 + b"\0\x01"),
    ]


def mutated(original: bytes, random_numbers: random.Random) -> bytes:
    """Return the file with some of its bytes, lengths or parts changed."""
    data = bytearray(original)
    for _ in range(random_numbers.randint(1, 8)):
        at = random_numbers.randrange(len(data))
        change = random_numbers.randrange(6)
        if change == 0:
            data[at] ^= 1 << random_numbers.randrange(8)
        elif change == 1:
            data[at] = random_numbers.choice((0, 1, 0x7F, 0x80, 0xFE, 0xFF))
        elif change == 2:  # a length or size that is extreme
            data[at : at + 4] = random_numbers.choice((b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", bytes(4)))
        elif change == 3:
            del data[at : at + random_numbers.randint(1, 64)]
        elif change == 4:  # a part is repeated
            data[at:at] = data[at : at + random_numbers.randint(1, 64)] * random_numbers.randint(1, 16)
        else:
            data[at : at + 8] = random_numbers.randbytes(8)
        data = data or bytearray(b"\0")
    return bytes(data[: random_numbers.randint(1, len(data))] if random_numbers.random() < 0.2 else data)
