"""The garment's alpha and its own colours along the outline, from a hard mask."""

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.images.arrays import Flags, Floats, Image, Indices, Mask
from worker.images.regions import regions_that_touch, without_small_regions
from worker.images.shapes import closed, dilated, disc, eroded

Colours = NDArray[np.float32]
"""RGB 0..255, (h, w, 3)."""

BAND_WIDTH, MIN_BAND = 0.007, 3
"""Width of the band along the outline whose pixels may be mixed with background: a share of the picture's
longer side, and its minimum in pixels."""

UNTRUSTED_CONTRAST, TRUST_RANGE = 15.0, 30.0
"""RGB difference between garment and background up to which the mixture is not trusted, and the further
difference over which it becomes fully trusted."""

PATTERN_CONTRAST = 40.0
"""RGB difference to the background above which a garment of varying colour counts as patterned."""

EDGE_BLUR = 0.8
"""Standard deviation of the blur of an outline whose mixture is not trusted, pixels: that of a photograph."""

OUTLINE_SMOOTHING = 1.5
"""Standard deviation of the blur that smooths the hard outline, pixels."""

PATTERN_SMOOTHING = 2.0
"""Standard deviation of the blur that decides where the garment is patterned, pixels."""

COLOUR_DEPTH = 2
"""Distance from the outline at which the colour of the garment is taken, pixels."""

NOTCH_WIDTH, MIN_NOTCH_RADIUS = 0.003, 2
"""Radius of the disc that closes notches: a share of the longer side, and its minimum in pixels."""

NOTCH_AREA = 3e-4
"""Largest share of the picture that a notch covers: a larger one is an opening."""

MIN_WEIGHT = 1e-3
"""Weight of the blur below which a pixel is out of the garment's reach."""

_SQUARE = np.ones((3, 3), np.uint8)


def feathered(image: Image, hard: Flags, background: Floats) -> tuple[Mask, Image]:
    """Return the alpha, uint8 (h, w), and the garment's own colours, uint8 (h, w, 3).

    In a band along the outline, a pixel I is a mixture αF + (1−α)B of the garment's colour F a few pixels
    further in and the background's colour B: α = (I−B)·(F−B) / |F−B|².

    Args:
        image: the photograph, RGB uint8 (h, w, 3).
        hard: bool (h, w), the garment.
        background: RGB float32 (h, w, 3) 0..255.
    """
    photo = image.astype(np.float32)
    band = max(MIN_BAND, round(BAND_WIDTH * max(hard.shape)))
    mixed, trust, patterned = _mixture(photo, hard, background, band)
    solid = _corrected_outline(hard, mixed, trust, patterned, band)
    blurred = np.asarray(cv2.GaussianBlur(solid.astype(np.float32), (0, 0), EDGE_BLUR))
    alpha = trust * np.clip(mixed, 0, 1) + (1 - trust) * blurred
    # The mixture feathers the outline by one pixel to each side; it must not move the outline.
    alpha = np.where(eroded(solid, 2), 1.0, alpha)
    alpha = np.where(eroded(solid, 1), np.maximum(alpha, 0.75), alpha)
    alpha = np.where(solid, np.maximum(alpha, 0.5), np.minimum(alpha, 0.49))
    alpha = np.where(dilated(solid, 1), alpha, 0.0)
    near, _ = _colour_inside(photo, solid, COLOUR_DEPTH)
    colours = _own_colours(photo, alpha[..., None], background, near)
    return np.round(alpha * 255).astype(np.uint8), np.clip(np.round(colours), 0, 255).astype(np.uint8)


def blurred_outline(image: Image, hard: Flags) -> tuple[Mask, Image]:
    """Return alpha and colours as `feathered`, for a background of many colours.

    There the mixture of a pixel cannot be computed: the outline is only blurred.
    """
    photo = image.astype(np.float32)
    alpha = np.round(cv2.GaussianBlur(hard.astype(np.float32), (0, 0), EDGE_BLUR) * 255).astype(np.uint8)
    near, _ = _colour_inside(photo, hard, COLOUR_DEPTH)
    colours = np.where(eroded(hard, 1)[..., None], photo, near)
    return alpha, colours.round().astype(np.uint8)


