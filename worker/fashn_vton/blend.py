"""Lays the network's picture back into the photograph: only what changed is taken from it."""

from dataclasses import dataclass

import cv2
import numpy as np
from skimage.filters import apply_hysteresis_threshold

from worker.images.arrays import Flags, Floats, Image, Mask
from worker.images.compare import max_difference
from worker.images.regions import regions_that_touch, without_small_regions
from worker.images.shapes import closed, dilated


@dataclass(frozen=True)
class BlendSettings:
    """What counts as changed; lengths in pixels of the network's picture (864×576).

    The weights were not at hand when these were set: the values keep what an 8-bit picture's noise and a
    resampling change, and are to be looked at on drawn pictures.

    Attributes:
        smoothing: sigma of the blur before the comparison: single pixels of noise are no change.
        weak, strong: difference of the largest channel, levels; a region of weak changes counts if it
            contains a strong one. A network draws an unchanged surface again with a few levels' error.
        gap: radius of the gaps that are closed: a new garment has spots of the old one's colour.
        smallest: least share of the picture that a changed region covers.
        reach: distance from the person up to which a change counts: a wide garment stands out from the body.
        margin: the changed region grows by this, so that the fading edge lies outside of the change.
        fade: sigma of the fading edge.
    """

    smoothing: float = 1.0
    weak: float = 14.0
    strong: float = 36.0
    gap: int = 5
    smallest: float = 0.0005
    reach: int = 60
    margin: int = 4
    fade: float = 2.0


SETTINGS = BlendSettings()


def changed_region(
    before: Image, after: Image, person: Flags, kept: Flags, settings: BlendSettings = SETTINGS
) -> Mask:
    """Return the alpha of what the network changed, uint8 (h, w); it fades out at its edge.

    Args:
        before, after: the network's input and its picture, RGB uint8 (h, w, 3).
        person: bool (h, w); what changes far from the person is not taken.
        kept: bool (h, w), what never changes: the face.
        settings: the limits.
    """
    difference = _difference(before, after, settings.smoothing)
    changed: Flags = np.asarray(apply_hysteresis_threshold(difference, settings.weak, settings.strong))  # type: ignore[no-untyped-call]
    near = dilated(person, settings.reach)
    changed = regions_that_touch(closed(changed & near, settings.gap), person)
    changed = without_small_regions(changed, max(1, round(settings.smallest * changed.size)))
    grown = dilated(changed, settings.margin) & ~kept
    alpha = cv2.GaussianBlur(grown.astype(np.float32), (0, 0), settings.fade)
    # The fading edge of the change must not reach into what is kept.
    alpha = np.where(kept, 0.0, alpha)
    return np.round(alpha * 255).astype(np.uint8)


def laid_back(photo: Image, picture: Image, alpha: Mask) -> Image:
    """Return the photograph with the changed region of the network's picture, RGB uint8 (h, w, 3).

    A pixel of the photograph whose alpha is 0 keeps its exact value.

    Args:
        photo: RGB uint8 (h, w, 3).
        picture, alpha: the network's picture without padding, uint8 (h', w', 3), and its alpha (h', w').
    """
    height, width = photo.shape[:2]
    # Linear for the alpha: cubic overshoots and would change pixels outside of the region.
    of_picture, of_alpha = cv2.INTER_CUBIC, cv2.INTER_LINEAR
    if picture.shape[0] > height:
        of_picture = of_alpha = cv2.INTER_AREA
    resampled = cv2.resize(picture, (width, height), interpolation=of_picture)
    opacity = cv2.resize(alpha, (width, height), interpolation=of_alpha)
    changed = opacity > 0
    share = opacity[changed].astype(np.float32)[:, None] / 255
    result = photo.copy()
    mixed = share * resampled[changed] + (1 - share) * photo[changed]
    result[changed] = np.clip(np.round(mixed), 0, 255).astype(np.uint8)
    return result


def _difference(before: Image, after: Image, sigma: float) -> Floats:
    """Return the largest channel's absolute difference after a blur, levels, float32 (h, w)."""
    first, second = (
        np.asarray(cv2.GaussianBlur(picture.astype(np.float32), (0, 0), sigma), np.float32)
        for picture in (before, after)
    )
    return max_difference(first, second)
