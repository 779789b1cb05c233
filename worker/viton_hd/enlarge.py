"""The segmentation scores brought to the picture's size and blurred, before each pixel takes its label."""

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

SIZE, SIGMA = 15, 3.0
"""The Gaussian's width in pixels of the large picture, and its standard deviation."""


def enlarge(scores: Tensor, height: int, width: int) -> Tensor:
    """Return the scores (b, c, h, w) at (height, width): bilinear, then blurred, zeros beyond the edge."""
    large = functional.interpolate(scores, size=(height, width), mode="bilinear", align_corners=False)
    line = _gaussian().to(large)
    channels = large.shape[1]
    kernel = torch.outer(line, line).expand(channels, 1, SIZE, SIZE)
    return functional.conv2d(large, kernel, padding=SIZE // 2, groups=channels)


def fast_enlarge(scores: Tensor, height: int, width: int) -> Tensor:
    """Return the same as `enlarge`: both steps are linear and act on rows and columns apart.

        large = V · scores · Hᵀ

    with V (height, h) and H (width, w) the interpolation followed by the blur along one side.
    """
    vertical = _along(scores.shape[2], height, scores.device)
    horizontal = _along(scores.shape[3], width, scores.device)
    return vertical @ scores @ horizontal.T


@lru_cache(maxsize=4)
def _along(small: int, large: int, device: torch.device) -> Tensor:
    """Return what enlarges and blurs one side, float32 (large, small); it stays on the device."""
    unit = torch.eye(small, dtype=torch.float64)[:, None]
    enlarged = functional.interpolate(unit, size=large, mode="linear", align_corners=False)
    blurred = functional.conv1d(enlarged, _gaussian()[None, None], padding=SIZE // 2)
    return blurred[:, 0].T.contiguous().float().to(device)


def _gaussian() -> Tensor:
    """Return the kernel along one side, float64 (15,), of sum 1."""
    offsets = torch.arange(SIZE, dtype=torch.float64) - SIZE // 2
    weights = torch.exp(-offsets.square() / (2 * SIGMA**2))
    return weights / weights.sum()
