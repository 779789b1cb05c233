"""How far a garment's colours on the body are from those of its picture, pixel by pixel.

Which pixel of the picture lies where on the body is told by a second drawing, of a chart in the garment's
place: the chart's colours name places, so that a wrong colour cannot find itself a likely partner. No light
is allowed for: what shading changes, counts.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from skimage.color import deltaE_ciede2000, rgb2lab

from worker.images.frame import HEIGHT, WIDTH

_X, _Y = 3, 4  # pixels of the garment's canvas for one level of the chart's red and green
_PURE = 8  # the most blue that a chart's pixel may show: where it is mixed with anything, there is more
_UNLIKE = 12  # where chart and garment leave the same picture, to this many levels, neither is seen
_BLUR = 2.5  # the chart tells places to some pixels: finer patterns are compared by their mean
_RIM = 6  # pixels by which both outlines are drawn in
_STEP = 3  # every third pixel is compared


@dataclass(frozen=True)
class ColourDistance:
    """ΔE2000 over the garment's pixels on the body: the median, and what nine tenths stay below."""

    median: float
    most: float


def chart() -> np.ndarray:
    """Return the picture whose colours name places, RGB uint8 (1024, 768, 3)."""
    x, y = np.meshgrid(np.arange(WIDTH) // _X, np.arange(HEIGHT) // _Y)
    return np.dstack([x, y, np.zeros_like(x)]).astype(np.uint8)


def colour_distance(
    garment: np.ndarray, mask: np.ndarray, worn: np.ndarray, worn_chart: np.ndarray, bent_chart: np.ndarray
) -> ColourDistance | None:
    """Return the distance between a garment's picture and what is seen of it on the body.

    CIEDE2000 of corresponding pixels (Sharma et al., Color Research and Application 30(1), 2005).

    Args:
        garment, mask: the garment's picture, RGB uint8 (1024, 768, 3), and its alpha, uint8 (1024, 768).
        worn, worn_chart: the try-on with the garment, and with the chart in its place, on the canvas.
        bent_chart: the chart as it was bent, without light, on the canvas.

    None where nothing of the garment is seen on the body.
    """
    seen = (bent_chart[..., 2] <= _PURE) & (cv2.absdiff(worn, worn_chart).max(2) > _UNLIKE)
    seen = cv2.erode(seen.astype(np.uint8), _square(_RIM)) > 0
    y, x = (found[::_STEP] for found in np.nonzero(seen))
    red, green, _ = bent_chart[y, x].astype(int).T
    column, row = np.clip(red * _X + _X // 2, 0, WIDTH - 1), np.clip(green * _Y + _Y // 2, 0, HEIGHT - 1)
    inside = cv2.erode((mask >= 128).astype(np.uint8), _square(_RIM))[row, column] > 0
    if not inside.any():
        return None
    # The body shows the garment smaller than its picture does: as much of the pattern goes into a mean.
    reach = _BLUR * _shrunk(bent_chart, seen)
    one = cv2.GaussianBlur(garment, (0, 0), reach)[row[inside], column[inside]]
    other = cv2.GaussianBlur(worn, (0, 0), _BLUR)[y[inside], x[inside]]
    distance = deltaE_ciede2000(*(rgb2lab(colours[None] / 255)[0] for colours in (one, other)))
    return ColourDistance(float(np.median(distance)), float(np.quantile(distance, 0.9)))


def _shrunk(bent_chart: np.ndarray, seen: np.ndarray) -> float:
    """Return how many pixels of the garment's picture one pixel of the body shows, each way."""
    column, row = (
        cv2.GaussianBlur(bent_chart[..., channel].astype(np.float32) * levels, (0, 0), 3)
        for channel, levels in ((0, _X), (1, _Y))
    )
    (column_y, column_x), (row_y, row_x) = np.gradient(column), np.gradient(row)
    area = np.median(np.abs(column_x * row_y - column_y * row_x)[seen])
    return float(np.sqrt(max(area, 1.0)))


def _square(reach: int) -> np.ndarray:
    return np.ones((2 * reach + 1,) * 2, np.uint8)
