"""Separates a garment from the plain background of its product photograph, by colour."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from config.errors import GarmentMaskError
from worker.cloth.alpha import blurred_outline, feathered
from worker.cloth.background import border_strip, difference, fit_background
from worker.cloth.hanger import without_hook
from worker.images.arrays import Flags, Floats, Image, Mask
from worker.images.regions import largest_region, regions_that_touch, without_small_regions
from worker.images.shapes import depth, dilated, disc, opened, pixels

MAX_PIXELS = 1_500_000
"""Larger photographs are downsampled for the segmentation, and the mask is upsampled."""

LARGE = 400_000
"""From this many pixels a garment has enough of them at half the size to be told from its surroundings."""

# --- Colour differences: CIE76 in Lab; a difference of 1 is about the least that an eye distinguishes. ---

BORDER_INLIER = 6.0
"""A border pixel that differs less from the fitted background belongs to it."""

NOISE_FACTOR, MIN_THRESHOLD, MAX_THRESHOLD = 4.0, 1.6, 6.0
"""The threshold between background and garment: a factor of the background's noise, within the limits."""

FAINTEST = 0.6
"""Lowest threshold on an even background."""

CLEAR = 15.0
"""The ringing of a JPEG never differs this much from the background."""

RINGING_PERCENTILE, RINGING_FACTOR, MAX_RINGING = 75, 1.7, 7.0
"""The ringing is the factor times this percentile of the difference next to edges, and at most the maximum:
that of the strongest usable compression."""

SIMILAR_MARGIN = 5.0
"""Pixels up to this much above the threshold have nearly the background's colour."""

MAX_SHADOW = 35.0
"""Lightness (L) by which a cast shadow is at most darker than the background."""

SHADOW_CHROMA = 3.0
"""Chroma by which a shadow at most differs from the darkened background; the threshold, if that is higher."""

SHADOW_SLOPE = 2200.0
"""A shadow's slope of L per pixel is at most this, divided by the picture's longer side."""

OPENING_DIFFERENCE = 2.5
"""Pixels of an opening differ at most this much from the background."""

REGION_FACTOR, RIM_FACTOR, RIM_MARGIN = 0.5, 2.0, 2.0
"""The median of an opening is below the first times the threshold; that of its rim is above the second times
the threshold, plus the margin."""

NOISE_SIGMA, GRADIENT_SIGMA = 1.0, 1.5
"""Standard deviations of the blur before the comparison of colours, and before the gradient, pixels."""

MIN_NOISE = 1e-3
"""Added to the noise: that of a synthetic background is 0."""

# --- Lengths: shares of the picture's longer side. ---

FINE_DISC = 0.002
"""Radius of the disc that rolls in from the border: thin breaks in the outline do not let it in."""

COARSE_DISC = 0.008
"""Radius of the disc for a pale garment, whose outline has wide breaks."""

CREVICE_DEPTH = 0.02
"""Background that the disc is too thick for (an armpit's corner, between two straps) is at most this deep."""

SHADOW_DISC = 0.004
"""A shadow is broader than a disc of this radius; a stripe or the blur of an outline is not."""

BLUR_DEPTH = 0.012
"""Depth to which blur and JPEG blocks reach into the garment, and width of the ringing around it."""

CORE_DEPTH = 0.015
"""A pixel deeper than this is in the garment's core."""

RING_START, RING_END = 0.003, 0.008
"""Distances from an edge between which its ringing is measured."""

SHADOW_CORE_DEPTH = 0.04
"""A pixel deeper than this is no shadow, if the whole garment looks like one."""

NEARBY = 0.01
"""A small piece of garment is at most this far from the largest piece."""

# --- Areas: shares of what the comment says. ---

MIN_PLAIN_BORDER = 0.5
"""Share of the border that a plain background must cover."""

MAX_GARMENT_BORDER = 0.35
"""Share of the picture's edge that a garment may touch."""

MIN_GARMENT = 0.01
"""Share of the picture that a garment must cover."""

MIN_OUTSIDE = 0.05
"""Share of the picture around the garment that the second fit of the background needs."""

PALE_SHARE = 0.2
"""A garment is pale if more than this share of it has the background's colour."""

FAINT_GAIN = 0.05
"""An outline is faint if the lowest threshold adds more than this share of the garment."""

