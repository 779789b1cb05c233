"""The plain background of a product photograph: its colour at every pixel, also behind the garment."""

import numpy as np
from numpy.typing import NDArray

from worker.images.arrays import Flags, Floats

BORDER_WIDTH = 0.03
"""Width of the strip along the picture's border that shows background, shares of the shorter side."""

MIN_BORDER_WIDTH = 2  # pixels

MAX_SAMPLES = 6000
"""Number of pixels that the fit uses: more do not change it, and cost time."""

COLOUR_BIN = 4.0
"""Size of the histogram bins for the most frequent colour, Lab units."""

FIT_ITERATIONS = 8
START_SCALE, SCALE_FACTOR, MIN_SCALE = 12.0, 0.7, 3.0
"""Residual (Lab units) at which a pixel has half its weight: at the first iteration, its reduction per
iteration, and its minimum."""

CURVATURE_PENALTY = 1e-4
"""Ridge penalty per pixel on all terms but the constant: few pixels must not bend the surface."""


def fit_background(lab: NDArray[np.float32], where: Flags) -> NDArray[np.float32]:
    """Return the background, Lab float32 (h, w, 3): a quadratic surface through most of the pixels.

    Iteratively reweighted least squares: pixels far from the surface, such as a hem that touches the
    border, lose their weight.

    Args:
        lab: the picture, Lab (h, w, 3).
        where: bool (h, w), the pixels that mostly show background.
    """
    height, width = lab.shape[:2]
    y, x = np.nonzero(where)
    step = max(1, len(y) // MAX_SAMPLES)
    y, x = y[::step], x[::step]
    basis = np.stack(_terms(y / height - 0.5, x / width - 0.5), axis=1)
    coefficients = _robust_fit(basis, lab[y, x].astype(np.float64))
    rows = np.linspace(-0.5, 0.5, height, endpoint=False)[:, None, None]
    columns = np.linspace(-0.5, 0.5, width, endpoint=False)[:, None]
    # In the order of `_terms`; each pixel is one product and two sums of a row and a column.
    constant, x, y, xx, xy, yy = coefficients
    of_column = (constant + x * columns + xx * columns**2).astype(np.float32)
    slope = (y + xy * columns).astype(np.float32)
    surface: NDArray[np.float32] = rows.astype(np.float32) * slope
    surface += of_column
    surface += (rows**2 * yy).astype(np.float32)
    return surface


def difference(lab: Floats, background: Floats) -> Floats:
    """Return the colour difference of each pixel to the background (CIE76), float32 (h, w)."""
    apart = lab - background
    return np.asarray(np.sqrt(np.einsum("...i,...i->...", apart, apart)))


def border_strip(shape: tuple[int, ...]) -> Flags:
    """Return the strip along the picture's border, bool (h, w)."""
    strip = max(MIN_BORDER_WIDTH, round(BORDER_WIDTH * min(shape)))
    border = np.ones(shape, np.bool_)
    border[strip:-strip, strip:-strip] = False
    return border


def _robust_fit(basis: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the coefficients (terms, 3) of the surface through most of the values (n, 3)."""
    # Start at the most frequent colour, not at the mean of all.
    bins = np.round(values / COLOUR_BIN).astype(int)
    _, inverse, counts = np.unique(bins, axis=0, return_inverse=True, return_counts=True)
    centre = np.median(values[inverse.ravel() == np.argmax(counts)], axis=0)
    residual = np.linalg.norm(values - centre, axis=1)
    ridge = np.diag([0.0, *[CURVATURE_PENALTY * len(values)] * (basis.shape[1] - 1)])
    scale = START_SCALE
    for _ in range(FIT_ITERATIONS):
        weight = 1 / (1 + (residual / scale) ** 4)
        weighted = basis * weight[:, None]
        coefficients = np.linalg.solve(
            basis.T @ weighted + ridge + 1e-9 * np.eye(len(ridge)), weighted.T @ values
        )
        residual = np.linalg.norm(values - basis @ coefficients, axis=1)
        scale = max(MIN_SCALE, SCALE_FACTOR * scale)
    return coefficients


def _terms(y: NDArray[np.float64], x: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    return np.ones_like(x), x, y, x * x, x * y, y * y
