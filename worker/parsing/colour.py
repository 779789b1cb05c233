"""Colour models of a person's parts: smoothed histograms over CIE Lab, learnt anew for every picture."""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter

_BINS = (32, 64, 64)
"""Bins of L, a and b: 8, 4 and 4 steps of OpenCV's 8-bit Lab wide."""


def bin_numbers(rgb: np.ndarray) -> np.ndarray:
    """Return each pixel's bin as one number, int32 (h, w), for an RGB picture, uint8 (h, w, 3)."""
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB).astype(np.int32)
    return ((lab[..., 0] >> 3) * _BINS[1] + (lab[..., 1] >> 2)) * _BINS[2] + (lab[..., 2] >> 2)


@dataclass(frozen=True)
class ColourModel:
    """A density over the bins, float32 (bins,), summing to one."""

    density: np.ndarray

    @classmethod
    def of(
        cls, bins: np.ndarray, weights: np.ndarray, spread: tuple[float, float, float] = (1.2, 1.0, 1.0)
    ) -> "ColourModel | None":
        """Return the model of pixels with these bins and weights; None when they weigh too little.

        Args:
            bins: int32 (n,), from `bin_numbers`.
            weights: float (n,), how much each pixel belongs to the part.
            spread: standard deviation of the smoothing along L, a and b, in bins.
        """
        if weights.sum() < 30:
            return None
        counts = np.bincount(bins, weights, minlength=int(np.prod(_BINS))).reshape(_BINS)
        smooth = gaussian_filter(counts.astype(np.float32), spread, truncate=3)
        return cls((smooth / smooth.sum()).ravel())

    def mixed(self, other: "ColourModel | None", share: float) -> "ColourModel":
        """Return this model with a share of another in it."""
        if other is None:
            return self
        return ColourModel((1 - share) * self.density + share * other.density)

    def likelihood(self, bins: np.ndarray) -> np.ndarray:
        """Return the density at each pixel, float32, the shape of `bins`."""
        return self.density[bins]


def divergence(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the Jensen-Shannon divergence, 0..1 (bits), of histograms along the last axis."""
    p = one / np.maximum(one.sum(-1, keepdims=True), 1e-9)
    q = other / np.maximum(other.sum(-1, keepdims=True), 1e-9)
    middle = (p + q) / 2

    def entropy(values: np.ndarray) -> np.ndarray:
        return -(values * np.log2(np.maximum(values, 1e-12))).sum(-1)

    return entropy(middle) - (entropy(p) + entropy(q)) / 2