MAX_SIMILAR_CORE = 0.01
"""Below this share of nearly background-coloured pixels in its core, such pixels at the edge are doubtful."""

MIN_CERTAIN = 0.25
"""If less than this share of the garment is certain, the garment looks like a shadow all over."""

LARGE_PIECE, SMALL_PIECE = 0.25, 2e-3
"""A piece above the first share of the largest piece belongs to the garment; above the second if nearby."""

MIN_SIMILAR_REGION = 2e-4
"""Share of the garment that a region of the background's colour must cover to count."""

MAX_SIMILAR_REGIONS = 8
"""More such regions are letters, not openings."""


@dataclass(frozen=True)
class _OpeningLimits:
    """Limits of an opening: its lowest share of the garment's area, its largest depth in garment widths."""

    min_area: float
    max_depth: float


TALL = 1.5
"""A region with a height above this many times its width is tall."""

TALL_OPENING = _OpeningLimits(5e-4, 0.25)
"""The gap of a strap, or next to a wide sleeve."""

WIDE_OPENING = _OpeningLimits(2e-3, 0.18)
"""Labels and letters are wide too."""

RIM_START, RIM_END = 2, 5
"""Distances from an opening between which its rim is measured, pixels."""

_SQUARE = np.ones((3, 3), np.uint8)

LabPicture = NDArray[np.float32]
"""CIELAB, (h, w, 3)."""


@dataclass(frozen=True)
class Cutout:
    """A garment separated from its background.

    Attributes:
        alpha: uint8 (h, w), 0..255: how much of a pixel is garment.
        image: RGB uint8 (h, w, 3): the garment's own colour, also where a pixel of its edge is mixed
            with background in the photograph; outside the garment the nearest garment colour.
        background: RGB float32 (h, w, 3): the background's colour, also behind the garment.
        plain_share: share of the picture's border, or of the garment's surroundings, that has that colour.
    """

    alpha: Mask
    image: Image
    background: Floats
    plain_share: float


def cut_out(image: Image) -> Cutout:
    """Return the garment's alpha and its own colours, of a photograph of at most about MAX_PIXELS.

    The garment lies or hangs on a plain background, white or coloured, even or slowly changing, with or
    without a soft shadow. Openings that show the background (between a strap and the body) are outside;
    the inner back that is visible in the collar is inside, as in VITON-HD's masks.

    Raises GarmentMaskError when there is no garment, the background is not plain, or the garment leaves no
    background at the picture's border.
    """
    lab = _lab(image)
    border = border_strip(lab.shape[:2])
    background = fit_background(lab, border)
    plain_share = float(np.mean(difference(lab, background)[border] < BORDER_INLIER))
    if plain_share < MIN_PLAIN_BORDER:
        raise GarmentMaskError(
            f"The garment cannot be separated from its background: only {plain_share:.0%} of the picture's "
            "border has one plain colour. Photograph the garment alone on a plain wall, table or sheet, with "
            "some of it visible on every side."
        )
    smooth = np.asarray(cv2.GaussianBlur(lab, (0, 0), NOISE_SIGMA), np.float32)
    hard = _about_garment(lab, smooth, background, border)
    # Now the background all around the garment is known, not only at the border: fit it again.
    background = fit_background(lab, _surroundings(hard, border))
    hard = without_hook(_garment(lab, smooth, background, border))

    _require_whole_garment(hard)
    rgb_background = _rgb(background)
    return Cutout(*feathered(image, hard, rgb_background), rgb_background, plain_share)


def cut_along(image: Image, hard: Flags) -> Cutout:
    """Return the garment's alpha and its own colours, for a mask that a network has computed.

    Args:
        image: RGB uint8 (h, w, 3).
        hard: bool (h, w), the garment's pixels.

    Raises GarmentMaskError when there is almost no garment, or it is cut off by the picture's edge.
    """
    _require_whole_garment(hard)
    lab = _lab(image)
    surroundings = _surroundings(hard, border_strip(hard.shape))
    background = fit_background(lab, surroundings)
    rgb_background = _rgb(background)
    plain_share = float(np.mean(difference(lab, background)[surroundings] < BORDER_INLIER))
    if plain_share >= MIN_PLAIN_BORDER:
        return Cutout(*feathered(image, hard, rgb_background), rgb_background, plain_share)
    return Cutout(*blurred_outline(image, hard), rgb_background, plain_share)


