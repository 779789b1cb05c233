"""Transfers the photograph's light to the new garment."""

import cv2
import numpy as np

from worker.images.arrays import Canvas, Flags, Floats, Image
from worker.images.frame import FILL
from worker.images.shapes import window

_MIN_LIGHT, _MAX_LIGHT = 0.82, 1.15
"""Limits of the light: a garment is not darkened or lightened more."""

_REACH = 60
"""Distance from the old garment over which its light fades to 1, pixels."""

_DARK, _BRIGHT = 140, 200
"""Grey levels. A photograph whose 99.5 % quantile is below the first was taken in too little light; the
garment's picture is as bright as the second."""


def exposure(image: Canvas) -> float:
    """Return the factor that darkens the garment to a photograph taken in too little light.

    image: RGB uint8 (1024, 768, 3). The factor is 1 when anything in the photograph is bright: a dark coat
    or dark skin alone does not darken a garment.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    surround = cv2.inRange(image, (FILL, FILL, FILL), (FILL, FILL, FILL))  # the canvas around the photograph
    counts = cv2.calcHist([grey], [0], cv2.bitwise_not(surround), [256], [0, 256]).ravel().cumsum()
    brightest = float(np.searchsorted(counts, 0.995 * counts[-1])) if counts[-1] else 255.0
    return 1.0 if brightest >= _DARK else max(brightest / _BRIGHT, 0.05)


def light(image: Canvas, cloth: Flags) -> Floats:
    """Return the old garment's lightness relative to its local mean, smoothed, float32 (1024, 768).

    Args:
        image: RGB uint8 (1024, 768, 3).
        cloth: where the old garment is, bool (1024, 768).

    1 far from the old garment. It is smoothed, so that a print does not show, and weaker where the old
    garment is patterned, because there the differences are not caused by light.
    """
    whole = np.ones(cloth.shape, np.float32)
    if cloth.sum() >= 500:
        # Beyond its reach the light is 1.
        part = window(cloth, _REACH)
        whole[part] = _light(np.ascontiguousarray(image[part]), cloth[part])
    return whole


def _light(image: Image, cloth: Flags) -> Floats:
    """Return `light` for the part of the picture around the old garment."""
    inner = cv2.erode(cloth.astype(np.uint8), np.ones((13, 13), np.uint8)).astype(np.float32)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) + 8
    logs = np.log(grey)
    # Pixels far from the garment's median lightness are a print, a hem or wrongly labelled.
    usual = np.median(logs[inner > 0]) if inner.any() else 0.0
    inner *= np.abs(logs - usual) < 0.5
    fine, coarse = _local_mean(logs, inner, 11), _local_mean(logs, inner, 60)
    ratio = fine - coarse
    spread = float(np.std(ratio[inner > 0])) if inner.any() else 0.0
    strength = 0.6 * min(1.0, 0.035 / max(spread, 1e-6))
    near = cv2.GaussianBlur(inner, (0, 0), 7)
    ratio *= strength * np.clip(near * 2, 0, 1)
    return np.asarray(np.clip(np.exp(ratio), _MIN_LIGHT, _MAX_LIGHT).astype(np.float32))


def _local_mean(values: Floats, weight: Floats, sigma: float) -> Floats:
    """Return the weighted local mean; 0 where there is no weight."""
    step = max(1, int(sigma // 6))
    size = (values.shape[1] // step, values.shape[0] // step)
    v = cv2.resize(values * weight, size, interpolation=cv2.INTER_AREA)
    w = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
    v, w = cv2.GaussianBlur(v, (0, 0), sigma / step), cv2.GaussianBlur(w, (0, 0), sigma / step)
    mean = np.where(w > 1e-4, v / np.maximum(w, 1e-4), 0).astype(np.float32)
    return np.asarray(cv2.resize(mean, values.shape[::-1], interpolation=cv2.INTER_LINEAR))
