"""The axis about which a garment is its own mirror image."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.images.arrays import Flags

DOWNSAMPLING = 6
"""The search runs on a mask downsampled by this factor."""

SEARCH_STEPS = ((3.0, 2.0), (1.0, 0.7), (0.35, 0.25))
"""Step of the angle (degrees) and of the shift (downsampled pixels) of each search around the best axis."""

ANGLE_STEPS, SHIFT_STEPS = 4, 3
"""Number of steps to each side."""

MAX_DEGREES = 15
"""Largest angle of the axis to the vertical."""


@dataclass(frozen=True)
class Axis:
    """A mirror axis.

    Attributes:
        x, y: a point on it, pixels.
        degrees: its angle to the vertical: how far the garment is turned clockwise, as the picture is seen.
        overlap: intersection over union of the shape and its mirror image.
    """

    x: float
    y: float
    degrees: float
    overlap: float


def mirror_axis(solid: Flags) -> Axis:
    """Return the axis about which the shape, bool (h, w), is most similar to its mirror image."""
    size_factor = 1 / DOWNSAMPLING
    resized = cv2.resize(
        solid.astype(np.float32), None, fx=size_factor, fy=size_factor, interpolation=cv2.INTER_AREA
    )
    small = np.asarray(resized, np.float32)
    ys, xs = np.mgrid[: small.shape[0], : small.shape[1]]
    centroid = np.array([float((xs * small).sum() / small.sum()), float((ys * small).sum() / small.sum())])
    best = (_overlap(small, centroid, 0, 0), 0.0, 0.0)
    for degrees_step, shift_step in SEARCH_STEPS:
        _, degrees, shift = best
        grid = [
            (degrees + a * degrees_step, shift + b * shift_step)
            for a in range(-ANGLE_STEPS, ANGLE_STEPS + 1)
            for b in range(-SHIFT_STEPS, SHIFT_STEPS + 1)
        ]
        candidates = [(_overlap(small, centroid, d, s), d, s) for d, s in grid if abs(d) <= MAX_DEGREES]
        best = max([best, *candidates])
    overlap, degrees, shift = best
    angle = np.deg2rad(degrees)
    x = (centroid[0] + shift * np.cos(angle) + 0.5) * DOWNSAMPLING - 0.5
    y = (centroid[1] + shift * np.sin(angle) + 0.5) * DOWNSAMPLING - 0.5
    return Axis(float(x), float(y), degrees, overlap)


def _overlap(
    small: NDArray[np.float32], centroid: NDArray[np.float64], degrees: float, shift: float
) -> float:
    """Return the overlap of the shape with its mirror image.

    The axis has an angle of `degrees` to the vertical, and a distance of `shift` pixels to the centroid.
    """
    angle = np.deg2rad(degrees)
    normal = np.array([np.cos(angle), np.sin(angle)])
    reflection = np.eye(2) - 2 * np.outer(normal, normal)
    on_axis = centroid + shift * normal
    offset = on_axis - reflection @ on_axis
    matrix = np.column_stack([reflection, offset])
    mirrored = cv2.warpAffine(small, matrix, small.shape[::-1], flags=cv2.INTER_LINEAR)
    return float(np.minimum(small, mirrored).sum() / np.maximum(small, mirrored).sum())