def _lab(image: Image) -> LabPicture:
    return np.asarray(cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)


def _rgb(lab: LabPicture) -> NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB) * 255, np.float32)


def _surroundings(hard: Flags, border: Flags) -> Flags:
    """Return the pixels around the garment, or the border if the garment leaves too few."""
    outside = ~dilated(hard, pixels(hard.shape, BLUR_DEPTH))
    return outside if np.mean(outside) > MIN_OUTSIDE else border


def _require_whole_garment(hard: Flags) -> None:
    if float(np.mean(hard)) < MIN_GARMENT:
        raise GarmentMaskError(
            "No garment was found: the picture is blank, or the garment has the background's colour. "
            "Use a photograph in which the garment stands out from its background."
        )
    touching = float(np.mean(hard[_picture_edge(hard.shape)]))
    if touching > MAX_GARMENT_BORDER:
        raise GarmentMaskError(
            f"The garment is cut off along {touching:.0%} of the picture's edge. "
            "Use a photograph that shows the whole garment with background on every side."
        )


def _about_garment(lab: LabPicture, smooth: LabPicture, background: LabPicture, border: Flags) -> Flags:
    """Return about where the garment is, bool (h, w): enough to know what is around it.

    In a large picture only every second pixel of every second row is looked at.
    """
    if border.size < LARGE:
        return _garment(lab, smooth, background, border)
    lab, smooth, background = (np.ascontiguousarray(p[::2, ::2]) for p in (lab, smooth, background))
    hard = _garment(lab, smooth, background, np.ascontiguousarray(border[::2, ::2]))
    return np.asarray(hard.repeat(2, 0).repeat(2, 1)[: border.shape[0], : border.shape[1]])


def _garment(lab: LabPicture, smooth: LabPicture, background: LabPicture, border: Flags) -> Flags:
    """Return where the garment is, bool (h, w); smooth: the picture without its noise."""
    distance = difference(smooth, background)
    plain = distance[border & (distance < BORDER_INLIER)]
    noise = float(np.median(plain)) + MIN_NOISE
    threshold = float(np.clip(NOISE_FACTOR * noise, MIN_THRESHOLD, MAX_THRESHOLD))
    outside = _outside(distance, noise, threshold)
    garment = ~outside
    # A shadow is broad: what a small disc does not fit into is a stripe or the blur of an outline.
    shadow = garment & _shadow(smooth, background, threshold)
    doubtful = opened(shadow, pixels(garment.shape, SHADOW_DISC)) | _blurred_rim(garment, distance, threshold)
    if doubtful.any():
        garment = _at_sharpest_edge(garment, doubtful, lab)
    return _without_specks(garment)


def _outside(distance: Floats, noise: float, threshold: float) -> Flags:
    """Return the background, bool (h, w): what a small disc reaches that rolls in from the border.

    Thin breaks in the outline do not let the disc in. The outline of a pale garment has wide breaks, and
    needs a larger disc.
    """
    shape = distance.shape
    similar = distance < np.maximum(threshold, _ringing(distance))
    outside = _roll_from_border(similar, pixels(shape, FINE_DISC))
    faint = _is_faint(distance, noise, outside)
    similar = distance < FAINTEST if faint else similar
    pale = np.count_nonzero(~outside & similar) > PALE_SHARE * np.count_nonzero(~outside)
    if pale or faint:
        return _roll_from_border(similar, pixels(shape, COARSE_DISC))
    crevices = similar & _connected(similar, outside) & (depth(~outside) <= pixels(shape, CREVICE_DEPTH))
    outside = outside | crevices
    return outside | _openings(~outside, distance, threshold)


def _blurred_rim(garment: Flags, distance: Floats, threshold: float) -> Flags:
    """Return pixels of nearly the background's colour at the garment's edge that may be blur, bool (h, w).

    A photograph's blur and its JPEG blocks look like that around a garment whose core has no such colour. A
    strap is too thin to lose pixels.
    """
    similar = distance < threshold + SIMILAR_MARGIN
    garment_depth = depth(garment)
    core = garment_depth > pixels(garment.shape, CORE_DEPTH)
    if np.count_nonzero(similar & core) >= MAX_SIMILAR_CORE * np.count_nonzero(core):
        return np.zeros_like(garment)
    reach = pixels(garment.shape, BLUR_DEPTH)
    return similar & opened(garment, reach) & (garment_depth <= reach)


