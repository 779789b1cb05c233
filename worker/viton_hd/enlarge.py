"""Enlarges the segmentation scores to the picture's size and blurs them, before labels are chosen."""

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

BLUR_SIZE = 15
"""Side of the Gaussian kernel, pixels of the enlarged scores."""

BLUR_SIGMA = 3.0
"""Standard deviation of the Gaussian, pixels of the enlarged scores."""


def enlarge(scores: Tensor, height: int, width: int) -> Tensor:
    """Return the scores (b, c, h, w) at (height, width): bilinear, then blurred, zeros beyond the edge."""
    enlarged = functional.interpolate(scores, size=(height, width), mode="bilinear", align_corners=False)
    line = _gaussian().to(enlarged)
    channels = enlarged.shape[1]
    kernel = torch.outer(line, line).expand(channels, 1, BLUR_SIZE, BLUR_SIZE)
    return functional.conv2d(enlarged, kernel, padding=BLUR_SIZE // 2, groups=channels)


def fast_enlarge(scores: Tensor, height: int, width: int) -> Tensor:
    """Return the same as `enlarge`: both steps are linear and separable into rows and columns.

        enlarged = V · scores · Hᵀ

    V (height, h) and H (width, w) are the interpolation followed by the blur along one side.
    """
    vertical = _enlarging_matrix(scores.shape[2], height, scores.device)
    horizontal = _enlarging_matrix(scores.shape[3], width, scores.device)
    return vertical @ scores @ horizontal.T


@lru_cache(maxsize=4)
def _enlarging_matrix(small: int, large: int, device: torch.device) -> Tensor:
    """Return the matrix that enlarges and blurs along one side, float32 (large, small) on the device."""
    unit = torch.eye(small, dtype=torch.float64)[:, None]
    enlarged = functional.interpolate(unit, size=large, mode="linear", align_corners=False)
    blurred = functional.conv1d(enlarged, _gaussian()[None, None], padding=BLUR_SIZE // 2)
    return blurred[:, 0].T.contiguous().float().to(device)


def _gaussian() -> Tensor:
    """Return the kernel along one side, float64 (15,), with the sum 1."""
    offsets = torch.arange(BLUR_SIZE, dtype=torch.float64) - BLUR_SIZE // 2
    weights = torch.exp(-offsets.square() / (2 * BLUR_SIGMA**2))
    return weights / weights.sum()
