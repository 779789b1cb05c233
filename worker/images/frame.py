"""The 768×1024 canvas, and the similarity transform between it and a photograph."""

from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.images.arrays import Floats, Points

Value = TypeVar("Value", np.uint8, np.float32)
"""Type of a picture's values: those of the result are those of the argument."""

WIDTH, HEIGHT = 768, 1024
"""The size of the canvas, pixels: that of the VITON-HD data set."""

FILL = 240
"""The grey of the canvas around a person's photograph, close to VITON-HD's studio walls."""


@dataclass(frozen=True)
class Frame:
    """A window of the photograph, scaled by one factor in both directions onto the canvas.

    The photograph point (x, y), in pixels, is at (scale * x + left, scale * y + top) on the canvas.
    Pixel centres are at whole numbers plus one half. Canvas pixels outside the photograph are filled.
    """

    scale: float
    left: float
    top: float
    photo_width: int
    photo_height: int

    @classmethod
    def letterbox(cls, photo_width: int, photo_height: int) -> "Frame":
        """Return the frame that shows the whole photograph, centred."""
        return cls.around(0, 0, photo_width, photo_height, photo_width, photo_height)

    @classmethod
    def around(
        cls, x0: float, y0: float, x1: float, y1: float, photo_width: int, photo_height: int
    ) -> "Frame":
        """Return the frame that shows the box (photograph pixels) centred, as large as fits the canvas."""
        scale = min(WIDTH / (x1 - x0), HEIGHT / (y1 - y0))
        left = WIDTH / 2 - scale * (x0 + x1) / 2
        top = HEIGHT / 2 - scale * (y0 + y1) / 2
        return cls(scale, left, top, photo_width, photo_height)

    def to_canvas(
        self, photo: NDArray[Value], *, fill: int = 0, interpolation: int | None = None
    ) -> NDArray[Value]:
        """Return the photograph, uint8 or float32 (h, w[, 3]), on the canvas, (1024, 768[, 3]), same type.

        Args:
            photo: the photograph, or a map of its size.
            fill: the value of canvas pixels outside the photograph.
            interpolation: an OpenCV flag; by default area to shrink and cubic to enlarge.
        """
        if interpolation is None:
            interpolation = cv2.INTER_AREA if self.scale < 1 else cv2.INTER_CUBIC
        if self == Frame(1.0, 0.0, 0.0, WIDTH, HEIGHT):
            return photo.copy()
        source = photo
        matrix = affine_matrix(self.scale, self.scale, self.left, self.top)
        if interpolation == cv2.INTER_AREA:
            # warpAffine has no area filter: downsample first, then place the result almost unscaled.
            small = cv2.resize(photo, None, fx=self.scale, fy=self.scale, interpolation=cv2.INTER_AREA)
            source, interpolation = np.asarray(small, photo.dtype), cv2.INTER_LINEAR
            exact_x = self.scale * photo.shape[1] / small.shape[1]
            exact_y = self.scale * photo.shape[0] / small.shape[0]
            matrix = affine_matrix(exact_x, exact_y, self.left, self.top)
        placed = cv2.warpAffine(
            source, matrix, (WIDTH, HEIGHT), flags=interpolation, borderValue=(fill, fill, fill)
        )
        return np.asarray(placed, photo.dtype)

    def to_photo(
        self, canvas: NDArray[Value], *, fill: int = 0, interpolation: int = cv2.INTER_CUBIC
    ) -> NDArray[Value]:
        """Return a canvas picture at the photograph's position and size.

        Args:
            canvas: uint8 or float32 (1024, 768[, 3]); the result has the same type.
            fill: the value of photograph pixels outside the canvas.
            interpolation: an OpenCV flag.
        """
        if self.photo_width == 0 or self.photo_height == 0:
            return canvas[: self.photo_height, : self.photo_width].copy()
        placed = cv2.warpAffine(
            canvas,
            affine_matrix(self.scale, self.scale, self.left, self.top),
            (self.photo_width, self.photo_height),
            flags=interpolation | cv2.WARP_INVERSE_MAP,
            borderValue=(fill, fill, fill),
        )
        return np.asarray(placed, canvas.dtype)

    def points_to_canvas(self, points: Points) -> Points:
        """Return photograph points (..., 2) in canvas pixels."""
        return np.asarray(points * self.scale + np.array([self.left, self.top], points.dtype))

    def points_to_photo(self, points: Points) -> Points:
        """Return canvas points (..., 2) in photograph pixels."""
        return np.asarray((points - np.array([self.left, self.top], points.dtype)) / self.scale)

    def part(self, rows: slice, columns: slice) -> "Frame":
        """Return the frame of a part of the photograph."""
        left, top = self.left + self.scale * columns.start, self.top + self.scale * rows.start
        return Frame(self.scale, left, top, columns.stop - columns.start, rows.stop - rows.start)

    def record(self) -> dict[str, Any]:
        """Return the frame as JSON values."""
        return asdict(self)


def opencv_matrix(matrix: Floats) -> Floats:
    """Return the matrix for OpenCV's warps, (3, 3), of a map between points, (2, 3) or (3, 3).

    OpenCV puts pixel centres at whole numbers; points here have them at whole numbers plus one half.
    """
    whole = np.vstack([matrix, [0, 0, 1]]) if len(matrix) == 2 else matrix
    to_point = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    return np.asarray(np.linalg.inv(to_point) @ whole @ to_point)


def affine_matrix(scale_x: float, scale_y: float, left: float, top: float) -> Floats:
    """Return `cv2.warpAffine`'s matrix, float64 (2, 3), of x -> scale_x * x + left, y -> scale_y * y + top.

    OpenCV puts pixel centres at whole numbers; points here have them at whole numbers plus one half.
    """
    return np.array(
        [[scale_x, 0, left + (scale_x - 1) / 2], [0, scale_y, top + (scale_y - 1) / 2]], np.float64
    )
