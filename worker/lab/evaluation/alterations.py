"""Makes hard photographs of ordinary ones: exposure, framing, file format, and what is in the picture."""

import io

import cv2
import numpy as np
from PIL import Image, ImageDraw

from worker.lab.evaluation.hard_garments import STUDIO, lay, noisy
from worker.lab.evaluation.samples import GarmentSample

_ORIENTATION = 0x0112
_TURNED_LEFT = 6
"""EXIF orientation of a picture that lies on its left side: a viewer turns it a quarter to the right."""


def file(picture: np.ndarray, quality: int = 95) -> bytes:
    """Return a picture, RGB uint8 (h, w, 3) or grey uint8 (h, w), as a JPEG file."""
    return _saved(Image.fromarray(picture), quality=quality)


# --- people ----------------------------------------------------------------------------------------


def grey(photo: np.ndarray) -> bytes:
    """Return the photograph as a JPEG of one channel."""
    return file(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY))


def turned(photo: np.ndarray) -> bytes:
    """Return the photograph as a camera held upright saves it: lying, with the orientation in its EXIF."""
    exif = Image.Exif()
    exif[_ORIENTATION] = _TURNED_LEFT
    return _saved(Image.fromarray(photo).transpose(Image.Transpose.ROTATE_90), exif=exif)


def low_light(photo: np.ndarray) -> bytes:
    """Return the photograph taken with a sixteenth of the light, developed a little brighter.

    The sensor's noise grows with the root of the light that reaches it; a good JPEG.
    """
    light = (photo.astype(np.float32) / 255) ** 2.2 / 16
    noise = np.random.default_rng(1).normal(0, 1, photo.shape).astype(np.float32)
    exposed = np.clip(light + noise * np.sqrt(2e-4 * light + 4e-7), 0, 1)
    return file(np.round(255 * np.clip(exposed * 2, 0, 1) ** (1 / 2.2)).astype(np.uint8), 90)


def cropped_at_chest(photo: np.ndarray) -> bytes:
    """Return the upper 45 % of the photograph: of VITON-HD's people what ends at the chest."""
    return file(photo[: round(0.45 * len(photo))])


