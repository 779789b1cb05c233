"""Tells a garment from the plain background of its product photograph: a soft mask."""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage
from skimage.segmentation import watershed

from config.errors import GarmentMaskError
from worker.cloth.hanger import without_hook

MAX_PIXELS = 1_500_000
"""Photographs larger than this are segmented smaller and the mask is brought back."""

# All distances below are CIE76 colour differences in Lab; 1 is about the least that an eye tells apart.
_BORDER_INLIER = 6.0  # a border pixel this near to the fitted background belongs to it
_MIN_PLAIN_BORDER = 0.5  # share of the border that a plain background must fill
_MAX_GARMENT_BORDER = 0.35  # share of the border that a garment may touch
_FAINTEST = 0.6  # the least that tells a garment from an even background
_CLEAR = 15.0  # no ringing of a JPEG differs this much
_MAX_RINGING = 7.0  # and in one that is worth using, not more than this
_FEW = 8  # more places of the background's colour than this are letters
_MIN_AREA = 0.01  # share of the picture that a garment fills at least
_MAX_SHADOW = 35.0  # how much darker (L) than its background a cast shadow may be


@dataclass(frozen=True)
class Cutout:
    """A garment told from its background.

    Attributes:
        alpha: uint8 (h, w), 0..255: how much of a pixel is garment.
        image: RGB uint8 (h, w, 3): the garment's own colour, also where a pixel of its edge is mixed
            with background in the photograph; outside the garment the nearest garment colour.
        background: RGB float32 (h, w, 3): the background's colour, also behind the garment.
    """

    alpha: np.ndarray
    image: np.ndarray
    background: np.ndarray


def segment(image: np.ndarray) -> np.ndarray:
    """Return the garment's soft alpha, uint8 (h, w), of a product photograph, RGB uint8 (h, w, 3).

    The garment lies or hangs on a plain background, white or coloured, even or slowly changing, with or
    without a soft shadow. Openings that show the background (between a strap and the body) are outside;
    the inner back that shows in the collar is inside, as in VITON-HD's masks.

    Raises GarmentMaskError when nothing is there, the background is not plain, or the garment fills the
    picture so that no background is left to tell it from.
    """
    scale = min(1.0, (MAX_PIXELS / (image.shape[0] * image.shape[1])) ** 0.5)
    if scale == 1.0:
        return cut_out(image).alpha
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    alpha = cut_out(small).alpha
    return cv2.resize(alpha, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR)


def cut_out(image: np.ndarray) -> Cutout:
    """Return the garment's alpha and its own colours, of a photograph of at most about MAX_PIXELS.

    Raises GarmentMaskError as `segment` does.
    """
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    border = _border(lab.shape[:2])
    background = _fit_background(lab, border)
    share = float(np.mean(_difference(lab, background)[border] < _BORDER_INLIER))
    if share < _MIN_PLAIN_BORDER:
        raise GarmentMaskError(
            "The garment cannot be told from its background: only "
            f"{share:.0%} of the picture's border is one plain colour. Photograph the garment alone on a "
            "plain wall, table or sheet, with some of it showing on every side."
        )
    hard = _garment(lab, background, border)
    # What is background now is known all around the garment, not only at the border: fit once more.
    outside = ~cv2.dilate(hard.astype(np.uint8), _disc(_pixels(lab, 0.012))).astype(bool)
    background = _fit_background(lab, outside if np.mean(outside) > 0.05 else border)
    hard = without_hook(_garment(lab, background, border))

    _require_whole_garment(hard)
    rgb_background = cv2.cvtColor(background, cv2.COLOR_LAB2RGB) * 255
    alpha, colours = _soften(image, hard, rgb_background)
    return Cutout(alpha, colours, rgb_background)


