"""Outlines made of lines and cubic Bézier curves, in canvas pixels; garments mirror them at the middle."""

from dataclasses import dataclass

import numpy as np

from worker.images.arrays import Points
from worker.images.frame import WIDTH

Point = tuple[float, float]
"""(x, y), canvas pixels."""

MIDDLE = WIDTH / 2
"""The column at which garments are mirrored, canvas pixels."""

_LINE_SAMPLES, _CURVE_SAMPLES = 20, 60
"""Points per segment, its start included: at most a few pixels apart, so corners are not visible."""


@dataclass(frozen=True)
class Line:
    """A straight segment to `end`."""

    end: Point

    def points_from(self, start: Points) -> Points:
        """Return the points after `start`, float64 (n, 2)."""
        t = np.linspace(0, 1, _LINE_SAMPLES)[1:, None]
        return np.asarray(start + t * (np.array(self.end, float) - start))


@dataclass(frozen=True)
class Curve:
    """A cubic Bézier segment to `end`."""

    control_1: Point
    control_2: Point
    end: Point

    def points_from(self, start: Points) -> Points:
        """Return the points after `start`, float64 (n, 2)."""
        a, b, end = (np.array(point, float) for point in (self.control_1, self.control_2, self.end))
        t = np.linspace(0, 1, _CURVE_SAMPLES)[1:, None]
        return np.asarray(
            (1 - t) ** 3 * start + 3 * t * (1 - t) ** 2 * a + 3 * t**2 * (1 - t) * b + t**3 * end
        )


@dataclass(frozen=True)
class Path:
    """A start point and the segments that follow it."""

    start: Point
    segments: tuple[Line | Curve, ...]

    @property
    def end(self) -> Point:
        """The last point."""
        return self.segments[-1].end

    def segment(self, index: int) -> "Path":
        """Return one segment as a path of its own; a negative index counts from the end."""
        index %= len(self.segments)
        start = self.segments[index - 1].end if index else self.start
        return Path(start, (self.segments[index],))

    def points(self) -> Points:
        """Return points along the path, float64 (n, 2)."""
        points = [np.array([self.start], float)]
        for segment in self.segments:
            points.append(np.asarray(segment.points_from(points[-1][-1]), float))
        return np.vstack(points)

    def symmetric_points(self) -> Points:
        """Return the points of a path that ends at the middle, followed by their mirror image."""
        half = self.points()
        return np.vstack([half, mirror(half)[-2::-1]])


@dataclass(frozen=True)
class Fold:
    """A fold of the fabric along a quadratic Bézier curve.

    Attributes:
        start, control, end: the curve's points.
        width: of the fold, canvas pixels.
        depth: how much darker and lighter it makes the fabric, share of the light.
    """

    start: Point
    control: Point
    end: Point
    width: float
    depth: float

    def mirrored(self) -> "Fold":
        """Return the fold on the other side of the middle."""
        (x0, y0), (x1, y1), (x2, y2) = self.start, self.control, self.end
        return Fold(
            (2 * MIDDLE - x0, y0), (2 * MIDDLE - x1, y1), (2 * MIDDLE - x2, y2), self.width, self.depth
        )


def mirror(points: Points) -> Points:
    """Return points (n, 2) on the other side of the middle."""
    return np.column_stack([2 * MIDDLE - points[:, 0], points[:, 1]])


def normals(line: Points) -> Points:
    """Return the unit normals at a line's points, (n, 2): the tangent rotated by 90° (x, y) -> (y, -x)."""
    tangent = np.gradient(line, axis=0)
    normal = np.column_stack([tangent[:, 1], -tangent[:, 0]])
    return np.asarray(normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6))
