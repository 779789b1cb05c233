"""Hard cases for the garment mask, made from product photographs whose mask is known.

A garment is lifted off its photograph by the published mask and laid on another background, or changed
together with its mask. Everything is computed: the same photograph gives the same picture, byte for byte.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

from worker.lab.evaluation.samples import GarmentSample

_RIM = 4
"""Pixels in from the published outline within which the old background shines through."""
STUDIO = (246.0, 246.0, 246.0)
"""The light grey that VITON-HD's garments lie on, RGB."""
_COLOURS = (
    *((214, 196, 226), (150, 180, 210), (196, 210, 166)),
    *((206, 178, 150), (96, 100, 106), (226, 206, 206)),
)


@dataclass(frozen=True)
class Lifted:
    """A garment without its background.

    Attributes:
        colours: float32 (h, w, 3), 0..255: the garment's own, continued beyond its outline.
        mask: bool (h, w).
        number: tells garments apart; some cases choose by it.
    """

    colours: np.ndarray
    mask: np.ndarray
    number: int


def lift(sample: GarmentSample, number: int = 0) -> Lifted:
    """Return the garment of a photograph: what is near its outline takes the colour a little further in."""
    inside = cv2.erode(sample.mask.astype(np.uint8), _disc(_RIM)) > 0
    # Where a strap is thinner than that, its middle.
    ridge = cv2.erode(sample.mask.astype(np.uint8), _disc(1)) > 0
    ridge &= cv2.dilate(inside.astype(np.uint8), _disc(_RIM + 2)) == 0
    nearest = ndimage.distance_transform_edt(~(inside | ridge), return_distances=False, return_indices=True)
    return Lifted(sample.photo[nearest[0], nearest[1]].astype(np.float32), sample.mask, number)


def make(case: str, sample: GarmentSample, number: int = 0) -> GarmentSample:
    """Return the case, one of CASES, made of this garment; its mask is the truth of the new picture."""
    photo, mask = CASES[case](lift(sample, number))
    return GarmentSample(f"{sample.name} {case}", photo, mask)


def _white_on_white(garment: Lifted) -> tuple[np.ndarray, np.ndarray]:
    """A white garment, 10 levels darker than the white wall it hangs on, a little noise, a good JPEG."""
    picture = lay(_bleached(garment, 240), garment.mask, (250, 250, 250))
    return _jpeg(noisy(picture, 1.5, garment.number), 90), garment.mask


def _white_on_grey(garment: Lifted) -> tuple[np.ndarray, np.ndarray]:
    """A white garment on the usual light grey: most of it is lighter, its outline's shading darker."""
    return _jpeg(lay(_bleached(garment, 251), garment.mask, STUDIO), 95), garment.mask


def _gradient(garment: Lifted) -> tuple[np.ndarray, np.ndarray]:
    """A grey wall that darkens downwards and towards the corners."""
    height, width = garment.mask.shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    corner = ((x / width - 0.5) ** 2 + (y / height - 0.5) ** 2)[..., None]
    wall = np.array([236, 237, 240], np.float32) * (1 - 0.22 * (y / height)[..., None] - 0.16 * corner)
    return lay(garment.colours, garment.mask, wall), garment.mask


def _coloured(garment: Lifted) -> tuple[np.ndarray, np.ndarray]:
    """A coloured backdrop, another for each garment, saved as a JPEG of good quality."""
    colour = _COLOURS[garment.number % len(_COLOURS)]
    return _jpeg(lay(garment.colours, garment.mask, colour), 90), garment.mask


def _shadow(garment: Lifted) -> tuple[np.ndarray, np.ndarray]:
    """A soft shadow to the right and below, up to 35 % dark."""
    alpha = garment.mask.astype(np.float32)
    height, width = alpha.shape
    moved = cv2.warpAffine(alpha, np.array([[1, 0, 0.018 * width], [0, 1, 0.022 * height]]), (width, height))
    dark = cv2.GaussianBlur(moved, (0, 0), 0.02 * width)[..., None]
    return lay(garment.colours, garment.mask, (1 - 0.35 * dark) * np.array([248, 247, 245.0])), garment.mask