def _ringing(distance: Floats) -> Floats:
    """Return how much a JPEG's ringing changes the background's colour, float32 (h, w); 0 away from edges.

    It is measured just outside what differs clearly. A shadow looks the same there: at most the ringing of
    strong compression is allowed.
    """
    shape = distance.shape
    clear = ~_roll_from_border(distance < CLEAR, pixels(shape, COARSE_DISC))
    ring = dilated(clear, pixels(shape, RING_END)) & ~dilated(clear, pixels(shape, RING_START))
    level = 0.0
    if ring.any():
        level = RINGING_FACTOR * float(np.percentile(distance[ring], RINGING_PERCENTILE))
    around = dilated(clear, pixels(shape, BLUR_DEPTH)) & ~clear
    return around.astype(np.float32) * min(level, MAX_RINGING)


def _is_faint(distance: Floats, noise: float, outside: Flags) -> bool:
    """Return whether the disc rolled into a faint outline that the lowest threshold would show.

    On an even background a smaller difference counts: it keeps the disc out of something broad. On other
    backgrounds it would only add a rim of the photograph's blur.
    """
    if NOISE_FACTOR * noise > FAINTEST:
        return False
    garment = ~_roll_from_border(distance < FAINTEST, pixels(distance.shape, FINE_DISC))
    gained = opened(garment & outside, pixels(distance.shape, BLUR_DEPTH))
    return bool(np.count_nonzero(gained) > FAINT_GAIN * np.count_nonzero(garment))


def _at_sharpest_edge(garment: Flags, doubtful: Flags, lab: LabPicture) -> Flags:
    """Return the garment without the shadow around it: its outline is the sharpest edge on the way in.

    A watershed of the gradient divides the doubtful pixels between the certain background and the certain
    garment (pixels that are not doubtful, or are deep inside): the slope of a soft shadow is smaller than
    that of the outline.
    """
    certain = _certain_garment(garment, doubtful)
    if not certain.any():
        return garment
    smooth = cv2.GaussianBlur(lab, (0, 0), GRADIENT_SIGMA)
    gradient = np.zeros(garment.shape, np.float32)
    for channel in cv2.split(smooth):
        gradient += _gradient(np.asarray(channel))
    # Only uncertain pixels are flooded, with a rim of certain ones around them.
    uncertain = garment & ~certain
    flooded_area = np.asarray(cv2.dilate(uncertain.astype(np.uint8), _SQUARE), np.bool_)
    markers = np.where(certain, 2, np.where(garment, 0, 1)).astype(np.int32)
    labels = watershed(gradient, markers * flooded_area, mask=flooded_area)  # type: ignore[no-untyped-call]
    return np.asarray(certain | (uncertain & (labels == 2)), np.bool_)


def _certain_garment(garment: Flags, doubtful: Flags) -> Flags:
    """Return the pixels that certainly are garment, bool (h, w)."""
    plain = garment & ~doubtful
    certain = plain & ~dilated(doubtful, 2)  # The edge in between needs some room.
    certain |= garment & ~_connected(garment & ~certain, ~garment)  # a print that the garment encloses
    if np.count_nonzero(certain) < MIN_CERTAIN * np.count_nonzero(garment):
        # A grey garment on white looks like a shadow all over: its depth decides.
        certain |= depth(garment) > pixels(garment.shape, SHADOW_CORE_DEPTH)
    return certain


def _gradient(channel: Floats) -> Floats:
    """Return the gradient's length by Sobel, which is 8 times the slope per pixel, float32 (h, w)."""
    dx = np.asarray(cv2.Sobel(channel, cv2.CV_32F, 1, 0))
    dy = np.asarray(cv2.Sobel(channel, cv2.CV_32F, 0, 1))
    return np.asarray(cv2.magnitude(dx, dy))


