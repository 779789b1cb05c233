"""The similarity of two pictures within a region: structure (SSIM) and gradients (GMSD)."""

import cv2
import numpy as np
from skimage.metrics import structural_similarity

from worker.images.arrays import Flags, Floats, Image

_GMSD_CONSTANT = 170.0
"""GMSD's c for levels of 0..255, as published."""


def ssim(picture: Image, reference: Image, region: Flags) -> float:
    """Return the mean structural similarity within the region, 1 for equal pictures.

    Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", IEEE TIP 13(4),
    2004, with its Gaussian window, averaged over the channels.

    Args:
        picture, reference: RGB uint8 (h, w, 3).
        region: bool (h, w), not empty.
    """
    _, similarity = structural_similarity(  # type: ignore[no-untyped-call]
        picture,
        reference,
        channel_axis=2,
        data_range=255,
        gaussian_weights=True,
        use_sample_covariance=False,
        full=True,
    )
    return float(similarity.mean(2)[region].mean())


def gmsd(picture: Image, reference: Image, region: Flags) -> float:
    """Return the gradient magnitude similarity deviation within the region, 0 for equal pictures.

    Xue et al., "Gradient Magnitude Similarity Deviation: A Highly Efficient Perceptual Image Quality Index",
    IEEE TIP 23(2), 2014: pictures are averaged over 2×2 pixels and every second one is used; gradients are
    Prewitt's; GMS = (2 m1 m2 + c) / (m1² + m2² + c); the deviation is GMS's standard deviation.
    Arguments as in `ssim`.
    """
    first, second = (_gradient_magnitude(image) for image in (picture, reference))
    similarity = (2 * first * second + _GMSD_CONSTANT) / (first**2 + second**2 + _GMSD_CONSTANT)
    return float(similarity[region[::2, ::2]].std())


def _gradient_magnitude(picture: Image) -> Floats:
    """Return the magnitude of the luminance's gradient at every second pixel, float32."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    halved = cv2.blur(grey, (2, 2), anchor=(0, 0))[::2, ::2]
    prewitt = np.repeat(np.array([[1, 0, -1]], np.float32) / 3, 3, 0)
    return np.asarray(np.hypot(cv2.filter2D(halved, -1, prewitt), cv2.filter2D(halved, -1, prewitt.T)))
