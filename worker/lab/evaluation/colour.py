"""The distance between a garment's colours on the body and in its picture, pixel by pixel.

A second try-on, with a chart in the garment's place, gives the correspondence: the chart's colours encode
positions in the garment's picture. So the garment's own colours cannot influence which pixels are compared.
Shading is not compensated for: its changes count as distance.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from skimage.color import deltaE_ciede2000, rgb2lab

from worker.images.arrays import Canvas, Flags, Mask
from worker.images.frame import HEIGHT, WIDTH
from worker.images.shapes import square

_X_PER_LEVEL, _Y_PER_LEVEL = 3, 4
"""Pixels of the garment's canvas per level of the chart's red and green: 768 and 1024 fit into 256 levels."""

_MAX_CHART_BLUE = 8
"""The chart has no blue: a warped pixel with more is mixed with something else, and is not compared."""

_MIN_DIFFERENCE = 12
"""Where the try-ons with garment and chart differ by fewer levels, the garment is not visible."""

_BLUR = 2.5
"""Standard deviation of a blur before comparison, body pixels: the chart is exact to a few pixels only, so a
finer pattern is compared by its mean."""

_RIM = 6
"""Both outlines are eroded by this many pixels, to leave out mixed colours."""

_STRIDE = 3
"""Every third pixel is compared: neighbours are nearly equal."""


@dataclass(frozen=True)
class ColourDistance:
    """The median and the 90th percentile of ΔE2000 over the garment's pixels on the body."""

    median: float
    p90: float


def chart() -> Canvas:
    """Return the picture whose red and green encode x and y, RGB uint8 (1024, 768, 3)."""
    x, y = np.meshgrid(np.arange(WIDTH) // _X_PER_LEVEL, np.arange(HEIGHT) // _Y_PER_LEVEL)
    return np.dstack([x, y, np.zeros_like(x)]).astype(np.uint8)


def colour_distance(
    garment: Canvas, mask: Mask, worn: Canvas, worn_chart: Canvas, warped_chart: Canvas
) -> ColourDistance | None:
    """Return the distance between a garment's picture and its visible part on the body.

    CIEDE2000 of corresponding pixels (Sharma et al., Color Research and Application 30(1), 2005).

    Args:
        garment, mask: the garment's picture, RGB uint8 (1024, 768, 3), and its alpha, uint8 (1024, 768).
        worn, worn_chart: the try-on with the garment, and with the chart in its place, on the canvas.
        warped_chart: the warped chart without shading, on the canvas.

    Returns:
        None where nothing of the garment is visible on the body.
    """
    is_pure = warped_chart[..., 2] <= _MAX_CHART_BLUE
    visible = is_pure & (cv2.absdiff(worn, worn_chart).max(2) > _MIN_DIFFERENCE)
    visible = cv2.erode(visible.astype(np.uint8), square(_RIM)) > 0
    y, x = (index[::_STRIDE] for index in np.nonzero(visible))
    red, green, _ = warped_chart[y, x].astype(int).T
    column = np.clip(red * _X_PER_LEVEL + _X_PER_LEVEL // 2, 0, WIDTH - 1)
    row = np.clip(green * _Y_PER_LEVEL + _Y_PER_LEVEL // 2, 0, HEIGHT - 1)
    inside = cv2.erode((mask >= 128).astype(np.uint8), square(_RIM))[row, column] > 0
    if not inside.any():
        return None
    # The garment is smaller on the body than in its picture: blur both by the same length of the pattern.
    garment_blur = _BLUR * _reduction(warped_chart, np.asarray(visible))
    expected = cv2.GaussianBlur(garment, (0, 0), garment_blur)[row[inside], column[inside]]
    actual = cv2.GaussianBlur(worn, (0, 0), _BLUR)[y[inside], x[inside]]
    expected_lab, actual_lab = (rgb2lab(colours[None] / 255)[0] for colours in (expected, actual))
    distance = deltaE_ciede2000(expected_lab, actual_lab)  # type: ignore[no-untyped-call]
    return ColourDistance(float(np.median(distance)), float(np.quantile(distance, 0.9)))


def _reduction(warped_chart: Canvas, visible: Flags) -> float:
    """Return how many pixels of the garment's picture one pixel of the body shows, in each direction."""
    column, row = (
        cv2.GaussianBlur(warped_chart[..., channel].astype(np.float32) * pixels, (0, 0), 3)
        for channel, pixels in ((0, _X_PER_LEVEL), (1, _Y_PER_LEVEL))
    )
    (column_y, column_x), (row_y, row_x) = np.gradient(column), np.gradient(row)
    area = np.median(np.abs(column_x * row_y - column_y * row_x)[visible])
    return float(np.sqrt(max(area, 1.0)))
