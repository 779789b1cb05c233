"""Brings pictures to the size of the network, and its picture back."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from worker.images.arrays import Image, Mask

HEIGHT, WIDTH = 864, 576
"""The network's picture, pixels."""

FIRST_SIDE = 864
"""Pictures are first shrunk to fit a square of this side, pixels: poses are drawn at that size."""


@dataclass(frozen=True)
class Padding:
    """Rows and columns of black around a picture, pixels."""

    top: int
    bottom: int
    left: int
    right: int

    @classmethod
    def around(cls, height: int, width: int, shape: tuple[int, int] = (HEIGHT, WIDTH)) -> "Padding":
        """Return what makes a picture of this size one of this shape; the odd pixel is below or right."""
        rows, columns = shape[0] - height, shape[1] - width
        return cls(rows // 2, rows - rows // 2, columns // 2, columns - columns // 2)

    def removed(self, padded: NDArray[Any]) -> NDArray[Any]:
        """Return the picture without the padding."""
        height, width = padded.shape[:2]
        return padded[self.top : height - self.bottom, self.left : width - self.right]


def shrunk(picture: Image) -> Image:
    """Return a picture, RGB uint8 (h, w, 3), shrunk by Lanczos to fit FIRST_SIDE; never enlarged."""
    height, width = picture.shape[:2]
    scale = min(1.0, FIRST_SIDE / width, FIRST_SIDE / height)
    if scale == 1.0:
        return picture
    size = int(scale * width), int(scale * height)
    return np.asarray(PillowImage.fromarray(picture).resize(size, PillowImage.Resampling.LANCZOS))


def fitted(
    picture: NDArray[np.uint8], shape: tuple[int, int] = (HEIGHT, WIDTH), *, nearest: bool = False
) -> tuple[NDArray[np.uint8], Padding]:
    """Return a picture resized and padded with black to the network's shape, and its padding.

    Args:
        picture: uint8 (h, w) or (h, w, 3).
        shape: rows and columns of the network's picture.
        nearest: takes the nearest pixel, for drawings; else area to shrink, Lanczos to enlarge.
    """
    height, width = picture.shape[:2]
    scale = min(shape[1] / width, shape[0] / height)
    if scale != 1.0:
        filtered = cv2.INTER_AREA if scale < 1 else cv2.INTER_LANCZOS4
        interpolation = cv2.INTER_NEAREST_EXACT if nearest else filtered
        size = int(scale * width), int(scale * height)
        picture = np.asarray(cv2.resize(picture, size, interpolation=interpolation), np.uint8)
    padding = Padding.around(picture.shape[0], picture.shape[1], shape)
    edges = padding.top, padding.bottom, padding.left, padding.right
    return np.asarray(cv2.copyMakeBorder(picture, *edges, cv2.BORDER_CONSTANT, value=0), np.uint8), padding


@dataclass(frozen=True)
class Prepared:
    """One job as the network takes it, each picture of the network's shape.

    Attributes:
        person: the whole photograph with its padding, RGB uint8 (h, w, 3).
        person_pose: its drawing, uint8 (h, w).
        garment: RGB uint8 (h, w, 3); its pose is black, because it is worn by nobody.
        category: 1 tops, 2 bottoms, 3 one-pieces.
        seed: of the noise.
        padding: of the person's picture.
    """

    person: Image
    person_pose: Mask
    garment: Image
    category: int
    seed: int
    padding: Padding
