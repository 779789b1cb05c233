"""Thin-plate splines: from matched points to a smooth map, and the check that it does not fold."""

import cv2
import numpy as np
from scipy.spatial.distance import cdist

from config.errors import SynthesisError

_STEP = 8  # pixels between the nodes at which a spline is evaluated; between them it is nearly straight
FOLDED = 0.06  # share of a part's area that may be turned over before the picture is refused
_STRETCHED = 9.0  # a patch that grows this much more than the part on the whole is torn rather than bent
TORN = 0.15  # share of a part's area that may be stretched so far before the picture is refused


class ThinPlateSpline:
    """The smoothest map of the plane that takes given points to given points.

    f(p) = A [1, x, y] + sum_i w_i U(|p - p_i|), with U(r) = r² ln r (Bookstein, "Principal Warps: Thin-Plate
    Splines and the Decomposition of Deformations", IEEE PAMI 11(6), 1989). Affine maps are reproduced
    exactly. With `slack` > 0 the points are met approximately and the map is smoother.
    """

    def __init__(self, source: np.ndarray, target: np.ndarray, *, slack: float = 0.0) -> None:
        """Fit the map that takes source (n, 2) to target (n, 2), n >= 3 points that span the plane.

        Raises SynthesisError when two source points coincide or all lie on one line.
        """
        self._centre = source.mean(0)
        self._unit = max(float(np.abs(source - self._centre).max()), 1e-9)
        self._points = (source - self._centre) / self._unit
        n = len(source)
        affine = np.column_stack([np.ones(n), self._points])
        system = np.zeros((n + 3, n + 3))
        system[:n, :n] = _kernel(self._points, self._points) + slack * np.eye(n)
        system[:n, n:], system[n:, :n] = affine, affine.T
        right = np.zeros((n + 3, 2))
        right[:n] = target
        if np.linalg.matrix_rank(affine) < 3 or (n > 1 and _closest(self._points) < 1e-6):
            raise SynthesisError("The garment could not be bent onto the body: its points coincide.")
        self._weights = np.linalg.solve(system, right)

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Return where points (m, 2) go, float64 (m, 2)."""
        p = (points - self._centre) / self._unit
        affine = np.column_stack([np.ones(len(p)), p])
        return np.asarray(_kernel(p, self._points) @ self._weights[:-3] + affine @ self._weights[-3:])


def sampling_map(spline: ThinPlateSpline, box: tuple[int, int, int, int]) -> np.ndarray:
    """Return where each pixel of a box (x0, y0, x1, y1) comes from: float32 (y1 - y0, x1 - x0, 2).

    Positions go in and come out with pixel centres at whole numbers plus one half; the returned ones are
    what `cv2.remap` takes, which puts the centres at whole numbers.
    """
    x0, y0, x1, y1 = box
    columns, rows = -(-(x1 - x0) // _STEP) + 1, -(-(y1 - y0) // _STEP) + 1
    xs = x0 + 0.5 + _STEP * np.arange(columns)
    ys = y0 + 0.5 + _STEP * np.arange(rows)
    nodes = np.stack(np.meshgrid(xs, ys), -1).reshape(-1, 2)
    coarse = spline(nodes).reshape(rows, columns, 2).astype(np.float32)
    # Pixel (i, j) of the box lies at (i / step, j / step) among the nodes.
    grid_x, grid_y = np.meshgrid(
        np.arange(x1 - x0, dtype=np.float32) / _STEP, np.arange(y1 - y0, dtype=np.float32) / _STEP
    )
    return np.asarray(cv2.remap(coarse, grid_x, grid_y, cv2.INTER_LINEAR) - 0.5)


def folded_share(positions: np.ndarray, inside: np.ndarray) -> float:
    """Return the share of the pixels `inside` (bool (h, w)) where a sampling map (h, w, 2) turns over.

    There the determinant of its Jacobian is not positive.
    """
    found = _determinants(positions, inside)
    return float(np.mean(found <= 0)) if len(found) else 0.0


def stretched_share(positions: np.ndarray, inside: np.ndarray) -> float:
    """Return the share of the pixels `inside` where a sampling map stretches the garment to pieces.

    There a patch of the garment covers more than nine times the area that it covers in the part's middle
    place: the map's Jacobian determinant is that much smaller than its median. Arguments as in
    `folded_share`.
    """
    found = _determinants(positions, inside)
    upright = found[found > 0]
    return float(np.mean(upright < np.median(upright) / _STRETCHED)) if len(upright) else 0.0


def refuse_folds(positions: np.ndarray, inside: np.ndarray, part: str) -> None:
    """Raise SynthesisError when the map of a part of the garment folds or tears it where it is seen."""
    torn = stretched_share(positions, inside)
    if torn > TORN:
        raise SynthesisError(
            f"The garment's {part} would be torn on this pose ({torn:.0%} of it overstretched): use "
            "a photograph that shows the person from the front, with the arms away from the camera's axis."
        )
    share = folded_share(positions, inside)
    if share > FOLDED:
        raise SynthesisError(
            f"The garment's {part} would fold over itself on this pose ({share:.0%} of it): use a photograph "
            "that shows the person from the front, with the arms away from the camera's axis."
        )


def _determinants(positions: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return the determinant of a sampling map's Jacobian at every fourth pixel inside, float64 (n,)."""
    step = 4
    p = positions[::step, ::step].astype(np.float64)
    across, down = np.diff(p, axis=1)[:-1], np.diff(p, axis=0)[:, :-1]
    determinant = across[..., 0] * down[..., 1] - across[..., 1] * down[..., 0]
    return np.asarray(determinant[inside[::step, ::step][:-1, :-1]])


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    squared = cdist(a, b, "sqeuclidean")
    # r² ln r = r² ln(r²) / 2, and 0 where r is 0.
    return np.asarray(0.5 * squared * np.log(np.maximum(squared, 1e-300)))


def _closest(points: np.ndarray) -> float:
    distance = cdist(points, points)
    np.fill_diagonal(distance, np.inf)
    return float(distance.min())
