"""Compares two pictures pixel by pixel."""

from typing import TypeVar

import cv2
import numpy as np

from worker.images.arrays import Floats, Image

Picture = TypeVar("Picture", Image, Floats)


def max_difference(one: Picture, other: Picture) -> Picture:
    """Return the largest difference over the channels of two RGB pictures, (h, w) of their type."""
    red, green, blue = cv2.split(cv2.absdiff(one, other))
    return np.asarray(cv2.max(cv2.max(red, green), blue))
