"""Fills areas of a picture from what lies around them: smoothly, by mirror image, with grain."""

import cv2
import numpy as np

_GRAIN = 5  # what is finer than this is texture, pixels
_STRONGEST = 12.0  # levels: what differs more from its surroundings is a thing, not texture


def farthest(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the largest difference over the channels of two pictures of one type, (h, w) of that type."""
    red, green, blue = cv2.split(cv2.absdiff(one, other))
    return np.asarray(cv2.max(cv2.max(red, green), blue))


def mirrored(image: np.ndarray, inside: np.ndarray, wanted: np.ndarray | None = None) -> np.ndarray:
    """Return the picture continued outside the area by its mirror image across the area's edge.

    Where the mirror image is itself outside, the nearest pixel of the edge is taken.

    Args:
        image: (h, w, c).
        inside: bool (h, w) with at least one pixel set.
        wanted: bool (h, w), where it is continued; None for everywhere.
    """
    height, width = inside.shape
    _, labels = cv2.distanceTransformWithLabels(
        (~inside).astype(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
    )
    y, x = np.nonzero(inside)
    nearest = np.zeros((int(labels.max()) + 1, 2), np.int32)
    nearest[labels[y, x]] = np.column_stack([y, x])
    oy, ox = np.nonzero(~inside if wanted is None else wanted & ~inside)
    edge = nearest[labels[oy, ox]]
    mirror = np.clip(2 * edge - np.column_stack([oy, ox]), 0, [height - 1, width - 1])
    usable = inside[mirror[:, 0], mirror[:, 1]]
    source = np.where(usable[:, None], mirror, edge)
    out = image.copy()
    out[oy, ox] = image[source[:, 0], source[:, 1]]
    return out


def textured(picture: np.ndarray, known: np.ndarray, wanted: np.ndarray, smooth: np.ndarray) -> np.ndarray:
    """Return what fills the wanted pixels: smooth colours with mirrored texture, float32 (n, 3).

    Args:
        picture: float32 (h, w, 3).
        known: bool (h, w), what is to be continued.
        wanted: bool (h, w), the n pixels to fill, none of them known.
        smooth: float32 (h, w, 3), `diffuse` of picture and known.
    """
    around = cv2.dilate(wanted.astype(np.uint8), np.ones((4 * _GRAIN + 1,) * 2, np.uint8)) > 0
    mirror = mirrored(picture, known, around)
    # A wall's grain goes on; an edge mirrored would be a ghost of what stands there.
    texture = (mirror - cv2.GaussianBlur(mirror, (0, 0), _GRAIN))[wanted]
    # Far inside, where one pixel of the edge stands for many, texture would be streaks.
    depth = cv2.distanceTransform((~known).astype(np.uint8), cv2.DIST_L2, 5)[wanted]
    texture = np.clip(texture, -_STRONGEST, _STRONGEST) * np.exp(-depth / 25)[:, None]
    return np.asarray(smooth[wanted] + texture)


def diffuse(picture: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return the picture, float32 (h, w, c), with the unknown pixels filled smoothly from the known ones.

    Pull and push over a pyramid of weighted means (Gortler et al., "The Lumigraph", SIGGRAPH 1996, 3.4).
    """
    weight = known.astype(np.float32)
    if picture.shape[2] == 1:
        # OpenCV drops a single channel's axis.
        return diffuse(np.repeat(picture, 3, 2), known)[..., :1]
    return _pull_push(picture.astype(np.float32) * weight[..., None], weight)


def _pull_push(weighted: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return weighted / weight, with gaps filled from the next coarser level."""
    mean = weighted / np.maximum(weight, 1e-6)[..., None]
    if min(weight.shape) <= 2 or weight.min() > 0.999:
        if weight.max() < 1e-6:
            return mean
        overall = weighted.sum((0, 1)) / weight.sum()
        return np.asarray(np.where((weight > 1e-6)[..., None], mean, overall), np.float32)
    small_weighted, small_weight = cv2.pyrDown(weighted), cv2.pyrDown(weight)
    grown = np.minimum(1.0, 4 * small_weight)
    scale = grown / np.maximum(small_weight, 1e-6)
    coarse = _pull_push(small_weighted * scale[..., None], grown)
    rough = cv2.resize(coarse, weight.shape[::-1], interpolation=cv2.INTER_LINEAR)
    share = np.clip(weight, 0, 1)[..., None]
    return np.asarray(share * mean + (1 - share) * rough, np.float32)


def grain(
    picture: np.ndarray, known: np.ndarray, rng: np.random.Generator, shape: tuple[int, ...]
) -> np.ndarray:
    """Return noise as strong as the known area's own, float32 (h, w, 1)."""
    grey = picture.mean(2)
    high = grey - cv2.GaussianBlur(grey, (0, 0), 1.5)
    strength = min(2.5, 1.48 * float(np.median(np.abs(high[known]))))
    white = rng.standard_normal(shape[:2]).astype(np.float32)
    noise = np.asarray(cv2.GaussianBlur(white, (0, 0), 0.8), np.float32)
    return np.asarray(noise / max(float(noise.std()), 1e-6) * strength)[..., None]
