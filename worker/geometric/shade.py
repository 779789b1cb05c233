"""Carries the photograph's light over to the new garment."""

import cv2
import numpy as np

from worker.images.frame import FILL

_LEAST, _MOST = 0.82, 1.15


_DARK, _BRIGHT = 140, 200
"""A photograph whose brightest half percent stays below the first was taken in too little light; the
garment's picture, which was not, is as bright as the second."""


def exposure(image: np.ndarray) -> float:
    """Return by how much the garment must be darkened to stand in the photograph, RGB uint8 (1024, 768, 3).

    1 unless nothing in the photograph is bright: a dark coat or dark skin alone never darkens a garment.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    shown = grey[(image != FILL).any(axis=2)]  # the canvas beyond the photograph is no light in it
    brightest = float(np.quantile(shown, 0.995)) if shown.size else 255.0
    return 1.0 if brightest >= _DARK else max(brightest / _BRIGHT, 0.05)


def light(image: np.ndarray, cloth: np.ndarray) -> np.ndarray:
    """Return how much lighter or darker than its mean the old garment is, smoothed, float32 (1024, 768).

    Args:
        image: RGB uint8 (1024, 768, 3).
        cloth: where the old garment is, bool (1024, 768).

    1 where there is no old garment near. Smoothed so that a print does not shine through; weaker where
    the old garment is patterned, as its changes are then not the light's.
    """
    if cloth.sum() < 500:
        return np.ones(cloth.shape, np.float32)
    inner = cv2.erode(cloth.astype(np.uint8), np.ones((13, 13), np.uint8)).astype(np.float32)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) + 8
    logs = np.log(grey)
    # What is far from the garment's own lightness is a print, a hem or a wrongly labelled neighbour.
    usual = np.median(logs[inner > 0]) if inner.any() else 0.0
    inner *= np.abs(logs - usual) < 0.5
    fine, coarse = _mean(logs, inner, 11), _mean(logs, inner, 60)
    ratio = fine - coarse
    spread = float(np.std(ratio[inner > 0])) if inner.any() else 0.0
    strength = 0.6 * min(1.0, 0.035 / max(spread, 1e-6))
    near = cv2.GaussianBlur(inner, (0, 0), 7)
    ratio *= strength * np.clip(near * 2, 0, 1)
    return np.clip(np.exp(ratio), _LEAST, _MOST).astype(np.float32)


def _mean(values: np.ndarray, weight: np.ndarray, sigma: float) -> np.ndarray:
    """Return the weighted local mean; 0 where there is no weight."""
    step = max(1, int(sigma // 6))
    size = (values.shape[1] // step, values.shape[0] // step)
    v = cv2.resize(values * weight, size, interpolation=cv2.INTER_AREA)
    w = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
    v, w = cv2.GaussianBlur(v, (0, 0), sigma / step), cv2.GaussianBlur(w, (0, 0), sigma / step)
    mean = np.where(w > 1e-4, v / np.maximum(w, 1e-4), 0).astype(np.float32)
    return cv2.resize(mean, values.shape[::-1], interpolation=cv2.INTER_LINEAR)