def _jpeg_noise(garment: Lifted) -> tuple[np.ndarray, np.ndarray]:
    """A noisy sensor (standard deviation 4) and a JPEG of quality 30."""
    clean = lay(garment.colours, garment.mask, STUDIO)
    return _jpeg(noisy(clean, 4, garment.number), 30), garment.mask


def _straps(garment: Lifted) -> tuple[np.ndarray, np.ndarray]:
    """Cut off above the chest and hung on two straps of 1 % of the picture's width, and two thinner ones."""
    _, y0, _, y1 = _box(garment.mask)
    chest = int(y0 + 0.28 * (y1 - y0))
    body = garment.mask.copy()
    body[:chest] = False
    row = np.flatnonzero(body[chest])
    left, right = int(row[0]), int(row[-1])
    drawn = body.astype(np.uint8)
    thick = max(2, round(0.01 * garment.mask.shape[1]))
    for share, lean, width in (
        (0.25, -0.05, thick),
        (0.32, -0.05, thick // 2),
        (0.75, 0.05, thick),
        (0.68, 0.05, thick // 2),
    ):
        foot = round(left + share * (right - left))
        top = round(foot + lean * (right - left))
        cv2.line(drawn, (foot, chest + thick), (top, y0), 1, width)
    mask = drawn > 0
    nearest = ndimage.distance_transform_edt(~body, return_distances=False, return_indices=True)
    return lay(garment.colours[nearest[0], nearest[1]], mask, STUDIO), mask


def _holes(garment: Lifted) -> tuple[np.ndarray, np.ndarray]:
    """Cut-outs at the waist and a slit below the collar, through which the background shows."""
    x0, y0, x1, y1 = _box(garment.mask)
    cut = np.zeros(garment.mask.shape, np.uint8)
    waist = y0 + round(0.66 * (y1 - y0))
    trunk = np.flatnonzero(garment.mask[waist])
    # The trunk's own run of the row: sleeves may hang beside it.
    middle = (x0 + x1) // 2
    run = trunk[np.abs(trunk - middle) <= _run(garment.mask[waist], middle)]
    width, height = run[-1] - run[0], y1 - y0
    for x in (run[0] + 0.1 * width, run[-1] - 0.1 * width):
        cv2.ellipse(cut, (round(x), waist), (round(0.04 * width), round(0.06 * height)), 0, 0, 360, 1, -1)
    collar = y0 + int(np.argmax(garment.mask[y0:, middle]))
    slit = (round(0.018 * width), round(0.04 * height))
    cv2.ellipse(cut, (middle, collar + round(0.07 * height)), slit, 0, 0, 360, 1, -1)
    mask = garment.mask & (cut == 0)
    return lay(garment.colours, mask, STUDIO), mask


def _print(garment: Lifted) -> tuple[np.ndarray, np.ndarray]:
    """Text and a round logo in the background's colour on the chest and below."""
    x0, y0, x1, y1 = _box(garment.mask)
    scale = (x1 - x0) / 400
    ink = np.zeros(garment.mask.shape, np.uint8)
    middle = (x0 + x1) // 2
    for text, share, size in (("STUDIO", 0.5, 2.0), ("No. 46", 0.6, 1.4)):
        thick = max(2, round(5 * scale))
        (long, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, size * scale, thick)
        at = (middle - long // 2, round(y0 + share * (y1 - y0)))
        cv2.putText(ink, text, at, cv2.FONT_HERSHEY_DUPLEX, size * scale, 1, thick, cv2.LINE_AA)
    cv2.circle(ink, (middle, round(y0 + 0.7 * (y1 - y0))), round(28 * scale), 1, -1)
    inside = cv2.erode(garment.mask.astype(np.uint8), _disc(round(12 * scale))) > 0
    colours = np.where(((ink > 0) & inside)[..., None], np.float32(246), garment.colours)
    return lay(colours.astype(np.float32), garment.mask, STUDIO), garment.mask


def _inner_back(garment: Lifted) -> tuple[np.ndarray, np.ndarray]:
    """A wide collar with the pale inside of the back in it, and a label there: all of it is garment."""
    x0, y0, x1, y1 = _box(garment.mask)
    width, height = x1 - x0, y1 - y0
    middle = (x0 + x1) // 2
    collar = y0 + int(np.argmax(garment.mask[y0:, middle]))
    shape = np.zeros(garment.mask.shape, np.uint8)
    axes = (round(0.11 * width), round(0.075 * height))
    cv2.ellipse(shape, (middle, collar + axes[1] // 3), axes, 0, 0, 360, 1, -1)
    inner = shape > 0
    # The back's edge is a little lower than the front's ends, and straight.
    inner[: collar - axes[1] // 4] = False
    mask = garment.mask | inner
    mean = garment.colours[garment.mask].mean(0)
    lining = 0.45 * mean + 0.55 * np.array([222, 216, 208])
    y = np.arange(len(mask), dtype=np.float32)[:, None, None]
    shade = 1 - 0.12 * np.clip((y - collar) / max(axes[1], 1), -0.5, 1)
    colours = np.where(inner[..., None], lining * shade, garment.colours).astype(np.float32)
    high, wide = axes[1] // 3, axes[0] // 4
    label = (slice(collar + 4, collar + 4 + high), slice(middle - wide, middle + wide))
    colours[label][inner[label]] = 246
    return lay(colours, mask, STUDIO), mask


Case = Callable[[Lifted], tuple[np.ndarray, np.ndarray]]
CASES: Mapping[str, Case] = {
    "white on white": _white_on_white,
    "white on light grey": _white_on_grey,
    "grey gradient": _gradient,
    "coloured": _coloured,
    "cast shadow": _shadow,
    "JPEG noise": _jpeg_noise,
    "thin straps": _straps,
    "holes": _holes,
    "printed text": _print,
    "inner back": _inner_back,
}


def lay(
    colours: np.ndarray, mask: np.ndarray, background: np.ndarray | tuple[float, float, float]
) -> np.ndarray:
    """Return the garment on a background, RGB uint8, its outline as soft as a lens makes it."""
    alpha = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.8)[..., None]
    picture = alpha * colours + (1 - alpha) * np.asarray(background, np.float32)
    return np.clip(np.round(picture), 0, 255).astype(np.uint8)


def _bleached(garment: Lifted, level: float) -> np.ndarray:
    """Return white cloth of this level with an eighth of the garment's own contrast, shaded at its outline.

    Cloth bends away from the light at its outline: without that nothing would tell it from its background.
    """
    grey = cv2.cvtColor(garment.colours.astype(np.uint8), cv2.COLOR_RGB2GRAY).astype(np.float32)
    folds = np.clip((grey - np.median(grey[garment.mask])) / 8, -16, 8)
    depth = cv2.distanceTransform(garment.mask.astype(np.uint8), cv2.DIST_L2, 5)
    shading = 16 * np.exp(-depth / (0.008 * len(grey)))
    return np.repeat((level + folds - shading)[..., None], 3, axis=2).astype(np.float32)


def noisy(picture: np.ndarray, deviation: float, seed: int) -> np.ndarray:
    """Return an RGB picture, uint8, with Gaussian noise of this standard deviation."""
    noise = np.random.default_rng(seed).normal(0, deviation, picture.shape)
    return np.clip(np.round(picture + noise), 0, 255).astype(np.uint8)


def _jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None  # it was encoded here
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)


def _box(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])


def _run(row: np.ndarray, middle: int) -> int:
    """Return how far the garment goes on from the middle of a row, on its shorter side."""
    left, right = row[middle::-1], row[middle:]
    return min(int(np.argmin(side)) if not side.all() else len(side) for side in (left, right))


def _disc(radius: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
