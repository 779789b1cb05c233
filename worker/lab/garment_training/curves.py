"""Lines and closed outlines that garments are drawn with."""

import numpy as np
from numpy.typing import NDArray

Line = NDArray[np.float64]
"""Points of a line or a closed outline, (n, 2): x to the right, y down."""

STEPS = 24
"""Points of a curve between two of its corners; finer than a pixel of the stored picture."""


def curve(corners: list[NDArray[np.float64]]) -> Line:
    """Return a smooth line through two or more points: cubic Hermite pieces, (n, 2).

    The tangent at a point is half the way from its predecessor to its successor.
    """
    points = np.array(corners, float)
    if len(points) == 2:
        return points
    tangents = np.gradient(points, axis=0)
    t = np.linspace(0, 1, STEPS)[:, None]
    pieces = []
    for a, b, ta, tb in zip(points[:-1], points[1:], tangents[:-1], tangents[1:], strict=True):
        h00, h10 = 2 * t**3 - 3 * t**2 + 1, t**3 - 2 * t**2 + t
        pieces.append(h00 * a + h10 * ta + (1 - h00) * b + (t**3 - t**2) * tb)
    return np.concatenate(pieces)


def ellipse(centre: tuple[float, float], axes: tuple[float, float]) -> Line:
    """Return an ellipse's outline, (n, 2)."""
    turn = np.linspace(0, 2 * np.pi, 2 * STEPS, endpoint=False)
    return np.stack([centre[0] + axes[0] * np.cos(turn), centre[1] + axes[1] * np.sin(turn)], 1)


def ribbon(start: NDArray[np.float64], end: NDArray[np.float64], width: float) -> Line:
    """Return a band's outline between two points, (4, 2)."""
    along = end - start
    normal = np.array([-along[1], along[0]]) / max(1e-6, float(np.linalg.norm(along))) * width / 2
    return np.stack([start + normal, end + normal, end - normal, start - normal])


def mirrored(line: Line) -> Line:
    """Return a line mirrored about the axis x = 0."""
    return line * (-1, 1)