def _mixture(photo: Colours, hard: Flags, background: Floats, band: int) -> tuple[Floats, Floats, Flags]:
    """Return each pixel's mixture α, how far it is trusted (0..1), and where the garment is patterned."""
    near, spread = _colour_inside(photo, hard, band)
    toward = near - background
    contrast = _squared_length(toward)
    mixed = np.einsum("...i,...i->...", photo - background, toward) / np.maximum(contrast, 1e-6)
    # Where garment and background are similar the mixture says nothing; where the garment has a pattern its
    # colour cannot be predicted from further in. There the blur of the outline gives the alpha.
    trust = np.clip((np.sqrt(contrast) - UNTRUSTED_CONTRAST) / TRUST_RANGE, 0, 1)
    even = np.clip(2 - 4 * spread / np.sqrt(np.maximum(contrast, 1)), 0, 1)
    patterned = (even < 0.5) & (contrast > PATTERN_CONTRAST**2)
    return mixed, trust * even, patterned


def _corrected_outline(hard: Flags, mixed: Floats, trust: Floats, patterned: Flags, band: int) -> Flags:
    """Return the garment with its outline at the half-way colour, smoothed, bool (h, w)."""
    # Halos of sharpening and JPEG blocks surround the garment: move the outline to the half-way colour, from
    # the outside inwards and no further than the band.
    edge = hard & ~eroded(hard, band)
    halo = edge & (mixed < 0.5) & (trust > 0.5)
    outer_halo = halo & regions_that_touch(halo | ~hard, ~hard, diagonal=False)
    hard = _without_notches(hard & ~outer_halo)
    # At a pattern the hard outline is a little outside the half-way colour.
    shrunk = cv2.erode(hard.astype(np.uint8), _SQUARE)
    loose = cv2.GaussianBlur(patterned.astype(np.float32), (0, 0), PATTERN_SMOOTHING) > 0.5
    solid = np.where(loose, shrunk, hard).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(solid, (0, 0), OUTLINE_SMOOTHING) > 0.5, np.bool_)


def _without_notches(hard: Flags) -> Flags:
    """Close notches that are too thin and small for openings: pale stripes that end at the outline."""
    radius = max(MIN_NOTCH_RADIUS, round(NOTCH_WIDTH * max(hard.shape)))
    notches = closed(hard, radius) & ~hard
    openings = without_small_regions(notches, int(np.ceil(NOTCH_AREA * hard.size)), diagonal=False)
    return hard | (notches & ~openings)


def _own_colours(photo: Colours, share: Floats, background: Floats, near: Floats) -> Floats:
    """Return the garment's colours without the background's share, (h, w, 3)."""
    own = (photo - (1 - share) * background) / np.maximum(share, 0.05)
    # The colour computed from a small share is noisy: there the colour from further in is used.
    trust = np.clip((share - 0.5) * 2, 0, 1)
    return np.where(share >= 1, photo, trust * own + (1 - trust) * near)


def _colour_inside(photo: Colours, hard: Flags, depth: int) -> tuple[Floats, Floats]:
    """Return the garment's colour some pixels in from the outline, and its standard deviation there.

    Returns:
        float32 (h, w, 3), the mean colour at each pixel; beyond the blur's reach that of the nearest pixel.
        float32 (h, w), the standard deviation of the colours in that mean.
    """
    solid = hard.astype(np.uint8)
    deep = cv2.erode(solid, disc(depth))
    # A strap that is thinner than the depth keeps its middle line.
    distance = cv2.distanceTransform(solid, cv2.DIST_L2, 5)
    ridge = hard & (distance >= cv2.dilate(distance, _SQUARE))
    thin = ridge & (cv2.dilate(deep, disc(depth + 1)) == 0)
    inner = ((deep > 0) | thin).astype(np.float32)
    weight = np.asarray(cv2.GaussianBlur(inner, (0, 0), depth))
    positive_weight = np.maximum(weight, 1e-6)
    near = np.asarray(cv2.GaussianBlur(photo * inner[..., None], (0, 0), depth)) / positive_weight[..., None]
    squares = np.asarray(cv2.GaussianBlur(_squared_length(photo) * inner, (0, 0), depth)) / positive_weight
    spread = np.sqrt(np.maximum(squares - _squared_length(near), 0))
    far = weight < MIN_WEIGHT
    if not far.all():
        nearest = _nearest(~far)[far]
        near[far], spread[far] = near.reshape(-1, 3)[nearest], spread.ravel()[nearest]
    return near, spread


def _squared_length(vectors: Floats) -> Floats:
    return np.asarray(np.einsum("...i,...i->...", vectors, vectors))


def _nearest(area: Flags) -> Indices:
    """Return the flat position of the pixel of an area, bool (h, w), that is nearest to each pixel."""
    _, labels = cv2.distanceTransformWithLabels(
        (~area).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    own = np.flatnonzero(area)
    of_label = np.zeros(int(labels.max()) + 1, np.intp)
    of_label[labels.ravel()[own]] = own
    return np.asarray(of_label[labels])