def cut_along(image: np.ndarray, hard: np.ndarray) -> Cutout:
    """Return the garment's alpha and its own colours where a network has told which pixels are garment.

    Args:
        image: RGB uint8 (h, w, 3).
        hard: bool (h, w).

    Raises GarmentMaskError when there is next to no garment, or it runs out of the picture.
    """
    _require_whole_garment(hard)
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    border = _border(hard.shape)
    outside = ~cv2.dilate(hard.astype(np.uint8), _disc(_pixels(lab, 0.012))).astype(bool)
    outside = outside if np.mean(outside) > 0.05 else border
    background = _fit_background(lab, outside)
    rgb_background = cv2.cvtColor(background, cv2.COLOR_LAB2RGB) * 255
    if float(np.mean(_difference(lab, background)[outside] < _BORDER_INLIER)) >= _MIN_PLAIN_BORDER:
        alpha, colours = _soften(image, hard, rgb_background)
        return Cutout(alpha, colours, rgb_background)
    # Before a background of many colours a pixel's mixture cannot be told: the outline is only blurred.
    photo, solid = image.astype(np.float32), hard.astype(np.uint8)
    alpha = np.round(cv2.GaussianBlur(solid.astype(np.float32), (0, 0), 0.8) * 255).astype(np.uint8)
    near, _ = _colour_inside(photo, solid, 2)
    inside = cv2.erode(solid, _disc(1))[..., None] > 0
    return Cutout(alpha, np.where(inside, photo, near).round().astype(np.uint8), rgb_background)


def _require_whole_garment(hard: np.ndarray) -> None:
    if float(np.mean(hard)) < _MIN_AREA:
        raise GarmentMaskError(
            "No garment is to be seen: the picture is blank, or the garment has the background's colour. "
            "Use a photograph in which the garment stands out from its background."
        )
    touching = float(np.mean(hard[_frame_edge(hard.shape)]))
    if touching > _MAX_GARMENT_BORDER:
        raise GarmentMaskError(
            f"The garment runs out of the picture along {touching:.0%} of its border. "
            "Use a photograph that shows the whole garment with background on every side."
        )


def _garment(lab: np.ndarray, background: np.ndarray, border: np.ndarray) -> np.ndarray:
    """Return where the garment is, bool (h, w)."""
    smooth = cv2.GaussianBlur(lab, (0, 0), 1.0)
    difference = _difference(smooth, background)
    plain = difference[border & (difference < _BORDER_INLIER)]
    noise = float(np.median(plain)) + 1e-3
    threshold = float(np.clip(4 * noise, 1.6, 6.0))

    near = difference < np.maximum(threshold, _ringing(difference, lab))
    # The background is what a small disc can roll over from the border: thin breaks in the outline do not
    # let it in. A pale garment's outline has wide breaks, and wants a larger disc.
    outside = _roll_from_border(near, _pixels(lab, 0.002))
    faint = _faint(difference, noise, outside, lab)
    near = difference < _FAINTEST if faint else near
    pale = np.count_nonzero(~outside & near) > 0.2 * np.count_nonzero(~outside)
    if pale or faint:
        outside = _roll_from_border(near, _pixels(lab, 0.008))
    else:
        # What the disc was too thick for (an armpit's corner, between two straps) is background by colour.
        outside |= near & _joined_to(near, outside) & (_depth(outside) <= _pixels(lab, 0.02))
        outside |= _openings(~outside, difference, threshold, lab)
    garment = ~outside
    # A shadow is a broad thing: what a small disc does not fit into is a stripe or an outline's blur.
    shadow = (garment & _shadow(smooth, background, threshold)).astype(np.uint8)
    doubtful = cv2.morphologyEx(shadow, cv2.MORPH_OPEN, _disc(_pixels(lab, 0.004))).astype(bool)
    # So is what the photograph's blur and its JPEG blocks put around a garment that nowhere else has nearly
    # the background's colour; a strap is too thin to lose any.
    alike = difference < threshold + 5
    depth = _depth(outside)
    inner = depth > _pixels(lab, 0.015)
    if np.count_nonzero(alike & inner) < 0.01 * np.count_nonzero(inner):
        thick = cv2.morphologyEx(garment.astype(np.uint8), cv2.MORPH_OPEN, _disc(_pixels(lab, 0.012)))
        doubtful |= alike & (thick > 0) & (depth <= _pixels(lab, 0.012))
    if not doubtful.any():
        return _clean(garment, lab)
    garment = _at_edge(garment, doubtful, lab)
    return _clean(garment, lab)


