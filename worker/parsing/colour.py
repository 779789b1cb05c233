"""Colour models of a person's parts: smoothed histograms over CIELAB, computed for every picture."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.images.arrays import Floats, Image

BinNumbers = NDArray[np.int32]
"""The number of each pixel's colour bin."""

_BINS = (32, 64, 64)
"""Bins of L, a and b: 8, 4 and 4 steps of OpenCV's 8-bit Lab wide."""

_MIN_WEIGHT = 30.0
"""Least sum of the pixels' weights: fewer pixels say nothing about a part's colours."""

_SPREAD = (1.2, 1.0, 1.0)
"""Standard deviation of the smoothing along L, a and b, in bins."""

_TRUNCATE = 3.0
"""Radius of the smoothing kernel, in standard deviations."""


def bin_numbers(rgb: Image) -> BinNumbers:
    """Return each pixel's bin as one number, int32 (h, w), for an RGB picture, uint8 (h, w, 3)."""
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB).astype(np.int32)
    return np.asarray(
        ((lab[..., 0] >> 3) * _BINS[1] + (lab[..., 1] >> 2)) * _BINS[2] + (lab[..., 2] >> 2), np.int32
    )


@dataclass(frozen=True)
class ColourModel:
    """A density over the bins, float32 (bins,), with the sum one."""

    density: Floats

    @classmethod
    def of(
        cls, bins: BinNumbers, weights: Floats, spread: tuple[float, float, float] = _SPREAD
    ) -> "ColourModel | None":
        """Return the model of weighted pixels; None when the sum of the weights is too small.

        Args:
            bins: int32 (n,), from `bin_numbers`.
            weights: float (n,), how much each pixel belongs to the part.
            spread: standard deviation of the smoothing along L, a and b, in bins.
        """
        if weights.sum() < _MIN_WEIGHT:
            return None
        return cls._fitted(bins, weights, spread)

    @classmethod
    def of_all(cls, bins: BinNumbers) -> "ColourModel":
        """Return the model of at least one pixel, all with the same weight; bins: int32 (n,)."""
        return cls._fitted(bins, np.ones(len(bins)), _SPREAD)

    @classmethod
    def _fitted(cls, bins: BinNumbers, weights: Floats, spread: tuple[float, float, float]) -> "ColourModel":
        counts = np.bincount(bins, weights, minlength=int(np.prod(_BINS))).reshape(_BINS)
        smooth = _smoothed(counts.astype(np.float32), spread)
        return cls((smooth / smooth.sum()).ravel())

    def mixed(self, other: "ColourModel", share: float) -> "ColourModel":
        """Return the mixture of this model and a share, 0..1, of another."""
        return ColourModel((1 - share) * self.density + share * other.density)

    def likelihood(self, bins: BinNumbers) -> Floats:
        """Return the density at each pixel, float32, the shape of `bins`."""
        return np.asarray(self.density[bins])


def _smoothed(counts: Floats, spread: tuple[float, float, float]) -> Floats:
    """Return a histogram, float32 of shape _BINS, after a Gaussian blur along L, a and b."""
    along_l, along_a, along_b = (
        cv2.getGaussianKernel(2 * int(_TRUNCATE * sigma + 0.5) + 1, sigma, cv2.CV_32F) for sigma in spread
    )
    alone = np.ones(1, np.float32)
    mirrored = cv2.BORDER_REFLECT
    lightness = cv2.sepFilter2D(counts.reshape(_BINS[0], -1), -1, alone, along_l, borderType=mirrored)
    planes = np.asarray(lightness).reshape(_BINS)
    return np.stack([cv2.sepFilter2D(ab, -1, along_b, along_a, borderType=mirrored) for ab in planes])


def divergence(one: Floats, other: Floats) -> Floats:
    """Return the Jensen-Shannon divergence, 0..1 (bits), of histograms along the last axis."""
    p = one / np.maximum(one.sum(-1, keepdims=True), 1e-9)
    q = other / np.maximum(other.sum(-1, keepdims=True), 1e-9)
    middle = (p + q) / 2

    def entropy(values: Floats) -> Floats:
        return np.asarray(-(values * np.log2(np.maximum(values, 1e-12))).sum(-1))

    return np.asarray(entropy(middle) - (entropy(p) + entropy(q)) / 2)
