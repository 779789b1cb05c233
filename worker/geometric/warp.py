"""Thin-plate splines: a smooth map from matched points, and the check that it does not fold or tear."""

from collections.abc import Callable

import cv2
import numpy as np
from scipy.interpolate import RBFInterpolator
from scipy.spatial.distance import pdist

from config.errors import SynthesisError
from worker.images.arrays import Flags, Floats, Points
from worker.verdict import FOLDED, TORN

Spline = Callable[[Points], Points]
"""A map of the plane: points (m, 2) -> their images, float64 (m, 2)."""

_STEP = 8  # pixels between the nodes where a spline is evaluated; between nodes it is nearly linear
_MIN_DISTANCE = 1e-6  # source points closer than this, in units of their extent, coincide
_DETERMINANT_STEP = 4  # pixels between the points where a map's Jacobian is checked
_STRETCHED = 9.0  # a patch that grows by this factor more than the median of the part is torn


def fit_spline(source: Points, target: Points, *, smoothing: float = 0.0) -> Spline:
    """Return the thin-plate spline that maps source points (n, 2) to target points (n, 2).

    f(p) = A [1, x, y] + sum_i w_i U(|p - p_i|), with U(r) = r² ln r (Bookstein, "Principal Warps: Thin-Plate
    Splines and the Decomposition of Deformations", IEEE PAMI 11(6), 1989). Affine maps are reproduced
    exactly.

    Args:
        source: at least 3 points that are not on one line.
        target: their images.
        smoothing: with 0 the points are interpolated; with more they are approximated and the map is
            smoother. The unit belongs to source points scaled to -1..1.

    Raises SynthesisError when two source points coincide or all are on one line.
    """
    centre = source.mean(0)
    unit = max(float(np.abs(source - centre).max()), 1e-9)
    points = (source - centre) / unit
    affine = np.column_stack([np.ones(len(points)), points])
    if np.linalg.matrix_rank(affine) < 3 or pdist(points).min() < _MIN_DISTANCE:
        raise SynthesisError("The garment cannot be warped onto the body: its points coincide.")
    interpolator = RBFInterpolator(points, target, smoothing=smoothing, kernel="thin_plate_spline")

    def spline(positions: Points) -> Points:
        return np.asarray(interpolator((positions - centre) / unit), np.float64)

    return spline


def sampling_map(spline: Spline, box: tuple[int, int, int, int]) -> Points:
    """Return the source position of each pixel of a box (x0, y0, x1, y1): float32 (y1 - y0, x1 - x0, 2).

    The spline's positions have pixel centres at whole numbers plus one half. The returned positions are
    `cv2.remap`'s, with pixel centres at whole numbers.
    """
    x0, y0, x1, y1 = box
    columns, rows = -(-(x1 - x0) // _STEP) + 1, -(-(y1 - y0) // _STEP) + 1
    xs = x0 + 0.5 + _STEP * np.arange(columns)
    ys = y0 + 0.5 + _STEP * np.arange(rows)
    nodes = np.stack(np.meshgrid(xs, ys), -1).reshape(-1, 2)
    coarse = spline(nodes).reshape(rows, columns, 2).astype(np.float32)
    # Pixel (i, j) of the box is at (i / step, j / step) among the nodes.
    grid_x, grid_y = np.meshgrid(
        np.arange(x1 - x0, dtype=np.float32) / _STEP, np.arange(y1 - y0, dtype=np.float32) / _STEP
    )
    return np.asarray(cv2.remap(coarse, grid_x, grid_y, cv2.INTER_LINEAR) - 0.5)


def folded_share(positions: Points, inside: Flags) -> float:
    """Return the share of the pixels `inside` (bool (h, w)) where a sampling map (h, w, 2) turns over.

    There the determinant of its Jacobian is not positive.
    """
    determinants = _determinants(positions, inside)
    return float(np.mean(determinants <= 0)) if len(determinants) else 0.0


def stretched_share(positions: Points, inside: Flags) -> float:
    """Return the share of the pixels `inside` where a sampling map tears the garment.

    There the map's Jacobian determinant is less than a ninth of its median: a patch of the garment covers
    more than nine times the area of an average patch. Arguments as in `folded_share`.
    """
    determinants = _determinants(positions, inside)
    upright = determinants[determinants > 0]
    return float(np.mean(upright < np.median(upright) / _STRETCHED)) if len(upright) else 0.0


def refuse_folds(positions: Points, inside: Flags, part: str) -> None:
    """Raise SynthesisError when the map of a part of the garment folds or tears it where it is visible."""
    torn = stretched_share(positions, inside)
    if torn > TORN:
        raise SynthesisError(
            f"The garment's {part} would be torn in this pose ({torn:.0%} of it overstretched): use "
            "a photograph that shows the person from the front, with the arms not pointing at the camera."
        )
    share = folded_share(positions, inside)
    if share > FOLDED:
        raise SynthesisError(
            f"The garment's {part} would fold over itself in this pose ({share:.0%} of it): use a photograph "
            "that shows the person from the front, with the arms not pointing at the camera."
        )


def _determinants(positions: Points, inside: Flags) -> Floats:
    """Return the determinants of a sampling map's Jacobian on a coarse grid inside, float64 (n,)."""
    step = _DETERMINANT_STEP
    p = positions[::step, ::step].astype(np.float64)
    across, down = np.diff(p, axis=1)[:-1], np.diff(p, axis=0)[:, :-1]
    determinant = across[..., 0] * down[..., 1] - across[..., 1] * down[..., 0]
    return np.asarray(determinant[inside[::step, ::step][:-1, :-1]])
