"""Hard cases for the garment mask, made from product photographs whose mask is known.

A garment is cut out of its photograph with the published mask and composited on another background, or
changed together with its mask. All of it is computed: the same photograph always gives the same pixels.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

from worker.images.arrays import Flags, Floats, Image
from worker.images.shapes import bounding_box, disc
from worker.lab.evaluation.samples import GarmentSample

STUDIO = (246.0, 246.0, 246.0)
"""The light grey behind VITON-HD's garments, RGB."""

_RIM = 4
"""Within this many pixels of the published outline a garment's colour is mixed with the old background."""

_OUTLINE_BLUR = 0.8
"""Standard deviation of a composited outline, pixels: as smooth as a lens makes it."""

_BACKDROPS = (
    *((214, 196, 226), (150, 180, 210), (196, 210, 166)),
    *((206, 178, 150), (96, 100, 106), (226, 206, 206)),
)

Background = Image | Floats | tuple[float, float, float]
Picture = tuple[Image, Flags]
"""A photograph, RGB uint8 (h, w, 3), and its true mask, bool (h, w)."""


@dataclass(frozen=True)
class CutOut:
    """A garment without its background.

    Attributes:
        colours: float32 (h, w, 3), 0..255: the garment's own, extended beyond its outline.
        mask: bool (h, w).
        number: of the garment; some cases choose a colour or a noise seed by it.
    """

    colours: Floats
    mask: Flags
    number: int


def cut_out(sample: GarmentSample, number: int = 0) -> CutOut:
    """Return the garment of a photograph; pixels near its outline take a colour from farther inside."""
    inside = cv2.erode(sample.mask.astype(np.uint8), disc(_RIM)) > 0
    # A strap that is narrower than the rim keeps the colours of its middle.
    strap = cv2.erode(sample.mask.astype(np.uint8), disc(1)) > 0
    strap &= cv2.dilate(inside.astype(np.uint8), disc(_RIM + 2)) == 0
    nearest = ndimage.distance_transform_edt(~(inside | strap), return_distances=False, return_indices=True)
    return CutOut(sample.photo[nearest[0], nearest[1]].astype(np.float32), sample.mask, number)


def make(case: str, sample: GarmentSample, number: int = 0) -> GarmentSample:
    """Return one of CASES made from this garment, with its true mask."""
    photo, mask = CASES[case](cut_out(sample, number))
    return GarmentSample(f"{sample.name} {case}", photo, mask)


def _white_on_white(garment: CutOut) -> Picture:
    """A white garment, 10 levels darker than the white wall, with a little noise; JPEG quality 90."""
    picture = composite(_bleached(garment, 240), garment.mask, (250, 250, 250))
    return _through_jpeg(add_noise(picture, 1.5, garment.number), 90), garment.mask


def _white_on_grey(garment: CutOut) -> Picture:
    """A white garment on the usual light grey: most of it is brighter, its outline is darker."""
    return _through_jpeg(composite(_bleached(garment, 251), garment.mask, STUDIO), 95), garment.mask


def _gradient(garment: CutOut) -> Picture:
    """A grey wall that is darker at the bottom and in the corners."""
    height, width = garment.mask.shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    corner = ((x / width - 0.5) ** 2 + (y / height - 0.5) ** 2)[..., None]
    wall = np.array([236, 237, 240], np.float32) * (1 - 0.22 * (y / height)[..., None] - 0.16 * corner)
    return composite(garment.colours, garment.mask, np.asarray(wall)), garment.mask


def _coloured(garment: CutOut) -> Picture:
    """A coloured backdrop, a different one for each garment; JPEG quality 90."""
    colour = _BACKDROPS[garment.number % len(_BACKDROPS)]
    return _through_jpeg(composite(garment.colours, garment.mask, colour), 90), garment.mask


