"""Makes hard photographs out of ordinary ones: exposure, framing, file format and content."""

import io

import cv2
import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw

from worker.images.arrays import Image
from worker.lab.evaluation.hard_garments import STUDIO, add_noise, composite
from worker.lab.evaluation.samples import GarmentSample

_EXIF_ORIENTATION = 0x0112
_ROTATED_LEFT = 6
"""The EXIF orientation of a picture that is stored rotated to the left: viewers rotate it back by 90°."""

_GAMMA = 2.2
"""Approximate exponent between linear light and the levels of an sRGB file."""

_DRAWING_SCALE = 4
"""Shapes are drawn on a picture this many times larger, which is then reduced by area: smooth edges."""


def jpeg_file(picture: Image, quality: int = 95) -> bytes:
    """Return a picture, RGB uint8 (h, w, 3) or grey uint8 (h, w), as a JPEG file."""
    return _encode(PillowImage.fromarray(picture), quality=quality)


# --- people ----------------------------------------------------------------------------------------


def greyscale(photo: Image) -> bytes:
    """Return the photograph as a JPEG file with one channel."""
    return jpeg_file(np.asarray(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), np.uint8))


def rotated_by_exif(photo: Image) -> bytes:
    """Return the photograph as an upright phone saves it: rotated pixels, the orientation in EXIF."""
    exif = PillowImage.Exif()
    exif[_EXIF_ORIENTATION] = _ROTATED_LEFT
    return _encode(PillowImage.fromarray(photo).transpose(PillowImage.Transpose.ROTATE_90), exif=exif)


def low_light(photo: Image) -> bytes:
    """Return the photograph taken with a sixteenth of the light and developed at twice the brightness.

    Shot noise: its variance is proportional to the light, plus a constant read noise. JPEG quality 90.
    """
    light = (photo.astype(np.float32) / 255) ** _GAMMA / 16
    noise = np.random.default_rng(1).normal(0, 1, photo.shape).astype(np.float32)
    exposed = np.clip(light + noise * np.sqrt(2e-4 * light + 4e-7), 0, 1)
    return jpeg_file(np.round(255 * np.clip(exposed * 2, 0, 1) ** (1 / _GAMMA)).astype(np.uint8), 90)


def cropped_at_chest(photo: Image) -> bytes:
    """Return the upper 45 % of the photograph; for people of VITON-HD it ends at the chest."""
    return jpeg_file(photo[: round(0.45 * len(photo))])