def _ringing(difference: np.ndarray, lab: np.ndarray) -> np.ndarray:
    """Return how far a JPEG's ringing takes the background from its colour, float32 (h, w); 0 where none is.

    It is found beside edges, and measured just outside what differs clearly. A shadow there looks the same:
    no more is allowed for than strong compression makes.
    """
    clear = (~_roll_from_border(difference < _CLEAR, _pixels(lab, 0.008))).astype(np.uint8)
    beside = cv2.dilate(clear, _disc(_pixels(lab, 0.008))) - cv2.dilate(clear, _disc(_pixels(lab, 0.003)))
    level = 1.7 * float(np.percentile(difference[beside > 0], 75)) if beside.any() else 0.0
    around = cv2.dilate(clear, _disc(_pixels(lab, 0.012))) - clear
    return around.astype(np.float32) * min(level, _MAX_RINGING)


def _faint(difference: np.ndarray, noise: float, outside: np.ndarray, lab: np.ndarray) -> bool:
    """Whether the garment's outline is so faint that the disc rolled in, and on this background can be seen.

    On an even background a smaller difference counts: it then holds the disc off something broad, where
    elsewhere it adds a rim of the photograph's blur.
    """
    if 4 * noise > _FAINTEST:
        return False
    held = ~_roll_from_border(difference < _FAINTEST, _pixels(lab, 0.002))
    gained = cv2.morphologyEx((held & outside).astype(np.uint8), cv2.MORPH_OPEN, _disc(_pixels(lab, 0.012)))
    return bool(np.count_nonzero(gained) > 0.05 * np.count_nonzero(held))


def _at_edge(garment: np.ndarray, doubtful: np.ndarray, lab: np.ndarray) -> np.ndarray:
    """Return the garment without the shadow around it: its outline is the sharpest edge on the way in.

    A watershed of the gradient parts the doubtful pixels between the sure background and the sure garment
    (what is not doubtful, or lies deep inside): a soft shadow's slope is gentler than the outline's.
    """
    sure = garment & ~doubtful & ~_along(garment & ~doubtful, doubtful)
    sure |= garment & ~_joined_to(garment & ~sure, ~garment)  # a print that the garment encloses
    if np.count_nonzero(sure) < 0.25 * np.count_nonzero(garment):
        # A grey garment on white is like a shadow all over: its depth tells it.
        sure |= _depth(~garment) > _pixels(lab, 0.04)
    if not sure.any():
        return garment
    soft = cv2.GaussianBlur(lab, (0, 0), 1.5)
    gradient = np.zeros(garment.shape, np.float32)
    for channel in cv2.split(soft):
        gradient += np.hypot(cv2.Sobel(channel, cv2.CV_32F, 1, 0), cv2.Sobel(channel, cv2.CV_32F, 0, 1))
    # Only doubtful ground is flooded, with a rim of what is sure around it.
    open_ground = garment & ~sure
    rim = cv2.dilate(open_ground.astype(np.uint8), np.ones((3, 3))).astype(bool)
    markers = np.where(sure, 2, np.where(garment, 0, 1)).astype(np.int32)
    flooded = watershed(gradient, markers * rim, mask=rim)
    return np.asarray(sure | (open_ground & (flooded == 2)), bool)


def _along(where: np.ndarray, border: np.ndarray) -> np.ndarray:
    """Return what of `where` lies within two pixels of `border`, so that an edge between has room."""
    return where & cv2.dilate(border.astype(np.uint8), _disc(2)).astype(bool)


def _shadow(smooth: np.ndarray, background: np.ndarray, threshold: float) -> np.ndarray:
    """Return where the picture may be background in a shadow: darker, and of the same hue."""
    darker = background[..., 0] - smooth[..., 0]
    ratio = np.clip(smooth[..., 0] / np.maximum(background[..., 0], 1), 0, 1)
    # A shadow scales the light: chroma falls with lightness.
    chroma = np.hypot(
        smooth[..., 1] - background[..., 1] * ratio, smooth[..., 2] - background[..., 2] * ratio
    )
    slope = np.hypot(cv2.Sobel(smooth[..., 0], cv2.CV_32F, 1, 0), cv2.Sobel(smooth[..., 0], cv2.CV_32F, 0, 1))
    soft = slope / 8 < 2.2 * 1000 / max(smooth.shape[:2])
    return (darker > 0) & (darker < _MAX_SHADOW) & (chroma < max(3.0, threshold)) & soft