def _shadow(garment: CutOut) -> Picture:
    """A smooth shadow to the right and below, up to 35 % darker."""
    alpha = garment.mask.astype(np.float32)
    height, width = alpha.shape
    shift = np.array([[1, 0, 0.018 * width], [0, 1, 0.022 * height]])
    shadow = cv2.GaussianBlur(cv2.warpAffine(alpha, shift, (width, height)), (0, 0), 0.02 * width)[..., None]
    wall = (1 - 0.35 * shadow) * np.array([248, 247, 245.0])
    return composite(garment.colours, garment.mask, np.asarray(wall)), garment.mask


def _jpeg_noise(garment: CutOut) -> Picture:
    """Sensor noise (standard deviation 4 levels) and JPEG quality 30."""
    clean = composite(garment.colours, garment.mask, STUDIO)
    return _through_jpeg(add_noise(clean, 4, garment.number), 30), garment.mask


def _straps(garment: CutOut) -> Picture:
    """Cut off above the chest; two straps of 1 % of the picture's width, and two of half of that."""
    _, top, _, bottom = bounding_box(garment.mask)
    chest = int(top + 0.28 * (bottom - 1 - top))
    body = garment.mask.copy()
    body[:chest] = False
    row = np.flatnonzero(body[chest])
    left, right = int(row[0]), int(row[-1])
    area = body.astype(np.uint8)
    thick = max(2, round(0.01 * garment.mask.shape[1]))
    # Where each strap starts on the chest, how far its top is shifted (chest widths), its width.
    for share, lean, width in (
        (0.25, -0.05, thick),
        (0.32, -0.05, thick // 2),
        (0.75, 0.05, thick),
        (0.68, 0.05, thick // 2),
    ):
        foot_x = round(left + share * (right - left))
        top_x = round(foot_x + lean * (right - left))
        cv2.line(area, (foot_x, chest + thick), (top_x, top), 1, width)
    mask = area > 0
    nearest = ndimage.distance_transform_edt(~body, return_distances=False, return_indices=True)
    return composite(garment.colours[nearest[0], nearest[1]], mask, STUDIO), mask


def _holes(garment: CutOut) -> Picture:
    """Cut-outs at the waist and a slit below the collar, through which the background is visible."""
    x0, y0, x1, y1 = bounding_box(garment.mask)
    height = y1 - 1 - y0
    cut = np.zeros(garment.mask.shape, np.uint8)
    waist = y0 + round(0.66 * height)
    middle = (x0 + x1 - 1) // 2
    # The trunk's part of the row: sleeves may hang beside it.
    columns = np.flatnonzero(garment.mask[waist])
    trunk = columns[np.abs(columns - middle) <= _half_run(garment.mask[waist], middle)]
    width = trunk[-1] - trunk[0]
    for x in (trunk[0] + 0.1 * width, trunk[-1] - 0.1 * width):
        cv2.ellipse(cut, (round(x), waist), (round(0.04 * width), round(0.06 * height)), 0, 0, 360, 1, -1)
    collar = y0 + int(np.argmax(garment.mask[y0:, middle]))
    slit = (round(0.018 * width), round(0.04 * height))
    cv2.ellipse(cut, (middle, collar + round(0.07 * height)), slit, 0, 0, 360, 1, -1)
    mask = garment.mask & (cut == 0)
    return composite(garment.colours, mask, STUDIO), mask


def _print(garment: CutOut) -> Picture:
    """Text on the chest and a round logo below it, in the background's colour."""
    x0, y0, x1, y1 = bounding_box(garment.mask)
    width, height, middle = x1 - 1 - x0, y1 - 1 - y0, (x0 + x1 - 1) // 2
    scale = width / 400
    ink = np.zeros(garment.mask.shape, np.uint8)
    for text, share, size in (("STUDIO", 0.5, 2.0), ("No. 46", 0.6, 1.4)):
        thick = max(2, round(5 * scale))
        (text_width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, size * scale, thick)
        origin = (middle - text_width // 2, round(y0 + share * height))
        cv2.putText(ink, text, origin, cv2.FONT_HERSHEY_DUPLEX, size * scale, 1, thick, cv2.LINE_AA)
    cv2.circle(ink, (middle, round(y0 + 0.7 * height)), round(28 * scale), 1, -1)
    inside = cv2.erode(garment.mask.astype(np.uint8), disc(round(12 * scale))) > 0
    colours = np.where(((ink > 0) & inside)[..., None], np.float32(STUDIO[0]), garment.colours)
    return composite(colours.astype(np.float32), garment.mask, STUDIO), garment.mask


def _inner_back(garment: CutOut) -> Picture:
    """A wide collar that shows the pale inner back and a label: all of it is garment."""
    x0, y0, x1, y1 = bounding_box(garment.mask)
    width, height, middle = x1 - 1 - x0, y1 - 1 - y0, (x0 + x1 - 1) // 2
    collar = y0 + int(np.argmax(garment.mask[y0:, middle]))
    opening = np.zeros(garment.mask.shape, np.uint8)
    axes = (round(0.11 * width), round(0.075 * height))
    cv2.ellipse(opening, (middle, collar + axes[1] // 3), axes, 0, 0, 360, 1, -1)
    inner = opening > 0
    # The back's edge is straight, a little lower than the ends of the front.
    inner[: collar - axes[1] // 4] = False
    mask = garment.mask | inner
    mean = garment.colours[garment.mask].mean(0)
    lining = 0.45 * mean + 0.55 * np.array([222, 216, 208])
    y = np.arange(len(mask), dtype=np.float32)[:, None, None]
    light = 1 - 0.12 * np.clip((y - collar) / max(axes[1], 1), -0.5, 1)
    colours = np.where(inner[..., None], lining * light, garment.colours).astype(np.float32)
    label_height, half_width = axes[1] // 3, axes[0] // 4
    label = slice(collar + 4, collar + 4 + label_height), slice(middle - half_width, middle + half_width)
    colours[label][inner[label]] = STUDIO[0]
    return composite(colours, mask, STUDIO), mask


CASES: Mapping[str, Callable[[CutOut], Picture]] = {
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
"""Name of a hard case -> the function that makes it."""


def composite(colours: Floats, mask: Flags, background: Background) -> Image:
    """Return a garment on a background, RGB uint8 (h, w, 3), with a smooth outline.

    Args:
        colours: the garment's, float32 (h, w, 3), 0..255.
        mask: bool (h, w).
        background: one colour, or a picture of it, (h, w, 3).
    """
    alpha = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), _OUTLINE_BLUR)[..., None]
    picture = alpha * colours + (1 - alpha) * np.asarray(background, np.float32)
    return np.asarray(np.clip(np.round(picture), 0, 255), np.uint8)


def add_noise(picture: Image, deviation: float, seed: int) -> Image:
    """Return an RGB picture, uint8, with Gaussian noise of this standard deviation, levels of 0..255."""
    noise = np.random.default_rng(seed).normal(0, deviation, picture.shape)
    return np.asarray(np.clip(np.round(picture + noise), 0, 255), np.uint8)


def _bleached(garment: CutOut, level: float) -> Floats:
    """Return white fabric of this level with an eighth of the garment's contrast, darker at its outline.

    Fabric curves away from the light at its outline; without that shading a white garment on a white
    background would have no outline at all.
    """
    grey = cv2.cvtColor(garment.colours.astype(np.uint8), cv2.COLOR_RGB2GRAY).astype(np.float32)
    folds = np.clip((grey - np.median(grey[garment.mask])) / 8, -16, 8)
    depth = cv2.distanceTransform(garment.mask.astype(np.uint8), cv2.DIST_L2, 5)
    shading = 16 * np.exp(-depth / (0.008 * len(grey)))
    return np.repeat((level + folds - shading)[..., None], 3, axis=2).astype(np.float32)


def _through_jpeg(picture: Image, quality: int) -> Image:
    """Return the picture after it was saved as a JPEG file of this quality and read again."""
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if decoded is None:
        raise RuntimeError("OpenCV cannot decode the JPEG file that it encoded.")
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


def _half_run(row: Flags, middle: int) -> int:
    """Return for how many pixels the garment continues from the middle of a row, on its shorter side."""
    left, right = row[middle::-1], row[middle:]
    return min(int(np.argmin(side)) if not side.all() else len(side) for side in (left, right))