def _shadow(smooth: LabPicture, background: LabPicture, threshold: float) -> Flags:
    """Return where the picture may be background in a shadow: darker, and of the same hue."""
    lightness, background_lightness = smooth[..., 0], background[..., 0]
    darker = background_lightness - lightness
    ratio = np.clip(lightness / np.maximum(background_lightness, 1), 0, 1)
    # A shadow scales the light: the chroma falls with the lightness.
    chroma = np.asarray(
        cv2.magnitude(
            smooth[..., 1] - background[..., 1] * ratio, smooth[..., 2] - background[..., 2] * ratio
        )
    )
    soft = _gradient(lightness) / 8 < SHADOW_SLOPE / max(smooth.shape[:2])
    same_hue = chroma < max(SHADOW_CHROMA, threshold)
    return np.asarray((darker > 0) & (darker < MAX_SHADOW) & same_hue & soft, np.bool_)


def _openings(garment: Flags, distance: Floats, threshold: float) -> Flags:
    """Return the openings in the garment through which the background is visible, bool (h, w).

    A print in the background's colour looks the same. But an opening is close to the outline, with only a
    strap or a sleeve in between; a print is not, or consists of many letters.
    """
    similar = opened(garment & (distance < min(threshold, OPENING_DIFFERENCE)), 1)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(similar.astype(np.uint8), connectivity=4)
    garment_depth = depth(garment)
    garment_width = np.ptp(np.nonzero(garment.any(0))[0]) if garment.any() else 0
    garment_area = np.count_nonzero(garment)
    openings, similar_regions = [], 0
    for index in range(1, count):
        left, top, width, height, area = stats[index]
        if area < MIN_SIMILAR_REGION * garment_area:
            continue
        margin = RIM_END + 1
        window = (
            slice(max(0, top - margin), top + height + margin),
            slice(max(0, left - margin), left + width + margin),
        )
        region = np.asarray(labels[window] == index)
        if not _shows_background(region, distance[window], threshold):
            continue
        similar_regions += 1
        limits = TALL_OPENING if height > TALL * width else WIDE_OPENING
        if (
            area >= limits.min_area * garment_area
            and garment_depth[window][region].min() < limits.max_depth * garment_width
        ):
            openings.append(index)
    if similar_regions > MAX_SIMILAR_REGIONS:
        return np.zeros_like(garment)
    return np.asarray(ndimage.binary_dilation(np.isin(labels, openings)), np.bool_)


def _shows_background(region: Flags, distance: Floats, threshold: float) -> bool:
    """Return whether the region has the background's colour and a clear rim: a pale place fades out."""
    rim = dilated(region, RIM_END) & ~dilated(region, RIM_START)
    rim_difference = float(np.median(distance[rim]))
    region_difference = float(np.median(distance[region]))
    return (
        region_difference < REGION_FACTOR * threshold and rim_difference > RIM_FACTOR * threshold + RIM_MARGIN
    )


def _without_specks(garment: Flags) -> Flags:
    """Return the garment without specks and without pieces that are neither large nor close to it."""
    garment = opened(garment, 1)
    main = largest_region(garment)
    main_area = np.count_nonzero(main)
    large = without_small_regions(garment, int(LARGE_PIECE * main_area) + 1)
    small = without_small_regions(garment, int(SMALL_PIECE * main_area) + 1)
    nearby = dilated(main, pixels(garment.shape, NEARBY))
    return main | large | regions_that_touch(small, nearby)


def _roll_from_border(passable: Flags, radius: int) -> Flags:
    """Return what a disc covers that rolls in from the border over passable pixels, bool (h, w)."""
    # The outside of the picture is passable too, so that a garment at one side does not divide it.
    padding = radius + 2
    padded = np.pad(passable, padding, constant_values=True).astype(np.uint8)
    centres = np.asarray(cv2.erode(padded, disc(radius), borderValue=1), np.uint8)
    reached = 2
    cv2.floodFill(centres, None, (0, 0), reached, flags=4)
    covered = dilated(np.asarray(centres == reached), radius)
    return np.asarray(covered[padding:-padding, padding:-padding], np.bool_)


def _connected(area: Flags, seeds: Flags) -> Flags:
    """Return the seeds and what of the area is connected to them, bool (h, w)."""
    return regions_that_touch(area | seeds, seeds, diagonal=False)


def _picture_edge(shape: tuple[int, ...]) -> Flags:
    """Return the outermost two pixels of the picture, bool (h, w)."""
    edge = np.ones(shape, np.bool_)
    edge[2:-2, 2:-2] = False
    return edge