def _openings(garment: np.ndarray, difference: np.ndarray, threshold: float, lab: np.ndarray) -> np.ndarray:
    """Return the closed openings of the garment through which the background shows, bool (h, w).

    A print in the background's colour looks the same: an opening is close to the outline (a strap or a
    sleeve lies between), a print is not, or comes as many letters.
    """
    closed = cv2.morphologyEx(
        (garment & (difference < min(threshold, 2.5))).astype(np.uint8), cv2.MORPH_OPEN, _disc(1)
    )
    count, labels, stats, _ = cv2.connectedComponentsWithStats(closed, connectivity=4)
    inside_depth = cv2.distanceTransform(garment.astype(np.uint8), cv2.DIST_L2, 5)
    width = np.ptp(np.nonzero(garment.any(0))[0]) if garment.any() else 0
    garment_area = np.count_nonzero(garment)
    openings, alike = [], 0
    for index in range(1, count):
        left, top, wide, tall, area = stats[index]
        if area < 2e-4 * garment_area:
            continue
        window = (slice(max(0, top - 6), top + tall + 6), slice(max(0, left - 6), left + wide + 6))
        region, apart = labels[window] == index, difference[window]
        # Around an opening the garment begins at once; around a pale place it fades.
        solid = region.astype(np.uint8)
        near_by = cv2.dilate(solid, _disc(5)) - cv2.dilate(solid, _disc(2))
        rim = float(np.median(apart[near_by > 0]))
        if float(np.median(apart[region])) >= 0.5 * threshold or rim <= 2 * threshold + 2:
            continue
        alike += 1
        # A label or a letter is wide; the gap in a strap is tall, and so is that beside a wide sleeve.
        least, deepest = (5e-4, 0.25) if tall > 1.5 * wide else (2e-3, 0.18)
        if area >= least * garment_area and inside_depth[window][region].min() < deepest * width:
            openings.append(index)
    if alike > _FEW:
        return np.zeros_like(garment)
    return ndimage.binary_dilation(np.isin(labels, openings))


def _clean(garment: np.ndarray, lab: np.ndarray) -> np.ndarray:
    """Drop specks, and pieces that neither are large nor lie close to the garment."""
    kernel = _disc(1)
    garment = cv2.morphologyEx(garment.astype(np.uint8), cv2.MORPH_OPEN, kernel)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(garment, connectivity=8)
    if count < 2:
        return garment.astype(bool)
    areas = stats[1:, cv2.CC_STAT_AREA]
    main = labels == 1 + int(np.argmax(areas))
    close = cv2.dilate(main.astype(np.uint8), _disc(_pixels(lab, 0.01))).astype(bool)
    kept = main.copy()
    for index, area in enumerate(areas, start=1):
        piece = labels == index
        if area > 0.25 * areas.max() or (area > 2e-3 * areas.max() and (piece & close).any()):
            kept |= piece
    return kept


def _fill_notches(hard: np.ndarray) -> np.ndarray:
    """Close what is too thin and too small to be an opening: pale stripes that end at the outline."""
    reach = max(2, round(0.003 * max(hard.shape)))
    closed = cv2.morphologyEx(hard.astype(np.uint8), cv2.MORPH_CLOSE, _disc(reach)).astype(bool)
    notches = (closed & ~hard).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(notches, connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] < 3e-4 * hard.size
    small[0] = False
    return np.asarray(hard | small[labels], bool)


