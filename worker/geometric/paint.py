"""Fills areas of a picture from their surroundings: smoothly, by mirroring, with grain."""

from typing import TypeVar

import cv2
import numpy as np

from worker.images.arrays import Flags, Floats, Image
from worker.images.shapes import window

Picture = TypeVar("Picture", Image, Floats)

_GRAIN = 5  # details finer than this sigma are texture, pixels
_MAX_TEXTURE = 12.0  # grey levels: what differs more from its surroundings is an object, not texture


def mirrored(image: Picture, inside: Flags, where: Flags | None = None) -> Picture:
    """Return the picture with its outside filled by mirroring it at the area's edge.

    Where the mirrored position is itself outside, the nearest pixel of the edge is used.

    Args:
        image: (h, w, c).
        inside: bool (h, w) with at least one pixel set.
        where: bool (h, w), the pixels to fill; None for all.
    """
    height, width = inside.shape
    _, labels = cv2.distanceTransformWithLabels(
        (~inside).astype(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
    )
    labels = labels.ravel()
    own = np.flatnonzero(inside).astype(np.int32)
    nearest = np.zeros(int(labels.max()) + 1, np.int32)
    nearest[labels[own]] = own
    outside = np.flatnonzero(~inside if where is None else where & ~inside).astype(np.int32)
    edge = nearest[labels[outside]]
    rows = np.clip(2 * (edge // width) - outside // width, 0, height - 1)
    columns = np.clip(2 * (edge % width) - outside % width, 0, width - 1)
    mirror = rows * width + columns
    source = np.where(inside.ravel()[mirror], mirror, edge)
    filled = image.copy()
    filled.reshape(height * width, -1)[outside] = image.reshape(height * width, -1)[source]
    return filled


def textured(picture: Floats, known: Flags, unknown: Flags, smooth: Floats) -> Floats:
    """Return the fill of the unknown pixels: smooth colours with mirrored texture, float32 (n, 3).

    Args:
        picture: float32 (h, w, 3).
        known: bool (h, w), the pixels to continue.
        unknown: bool (h, w), the n pixels to fill, none of them known.
        smooth: float32 (h, w, 3), `diffuse` of picture and known.
    """
    around = cv2.dilate(unknown.astype(np.uint8), np.ones((4 * _GRAIN + 1,) * 2, np.uint8)) > 0
    part = window(unknown, 4 * _GRAIN)
    mirror = mirrored(picture, known, np.asarray(around))[part]
    # Only the texture is mirrored: a mirrored edge would repeat an object.
    texture = (mirror - cv2.GaussianBlur(mirror, (0, 0), _GRAIN))[unknown[part]]
    # Far inside, one pixel of the edge is repeated many times and would make streaks.
    depth = cv2.distanceTransform((~known).astype(np.uint8), cv2.DIST_L2, 5)[unknown]
    texture = np.clip(texture, -_MAX_TEXTURE, _MAX_TEXTURE) * np.exp(-depth / 25)[:, None]
    return np.asarray(smooth[unknown] + texture)


def diffuse(picture: Floats, known: Flags) -> Floats:
    """Return the picture, float32 (h, w, c), with the unknown pixels filled smoothly from the known ones.

    Pull-push over a pyramid of weighted means (Gortler et al., "The Lumigraph", SIGGRAPH 1996, 3.4).
    """
    if picture.shape[2] == 1:
        # OpenCV drops a single channel's axis.
        return diffuse(np.repeat(picture, 3, 2), known)[..., :1]
    weight = known.astype(np.float32)
    filled = _from_coarser(picture * weight[..., None], weight)
    np.copyto(filled, picture, where=known[..., None])
    return filled


def _pull_push(weighted: Floats, weight: Floats) -> Floats:
    """Return weighted / weight, with gaps filled from the next coarser level."""
    mean = weighted / np.maximum(weight, 1e-6)[..., None]
    if min(weight.shape) <= 2 or weight.min() > 0.999:
        if weight.max() < 1e-6:
            return np.asarray(mean)
        overall = weighted.sum((0, 1)) / weight.sum()
        return np.asarray(np.where((weight > 1e-6)[..., None], mean, overall), np.float32)
    rough = _from_coarser(weighted, weight)
    mean -= rough
    mean *= np.clip(weight, 0, 1)[..., None]
    mean += rough
    return np.asarray(mean, np.float32)


def _from_coarser(weighted: Floats, weight: Floats) -> Floats:
    """Return the next coarser level's filled means at this level's size."""
    small_weighted, small_weight = cv2.pyrDown(weighted), cv2.pyrDown(weight)
    grown = np.minimum(1.0, 4 * small_weight)
    scale = grown / np.maximum(small_weight, 1e-6)
    coarse = _pull_push(small_weighted * scale[..., None], grown)
    return np.asarray(cv2.resize(coarse, weight.shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def grain(picture: Image, known: Flags, rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Return noise of the strength of the known area's own noise, float32 (h, w, 1)."""
    part = window(known, 8)
    grey = picture[part].mean(2, dtype=np.float32)
    high = grey - cv2.GaussianBlur(grey, (0, 0), 1.5)
    strength = min(2.5, 1.48 * float(np.median(np.abs(high[known[part]]))))
    white = rng.standard_normal(shape[:2], np.float32)
    noise = np.asarray(cv2.GaussianBlur(white, (0, 0), 0.8), np.float32)
    return np.asarray(noise / max(float(noise.std()), 1e-6) * strength)[..., None]
