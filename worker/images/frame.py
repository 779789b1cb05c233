"""The 768×1024 canvas, and the similarity that brings a photograph onto it and back."""

from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np

WIDTH, HEIGHT = 768, 1024
"""The canvas that VITON-HD works on, pixels."""

FILL = 240
"""The grey of the canvas beyond a person's photograph, near that of VITON-HD's studio walls."""


@dataclass(frozen=True)
class Frame:
    """A window of the photograph, scaled evenly (never stretched) onto the canvas.

    A photograph point (x, y), in pixels, lies on the canvas at (scale * x + left, scale * y + top);
    pixel centres are at whole numbers plus one half. What the photograph does not cover is filled.
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
        """Return the frame that shows the box (photograph pixels), centred, as large as it fits."""
        scale = min(WIDTH / (x1 - x0), HEIGHT / (y1 - y0))
        left = WIDTH / 2 - scale * (x0 + x1) / 2
        top = HEIGHT / 2 - scale * (y0 + y1) / 2
        return cls(scale, left, top, photo_width, photo_height)

    def to_canvas(self, photo: np.ndarray, *, fill: int = 0, interpolation: int | None = None) -> np.ndarray:
        """Return the photograph, uint8 (h, w[, 3]), on the canvas: (1024, 768[, 3])."""
        if interpolation is None:
            interpolation = cv2.INTER_AREA if self.scale < 1 else cv2.INTER_CUBIC
        if interpolation == cv2.INTER_AREA:
            # warpAffine has no area filter: shrink by it first, then place what is left without scaling.
            small = cv2.resize(photo, None, fx=self.scale, fy=self.scale, interpolation=cv2.INTER_AREA)
            exact_x = self.scale * photo.shape[1] / small.shape[1]
            exact_y = self.scale * photo.shape[0] / small.shape[0]
            matrix = _matrix(exact_x, exact_y, self.left, self.top)
            photo, interpolation = small, cv2.INTER_LINEAR
        else:
            matrix = _matrix(self.scale, self.scale, self.left, self.top)
        return cv2.warpAffine(
            photo, matrix, (WIDTH, HEIGHT), flags=interpolation, borderValue=(fill, fill, fill)
        )

    def to_photo(
        self, canvas: np.ndarray, *, fill: int = 0, interpolation: int = cv2.INTER_CUBIC
    ) -> np.ndarray:
        """Return a canvas picture, (1024, 768[, 3]), at the photograph's place and size."""
        return cv2.warpAffine(
            canvas,
            _matrix(self.scale, self.scale, self.left, self.top),
            (self.photo_width, self.photo_height),
            flags=interpolation | cv2.WARP_INVERSE_MAP,
            borderValue=(fill, fill, fill),
        )

    def points_to_canvas(self, points: np.ndarray) -> np.ndarray:
        """Return photograph points (..., 2) in canvas pixels."""
        return points * self.scale + np.array([self.left, self.top], points.dtype)

    def points_to_photo(self, points: np.ndarray) -> np.ndarray:
        """Return canvas points (..., 2) in photograph pixels."""
        return (points - np.array([self.left, self.top], points.dtype)) / self.scale

    def record(self) -> dict[str, Any]:
        """Return the frame as JSON values."""
        return asdict(self)


def _matrix(scale_x: float, scale_y: float, left: float, top: float) -> np.ndarray:
    # OpenCV puts pixel centres at whole numbers; the frame puts them at whole numbers plus one half.
    return np.array(
        [[scale_x, 0, left + (scale_x - 1) / 2], [0, scale_y, top + (scale_y - 1) / 2]], np.float64
    )