def _soften(image: np.ndarray, hard: np.ndarray, background: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return alpha uint8 (h, w) and the garment's own colours, uint8 (h, w, 3).

    In a band along the outline a pixel I is taken for a mixture αF + (1−α)B of the garment's colour a
    few pixels further in and the background's: α = (I−B)·(F−B) / |F−B|².
    """
    photo = image.astype(np.float32)
    band = max(3, round(0.007 * max(hard.shape)))
    solid = hard.astype(np.uint8)
    near, spread = _colour_inside(photo, solid, band)
    toward = near - background
    contrast = np.sum(toward**2, axis=-1)
    mixed = np.sum((photo - background) * toward, axis=-1) / np.maximum(contrast, 1e-6)
    # Where garment and background are alike the mixture says nothing: the outline's own blur does.
    # So does it where the garment has a pattern, whose colours cannot be foretold from further in.
    trust = np.clip((np.sqrt(contrast) - 15) / 30, 0, 1)
    even = np.clip(2 - 4 * spread / np.sqrt(np.maximum(contrast, 1)), 0, 1)
    patterned = (even < 0.5) & (contrast > 40**2)
    trust *= even

    # Halos of sharpening and JPEG blocks lie around the garment: move the outline to the half-way colour,
    # from the outside inwards and no further than the band.
    edge = hard & ~cv2.erode(solid, _disc(band)).astype(bool)
    halo = edge & (mixed < 0.5) & (trust > 0.5)
    hard = _fill_notches(hard & ~(halo & _joined_to(halo, ~hard)))
    # The border of what differs clearly from the background lies a little outside the half-way colour.
    closed = cv2.erode(hard.astype(np.uint8), np.ones((3, 3)))
    loose = cv2.GaussianBlur(patterned.astype(np.float32), (0, 0), 2.0) > 0.5
    solid = np.where(loose, closed, hard).astype(np.float32)
    solid = (cv2.GaussianBlur(solid, (0, 0), 1.5) > 0.5).astype(np.uint8)

    plain = cv2.GaussianBlur(solid.astype(np.float32), (0, 0), 0.8)
    alpha = trust * np.clip(mixed, 0, 1) + (1 - trust) * plain
    # The mixture softens the outline by a pixel to each side, it does not move it.
    alpha = np.where(cv2.erode(solid, _disc(2)) > 0, 1.0, alpha)
    alpha = np.where(cv2.erode(solid, _disc(1)) > 0, np.maximum(alpha, 0.75), alpha)
    alpha = np.where(solid > 0, np.maximum(alpha, 0.5), np.minimum(alpha, 0.49))
    alpha = np.where(cv2.dilate(solid, _disc(1)) > 0, alpha, 0.0)
    near, _ = _colour_inside(photo, solid, 2)

    share = alpha[..., None]
    own = (photo - (1 - share) * background) / np.maximum(share, 0.05)
    sure = np.clip((share - 0.5) * 2, 0, 1)
    colours = np.where(share >= 1, photo, sure * own + (1 - sure) * near)
    return np.round(alpha * 255).astype(np.uint8), np.clip(np.round(colours), 0, 255).astype(np.uint8)


def _colour_inside(photo: np.ndarray, solid: np.ndarray, depth: int) -> tuple[np.ndarray, np.ndarray]:
    """Return at each pixel the garment's colour some pixels in from the outline, float32 (h, w, 3), and
    the standard deviation of what it is a mean of, float32 (h, w).
    """
    deep = cv2.erode(solid, _disc(depth))
    # A strap thinner than that keeps its middle line.
    distance = cv2.distanceTransform(solid, cv2.DIST_L2, 5)
    ridge = (solid > 0) & (distance >= cv2.dilate(distance, np.ones((3, 3))))
    thin = ridge & (cv2.dilate(deep, _disc(depth + 1)) == 0)
    inner = ((deep > 0) | thin).astype(np.float32)
    weight = cv2.GaussianBlur(inner, (0, 0), depth)
    near = cv2.GaussianBlur(photo * inner[..., None], (0, 0), depth)
    near = near / np.maximum(weight, 1e-6)[..., None]
    squares = cv2.GaussianBlur((photo**2).sum(-1) * inner, (0, 0), depth) / np.maximum(weight, 1e-6)
    spread = np.sqrt(np.maximum(squares - (near**2).sum(-1), 0))
    # Beyond the blur's reach: the colour of the nearest pixel within it.
    index = ndimage.distance_transform_edt(weight < 1e-3, return_distances=False, return_indices=True)
    return near[index[0], index[1]], spread[index[0], index[1]]


def _fit_background(lab: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Return the background, Lab float32 (h, w, 3): a quadratic surface through most of the pixels.

    Iteratively reweighted least squares: what is far from the surface (a hem that touches the border)
    loses its weight.
    """
    height, width = lab.shape[:2]
    y, x = np.nonzero(where)
    step = max(1, len(y) // 6000)
    y, x = y[::step], x[::step]
    basis = _basis(y / height - 0.5, x / width - 0.5)
    values = lab[y, x].astype(np.float64)
    # Begin at the commonest colour, not the mean of everything.
    bins = np.round(values / 4).astype(int)
    _, inverse, counts = np.unique(bins, axis=0, return_inverse=True, return_counts=True)
    centre = np.median(values[inverse.ravel() == np.argmax(counts)], axis=0)
    residual = np.linalg.norm(values - centre, axis=1)
    scale = 12.0
    for _ in range(8):
        weight = 1 / (1 + (residual / scale) ** 4)
        ridge = np.diag([0.0, *[1e-4 * len(y)] * (basis.shape[1] - 1)])
        weighted = basis * weight[:, None]
        solution = np.linalg.solve(
            basis.T @ weighted + ridge + 1e-9 * np.eye(len(ridge)), weighted.T @ values
        )
        residual = np.linalg.norm(values - basis @ solution, axis=1)
        scale = max(3.0, 0.7 * scale)
    rows = np.linspace(-0.5, 0.5, height, endpoint=False)[:, None]
    columns = np.linspace(-0.5, 0.5, width, endpoint=False)[None, :]
    yy, xx = np.broadcast_arrays(rows, columns)
    surface = np.zeros((height, width, 3), np.float32)
    for term, coefficients in zip(
        (np.ones_like(yy), xx, yy, xx * xx, xx * yy, yy * yy), solution, strict=True
    ):
        surface += term[..., None].astype(np.float32) * coefficients.astype(np.float32)
    return surface


def _basis(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)


def _difference(lab: np.ndarray, background: np.ndarray) -> np.ndarray:
    return np.linalg.norm(lab - background, axis=-1)


def _roll_from_border(passable: np.ndarray, radius: int) -> np.ndarray:
    """Return what a disc reaches that rolls from the border over passable ground, bool (h, w)."""
    # The ground outside the picture is passable too, so that a garment at one side does not cut it off.
    padded = np.pad(passable, radius + 2, constant_values=True).astype(np.uint8)
    centres = cv2.erode(padded, _disc(radius), borderValue=1)
    _, labels = cv2.connectedComponents(centres, connectivity=4)
    reached = cv2.dilate((labels == labels[0, 0]).astype(np.uint8), _disc(radius))
    return reached[radius + 2 : -radius - 2, radius + 2 : -radius - 2].astype(bool)


def _joined_to(where: np.ndarray, seed: np.ndarray) -> np.ndarray:
    _, labels = cv2.connectedComponents((where | seed).astype(np.uint8), connectivity=4)
    touched = np.unique(labels[seed])
    return np.isin(labels, touched[touched > 0])


def _depth(outside: np.ndarray) -> np.ndarray:
    """Return each pixel's distance to the outside, pixels."""
    return cv2.distanceTransform((~outside).astype(np.uint8), cv2.DIST_L2, 5)


def _border(shape: tuple[int, ...]) -> np.ndarray:
    """Return the strip along the picture's border, 3 % wide, bool (h, w)."""
    strip = max(2, round(0.03 * min(shape)))
    border = np.ones(shape, bool)
    border[strip:-strip, strip:-strip] = False
    return border


def _frame_edge(shape: tuple[int, ...]) -> np.ndarray:
    edge = np.ones(shape, bool)
    edge[2:-2, 2:-2] = False
    return edge


def _pixels(lab: np.ndarray, share: float) -> int:
    """Return a share of the picture's longer side, pixels, at least 1."""
    return max(1, round(share * max(lab.shape[:2])))


def _disc(radius: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