def wide(photo: Image) -> bytes:
    """Return the photograph extended to 16:9 with background on both sides."""
    height, width = photo.shape[:2]
    return jpeg_file(_extend_sideways(photo, (round(height * 16 / 9) - width) // 2))


def tiny(photo: Image) -> bytes:
    """Return a scene of 1600×1200 pixels with the photograph in it at a width of 160 pixels."""
    width, height = 160, round(160 * photo.shape[0] / photo.shape[1])
    small = np.asarray(cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    row = _extend_sideways(small, (1600 - width) // 2)
    above = round(0.55 * (1200 - height))
    scene = np.pad(row, ((above, 1200 - height - above), (0, 0), (0, 0)), mode="edge")
    # Blur the repeated edge rows, so that no streaks are left.
    blurred = cv2.GaussianBlur(scene, (0, 0), 24)
    scene[: above - 1], scene[above + height + 1 :] = blurred[: above - 1], blurred[above + height + 1 :]
    return jpeg_file(add_noise(scene, 1.5, 0))


def selfie(photo: Image, hand: tuple[float, float]) -> bytes:
    """Return the photograph as a selfie in a mirror: mirrored, with a phone in the raised hand.

    Args:
        photo: RGB uint8 (h, w, 3).
        hand: (x, y) of the raised hand's fingers, as shares of the photograph's width and height.
    """
    height, width = photo.shape[:2]
    scale = _DRAWING_SCALE
    picture = PillowImage.fromarray(photo).resize((scale * width, scale * height))
    x, y = scale * width * hand[0], scale * height * hand[1]
    half_width, half_height = scale * 0.028 * width, scale * 0.036 * height
    pen = ImageDraw.Draw(picture)
    phone = (x - half_width, y - half_height, x + half_width, y + half_height)
    pen.rounded_rectangle(phone, half_width / 3, (24, 25, 29), (70, 72, 78), scale)
    lens = (x - 0.7 * half_width, y - 0.85 * half_height, x - 0.3 * half_width, y - 0.63 * half_height)
    pen.ellipse(lens, (60, 66, 84))
    with_phone = picture.resize((width, height), PillowImage.Resampling.BOX)
    return _encode(with_phone.transpose(PillowImage.Transpose.FLIP_LEFT_RIGHT))


def _extend_sideways(photo: Image, margin: int) -> Image:
    """Return the photograph with its outer quarters repeated, mirrored, for `margin` pixels on each side."""
    strip = photo.shape[1] // 4
    left = np.pad(photo[:, :strip], ((0, 0), (margin, 0), (0, 0)), mode="symmetric")[:, :margin]
    right = np.pad(photo[:, -strip:], ((0, 0), (0, margin), (0, 0)), mode="symmetric")[:, -margin:]
    return np.hstack([left, photo, right])


# --- garments --------------------------------------------------------------------------------------


def black_on_black(sample: GarmentSample) -> bytes:
    """Return the garment dyed black on a black wall: only its outline and folds are brighter."""
    grey = cv2.cvtColor(sample.photo, cv2.COLOR_RGB2GRAY).astype(np.float32)
    folds = np.clip((grey - np.median(grey[sample.mask])) / 6, -8, 20)
    depth = cv2.distanceTransform(sample.mask.astype(np.uint8), cv2.DIST_L2, 5)
    rim = 8 * np.exp(-depth / (0.008 * len(grey)))
    colours = np.repeat((28 + folds + rim)[..., None], 3, axis=2).astype(np.float32)
    return jpeg_file(add_noise(composite(colours, sample.mask, (12, 12, 13)), 1.5, 0), 90)


def lace(sample: GarmentSample) -> bytes:
    """Return a garment of this shape in black lace: flowers on a net that shows the background."""
    height, width = sample.mask.shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    # A net of diagonal threads with five-petalled flowers in staggered rows.
    threads = np.minimum(np.abs(np.sin((x + y) * np.pi / 11)), np.abs(np.sin((x - y) * np.pi / 11)))
    opacity = 0.22 + 0.5 * np.clip(1 - threads / 0.35, 0, 1)
    pitch = 62.0
    row = np.floor(y / pitch)
    dx, dy = (x + (row % 2) * pitch / 2) % pitch - pitch / 2, y % pitch - pitch / 2
    petal_radius = 15 + 8 * np.cos(5 * np.arctan2(dy, dx) + row)
    radius = np.hypot(dx, dy)
    flower = np.clip(petal_radius - radius, 0, 1) * np.clip((radius - 3) / 2, 0, 1)
    border = cv2.distanceTransform(sample.mask.astype(np.uint8), cv2.DIST_L2, 5) < 7
    opacity = np.maximum(np.maximum(opacity, 0.95 * flower), 0.95 * border)[..., None]
    colours = opacity * np.array([24, 22, 26], np.float32) + (1 - opacity) * np.asarray(STUDIO, np.float32)
    return jpeg_file(composite(colours.astype(np.float32), sample.mask, STUDIO))


def on_hanger(sample: GarmentSample) -> bytes:
    """Return the garment on a hanger: wooden shoulders in the collar's opening, the hook above it."""
    height, width = sample.mask.shape
    columns = np.flatnonzero(sample.mask.any(0))
    middle, garment_width = int(columns[0] + columns[-1]) // 2, int(columns[-1] - columns[0])
    collar = int(np.argmax(sample.mask[:, middle]))  # the upper edge of the collar's back
    scale = _DRAWING_SCALE
    picture = PillowImage.fromarray(sample.photo).resize((scale * width, scale * height))
    pen = ImageDraw.Draw(picture)

    def place(x: float, y: float) -> tuple[float, float]:
        """Return a point given in garment widths from the collar's middle, in pixels of the drawing."""
        return scale * (middle + x * garment_width), scale * (collar + y * garment_width)

    wood, steel = (172, 124, 78), (150, 152, 156)
    wood_width, wire_width = round(0.03 * scale * garment_width), round(0.012 * scale * garment_width)
    pen.line([place(-0.1, 0.06), place(0, 0.015), place(0.1, 0.06)], wood, wood_width, "curve")
    pen.line([place(0, 0.02), place(0, -0.04)], steel, wire_width)
    pen.arc([*place(-0.045, -0.13), *place(0.045, -0.04)], 180, 90, steel, wire_width)
    return _encode(picture.resize((width, height), PillowImage.Resampling.BOX))


def _encode(picture: PillowImage.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", **({"quality": 95, "subsampling": 0} | options))
    return buffer.getvalue()
