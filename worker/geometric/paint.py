"""Fills areas of a picture from their surroundings: smoothly, by mirroring, with grain."""

from typing import TypeVar

import cv2
import numpy as np

from worker.images.arrays import Flags, Floats, Image

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
    y, x = np.nonzero(inside)
    nearest = np.zeros((int(labels.max()) + 1, 2), np.int32)
    nearest[labels[y, x]] = np.column_stack([y, x])
    oy, ox = np.nonzero(~inside if where is None else where & ~inside)
    edge = nearest[labels[oy, ox]]
    mirror = np.clip(2 * edge - np.column_stack([oy, ox]), 0, [height - 1, width - 1])
    usable = inside[mirror[:, 0], mirror[:, 1]]
    source = np.where(usable[:, None], mirror, edge)
    filled = image.copy()
    filled[oy, ox] = image[source[:, 0], source[:, 1]]
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
    mirror = mirrored(picture, known, np.asarray(around))
    # Only the texture is mirrored: a mirrored edge would repeat an object.
    texture = (mirror - cv2.GaussianBlur(mirror, (0, 0), _GRAIN))[unknown]
    # Far inside, one pixel of the edge is repeated many times and would make streaks.
    depth = cv2.distanceTransform((~known).astype(np.uint8), cv2.DIST_L2, 5)[unknown]
    texture = np.clip(texture, -_MAX_TEXTURE, _MAX_TEXTURE) * np.exp(-depth / 25)[:, None]
    return np.asarray(smooth[unknown] + texture)


def diffuse(picture: Floats, known: Flags) -> Floats:
    """Return the picture, float32 (h, w, c), with the unknown pixels filled smoothly from the known ones.

    Pull-push over a pyramid of weighted means (Gortler et al., "The Lumigraph", SIGGRAPH 1996, 3.4).
    """
    weight = known.astype(np.float32)
    if picture.shape[2] == 1:
        # OpenCV drops a single channel's axis.
        return diffuse(np.repeat(picture, 3, 2), known)[..., :1]
    return _pull_push(picture.astype(np.float32) * weight[..., None], weight)


def _pull_push(weighted: Floats, weight: Floats) -> Floats:
    """Return weighted / weight, with gaps filled from the next coarser level."""
    mean = weighted / np.maximum(weight, 1e-6)[..., None]
    if min(weight.shape) <= 2 or weight.min() > 0.999:
        if weight.max() < 1e-6:
            return np.asarray(mean)
        overall = weighted.sum((0, 1)) / weight.sum()
        return np.asarray(np.where((weight > 1e-6)[..., None], mean, overall), np.float32)
    small_weighted, small_weight = cv2.pyrDown(weighted), cv2.pyrDown(weight)
    grown = np.minimum(1.0, 4 * small_weight)
    scale = grown / np.maximum(small_weight, 1e-6)
    coarse = _pull_push(small_weighted * scale[..., None], grown)
    rough = cv2.resize(coarse, weight.shape[::-1], interpolation=cv2.INTER_LINEAR)
    share = np.clip(weight, 0, 1)[..., None]
    return np.asarray(share * mean + (1 - share) * rough, np.float32)


def grain(picture: Floats, known: Flags, rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Return noise of the strength of the known area's own noise, float32 (h, w, 1)."""
    grey = picture.mean(2)
    high = grey - cv2.GaussianBlur(grey, (0, 0), 1.5)
    strength = min(2.5, 1.48 * float(np.median(np.abs(high[known]))))
    white = rng.standard_normal(shape[:2]).astype(np.float32)
    noise = np.asarray(cv2.GaussianBlur(white, (0, 0), 0.8), np.float32)
    return np.asarray(noise / max(float(noise.std()), 1e-6) * strength)[..., None]