def wide(photo: np.ndarray) -> bytes:
    """Return the photograph with so much more of its background on either side that it is 16:9."""
    height, width = photo.shape[:2]
    return file(_continued(photo, (round(height * 16 / 9) - width) // 2))


def tiny(photo: np.ndarray) -> bytes:
    """Return a scene of 1600×1200 pixels in which the photograph, 160 wide, stands far away."""
    width, height = 160, round(160 * photo.shape[0] / photo.shape[1])
    small = cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)
    row = _continued(small, (1600 - width) // 2)
    sky = round(0.55 * (1200 - height))
    scene = np.pad(row, ((sky, 1200 - height - sky), (0, 0), (0, 0)), mode="edge")
    # Sky and ground go on as they begin, without streaks.
    soft = cv2.GaussianBlur(scene, (0, 0), 24)
    scene[: sky - 1], scene[sky + height + 1 :] = soft[: sky - 1], soft[sky + height + 1 :]
    return file(noisy(scene, 1.5, 0))


def selfie(photo: np.ndarray, hand: tuple[float, float]) -> bytes:
    """Return the photograph as its person would take it in a mirror: mirrored, a phone in the raised hand.

    Args:
        photo: RGB uint8 (h, w, 3).
        hand: (x, y) of the raised hand's fingers, of the photograph's width and height.
    """
    height, width = photo.shape[:2]
    scale = 4  # drawn larger and brought down by area
    picture = Image.fromarray(photo).resize((scale * width, scale * height))
    x, y = scale * width * hand[0], scale * height * hand[1]
    wide, high = scale * 0.028 * width, scale * 0.036 * height
    pen = ImageDraw.Draw(picture)
    pen.rounded_rectangle(
        (x - wide, y - high, x + wide, y + high), wide / 3, (24, 25, 29), (70, 72, 78), scale
    )
    pen.ellipse((x - 0.7 * wide, y - 0.85 * high, x - 0.3 * wide, y - 0.63 * high), (60, 66, 84))
    shown = picture.resize((width, height), Image.Resampling.BOX)
    return _saved(shown.transpose(Image.Transpose.FLIP_LEFT_RIGHT))


def _continued(photo: np.ndarray, margin: int) -> np.ndarray:
    """Return the photograph with its outer quarters mirrored to and fro on either side."""
    strip = photo.shape[1] // 4
    left = np.pad(photo[:, :strip], ((0, 0), (margin, 0), (0, 0)), mode="symmetric")[:, :margin]
    right = np.pad(photo[:, -strip:], ((0, 0), (0, margin), (0, 0)), mode="symmetric")[:, -margin:]
    return np.hstack([left, photo, right])


# --- garments --------------------------------------------------------------------------------------


def black_on_black(sample: GarmentSample) -> bytes:
    """Return the garment dyed black before a black wall: light shows at its outline and folds only."""
    grey = cv2.cvtColor(sample.photo, cv2.COLOR_RGB2GRAY).astype(np.float32)
    folds = np.clip((grey - np.median(grey[sample.mask])) / 6, -8, 20)
    depth = cv2.distanceTransform(sample.mask.astype(np.uint8), cv2.DIST_L2, 5)
    rim = 8 * np.exp(-depth / (0.008 * len(grey)))
    colours = np.repeat((28 + folds + rim)[..., None], 3, axis=2).astype(np.float32)
    return file(noisy(lay(colours, sample.mask, (12, 12, 13)), 1.5, 0), 90)


def lace(sample: GarmentSample) -> bytes:
    """Return a garment of this shape in black lace: flowers on a net through which the background shows."""
    height, width = sample.mask.shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    # A net of diagonal threads, and flowers of five petals where its every eighth threads cross.
    threads = np.minimum(np.abs(np.sin((x + y) * np.pi / 11)), np.abs(np.sin((x - y) * np.pi / 11)))
    cover = 0.22 + 0.5 * np.clip(1 - threads / 0.35, 0, 1)
    step = 62.0
    row = np.floor(y / step)
    across, down = (x + (row % 2) * step / 2) % step - step / 2, y % step - step / 2
    petals = 15 + 8 * np.cos(5 * np.arctan2(down, across) + row)
    far = np.hypot(across, down)
    flower = np.clip(petals - far, 0, 1) * np.clip((far - 3) / 2, 0, 1)
    border = cv2.distanceTransform(sample.mask.astype(np.uint8), cv2.DIST_L2, 5) < 7
    cover = np.maximum(np.maximum(cover, 0.95 * flower), 0.95 * border)[..., None]
    colours = cover * np.array([24, 22, 26], np.float32) + (1 - cover) * np.asarray(STUDIO, np.float32)
    return file(lay(colours.astype(np.float32), sample.mask, STUDIO))


def on_hanger(sample: GarmentSample) -> bytes:
    """Return the garment on a hanger: its wooden shoulders in the collar's opening, its hook above."""
    height, width = sample.mask.shape
    columns = np.flatnonzero(sample.mask.any(0))
    middle, wide = int(columns[0] + columns[-1]) // 2, int(columns[-1] - columns[0])
    back = int(np.argmax(sample.mask[:, middle]))  # the upper edge of the collar's back
    scale = 4  # drawn larger and brought down by area
    picture = Image.fromarray(sample.photo).resize((scale * width, scale * height))
    pen = ImageDraw.Draw(picture)

    def at(*points: tuple[float, float]) -> list[tuple[float, float]]:
        return [(scale * (middle + x * wide), scale * (back + y * wide)) for x, y in points]

    wood, steel, wire = (172, 124, 78), (150, 152, 156), round(0.012 * scale * wide)
    pen.line(at((-0.1, 0.06), (0, 0.015), (0.1, 0.06)), wood, round(0.03 * scale * wide), "curve")
    pen.line(at((0, 0.02), (0, -0.04)), steel, wire)
    pen.arc([*at((-0.045, -0.13))[0], *at((0.045, -0.04))[0]], 180, 90, steel, wire)
    return _saved(picture.resize((width, height), Image.Resampling.BOX))


def _saved(picture: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", **({"quality": 95, "subsampling": 0} | options))
    return buffer.getvalue()
