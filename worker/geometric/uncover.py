"""Inpaints what the old garment hid and the new one does not: skin, background, trousers."""

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial.distance import cdist

from worker.geometric.body import CLOTHES, SIDES, Arm, Body
from worker.geometric.paint import diffuse, grain, textured
from worker.geometric.place import Placement, shoulder_line, stub
from worker.images.arrays import Canvas, Flags, Floats, Labels, Mask, Points
from worker.images.compare import max_difference
from worker.images.maps import Part, has_label
from worker.images.regions import without_small_regions
from worker.images.shapes import Window, window

_SKIN = (Part.NECK, Part.LEFT_ARM, Part.RIGHT_ARM)
RIM, SKIN_RIM = 7, 15
"""How far the old garment's colours extend beyond its label, over anything and over skin: sizes of a disc."""
_REDDER = (0.85, 1.05, 1.15)
"""Light scattered in skin comes out red: shaded skin is redder; exponents of R, G, B."""
_THROAT_REACH, _LIMB_REACH = 0.2, 0.4
"""Distances over which the light on visible skin is continued, in units of Body.size."""
_TO_ELBOW = 0.9  # position on the arm from which a sleeve covers the upper arm, 1 at the elbow
_CELL = 4
"""Side of the cells in which the light on visible skin is continued, pixels."""
_DARKEST = 1e-3
"""Least light on skin, of which a logarithm can be taken."""
_LONG = 1.8  # position on the arm that a long sleeve reaches at least, 2 at the wrist
_STAINED = (70.0, 12.0)
"""A pixel that differs more from inpainted skin, in lightness or in a and b (8-bit CIELAB), is not skin."""
_MAX_HUE_CHANGE = 0.12  # most that a visible limb's hue changes the tone, log ratio
LOWER = (Part.PANTS, Part.SKIRT, Part.LEFT_LEG, Part.RIGHT_LEG)


@dataclass(frozen=True)
class Plate:
    """The person without the old garment, a clean plate.

    Attributes:
        picture: float32 (1024, 768, 3).
        filled: bool (1024, 768), where it was inpainted.
        arms: bool (1024, 768), where bare arms are, visible or inpainted.
        guessed: bool (1024, 768), where the old garment was replaced by background, which was hidden.
    """

    picture: Floats
    filled: Flags
    arms: Flags
    guessed: Flags


@dataclass(frozen=True)
class _Areas:
    """What replaces the old garment, bool (1024, 768) each.

    Attributes:
        removed: the old garment with its rim.
        shape: the bare body.
        arms: the bare arms.
        skin: the part of `removed` that shows skin.
        lower: the part of `removed` that shows trousers or a skirt.
        ground: the part of `removed` that shows background, or is filled with it first.
    """

    removed: Flags
    shape: Flags
    arms: Flags
    skin: Flags
    lower: Flags
    ground: Flags


def plate(
    image: Canvas,
    parse: Labels,
    person: Mask,
    body: Body,
    placement: Placement,
    light: Floats,
    hands: Flags,
    rng: np.random.Generator,
) -> Plate:
    """Return the person without the old garment.

    Args:
        image: RGB uint8 (1024, 768, 3).
        parse: CIHP labels, uint8 (1024, 768).
        person: person mask, uint8 (1024, 768).
        body: the body's measures.
        placement: where the new garment will be.
        light: the photograph's light on the clothes, float32 (1024, 768), see `shade.light`.
        hands: where hands are, bool (1024, 768).
        rng: generates the grain of inpainted surfaces.
    """
    picture = image.astype(np.float32)
    known_ground = _eroded((parse == 0) & (person < 128), 33)  # certain background
    background = diffuse(picture, known_ground) if known_ground.any() else None
    removed = _removed(picture, parse, known_ground, background)
    areas = _areas(parse, removed, body, placement)
    filled = removed.copy()

    if background is not None:
        picture[areas.ground] = textured(picture, known_ground, areas.ground, background)
    if areas.skin.any():
        part = window(removed, 4 * _shadow(body))
        skin = np.zeros_like(picture)
        skin[part] = _skin(image, parse, body, light * _rounded(areas.shape, body), part, rng)
        share = _skin_alpha(image, parse, skin, areas, body, hands)
        picture[part] += share[part][..., None] * (skin[part] - picture[part])
        filled |= share > 0.01
    if areas.lower.any():
        picture[areas.lower] = _lower_clothes(image, has_label(parse, LOWER), areas.lower)
    # The rim beside the label is not guessed: there the background was visible before.
    guessed = areas.ground & ~areas.skin & has_label(parse, CLOTHES)
    return Plate(picture, filled, areas.arms, guessed)


def _areas(parse: Labels, removed: Flags, body: Body, placement: Placement) -> _Areas:
    arms, trunk = bare_shape(parse, body, placement.cuff, sleeveless=not placement.sleeves)
    if placement.sleeves:
        # A garment with sleeves covers the shoulders: no skin is visible beside its collar.
        columns = np.arange(parse.shape[1]) + 0.5
        margin = 0.04 * body.size
        first, last = placement.neckline[0, 0] - margin, placement.neckline[-1, 0] + margin
        trunk[:, (columns < first) | (columns > last)] = 0
    below = np.arange(parse.shape[0])[:, None] + 0.5 > placement.hem[None, :]
    shape = (arms > 0) | ((trunk > 0) & ~below)
    skin = removed & shape
    # Below the hem the lower garment is continued where it is nearer than the background.
    lower = has_label(parse, LOWER)
    lower_area = removed & below & ~skin & _nearer(lower, parse == 0) & (lower | _hips(body, parse.shape))
    ground = removed & ~lower_area & ~has_label(parse, _SKIN)
    return _Areas(removed, shape, arms > 0, skin, lower_area, ground)


def _skin_alpha(
    image: Canvas, parse: Labels, skin: Floats, areas: _Areas, body: Body, hands: Flags
) -> Floats:
    """Return the alpha of inpainted skin, float32 (h, w): it blends into real skin without an edge.

    skin: the inpainted skin, float32 (h, w, 3).
    """
    bare = has_label(parse, _SKIN)
    shadow = _shadow(body)
    # It blends into its own arm only: a hand in front of the chest is not changed.
    own = (areas.skin | (parse == Part.NECK) | dilated(areas.arms, 9)) & ~hands
    reach = dilated(areas.skin, 2 * shadow + 1) & own
    # At a finger's rim only pixels with the old garment's colour are inpainted.
    stained = _stained(image, skin, areas.removed & bare)
    part = window(areas.removed, 4 * shadow)
    share = cv2.GaussianBlur(reach[part].astype(np.float32), (0, 0), 0.4 * shadow)
    rim = cv2.GaussianBlur(areas.shape[part].astype(np.float32), (0, 0), 1.2)
    alpha = np.zeros(parse.shape, np.float32)
    alpha[part] = np.where(
        bare[part], np.maximum(share, stained[part]), np.where(areas.removed[part], rim, 0)
    )
    return alpha


def _hips(body: Body, shape: tuple[int, ...]) -> Flags:
    """Return the area between the trunk's sides, bool: trousers behind a hanging sleeve end there."""
    columns = np.arange(shape[1])[None, :] + 0.5
    return np.asarray((columns > body.side_x["r"][:, None]) & (columns < body.side_x["l"][:, None]))


def _stained(image: Canvas, skin: Floats, where: Flags) -> Flags:
    """Return the bare pixels beside the old garment whose colour is mixed with the garment's, bool (h, w).

    Light and shadow change skin's lightness but not its hue.

    Args:
        image: RGB uint8 (h, w, 3).
        skin: the inpainted skin, float32 (h, w, 3).
        where: bool (h, w), the pixels to check.
    """
    stained = where.copy()
    if where.any():
        photographed, inpainted = (
            cv2.cvtColor(colours[where][None].astype(np.uint8), cv2.COLOR_RGB2LAB)[0].astype(np.float32)
            for colours in (image, skin)
        )
        off = np.abs(photographed - inpainted)
        stained[where] = (off[:, 0] > _STAINED[0]) | (np.hypot(off[:, 1], off[:, 2]) > _STAINED[1])
    return stained


def _nearer(first: Flags, second: Flags) -> Flags:
    """Return which pixels are nearer to the first area than to the second, bool."""
    to_first = cv2.distanceTransform((~first).astype(np.uint8), cv2.DIST_L2, 3)
    to_second = cv2.distanceTransform((~second).astype(np.uint8), cv2.DIST_L2, 3)
    return np.asarray(to_first < to_second)


def _removed(picture: Floats, parse: Labels, ground: Flags, background: Floats | None) -> Flags:
    """Return the old garment, its blurred rim, and the parts of it that the labels missed, bool (h, w).

    Args:
        picture: the photograph, float32 (h, w, 3).
        parse: CIHP labels, uint8 (h, w).
        ground: the certain background, bool (h, w).
        background: the background, continued behind the person, float32 (h, w, 3); None if none is visible.
    """
    cloth = has_label(parse, CLOTHES)
    unlabelled = parse == 0
    bare = has_label(parse, (Part.NECK, Part.FACE))
    removed = (
        cloth | (dilated(cloth, 9) & unlabelled) | dilated(cloth, RIM) | (dilated(cloth, SKIN_RIM) & bare)
    )
    # A label's edge is inaccurate by a few pixels: pixels beside it that differ from the background are
    # removed too.
    if background is not None:
        off = max_difference(picture, background)
        # In front of a plain wall even a faint trace of a white hem is visible.
        unlike = off > np.clip(6 * np.median(off[ground]), 4, 10)
        removed |= dilated(cloth, 33) & unlabelled & unlike & ~dilated(parse == Part.HAIR, 41)
    return np.asarray(removed)


def dilated(area: Flags, size: int) -> Flags:
    """Return an area dilated by a disc of an odd size, bool."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    part = window(area, size)
    grown = np.zeros_like(area)
    if area.any():
        grown[part] = cv2.dilate(area[part].astype(np.uint8), disc) > 0
    return grown


def bare_shape(
    parse: Labels, body: Body, cuff: Mapping[str, float], *, sleeveless: bool
) -> tuple[Mask, Mask]:
    """Return the bare body's shape under an upper garment: arms and trunk, uint8 {0, 255} each.

    An arm whose forearm is hidden behind the body ends at the elbow; where the new sleeve reaches there, it
    is left out.
    """
    size = (parse.shape[0], parse.shape[1])
    trunk = _trunk(body, size) | _neck(parse == Part.FACE, body)
    arms = np.zeros(size, np.uint8)
    for side in SIDES:
        arm = body.arms[side]
        if arm is None and sleeveless:
            arm = stub(body, side)
        if arm is None or (arm.hidden and cuff.get(side, 0.0) >= _TO_ELBOW):
            continue
        # At a long sleeve without a visible hand the arm ends inside the sleeve.
        whole = arm.to_hand is not None or cuff.get(side, 0.0) < _LONG
        arms |= arm.band(size, skin=True, first=0.12, last=2.0 if whole else _LONG)
        trunk |= _deltoid(arm, body, side, size)
    # Where these shapes meet there are corners, which a body does not have.
    sigma = 0.035 * body.size
    both = np.maximum(arms, trunk)
    part = window(both > 0, 4 * sigma)
    inside = np.zeros(size, np.bool_)
    if both.any():
        inside[part] = cv2.GaussianBlur(both[part], (0, 0), sigma) > 127
    return np.where(inside, arms, 0).astype(np.uint8), np.where(inside, 255, 0).astype(np.uint8)


def _trunk(body: Body, size: tuple[int, int]) -> Mask:
    """Return the trunk between shoulders and sides, uint8 {0, 255} (h, w)."""
    inset = 0.2 * (body.shoulder["l"][0] - body.shoulder["r"][0]) / 2
    xs = np.linspace(body.shoulder["r"][0] + inset, body.shoulder["l"][0] - inset, 60)
    top = [(x, shoulder_line(body, "r" if x < body.neck[0] else "l", x) + 2) for x in xs]
    rows = np.arange(int(body.neck[1] + 0.25 * body.size), size[0], 8)
    right = [(float(body.side_x["r"][y]), float(y)) for y in rows]
    left = [(float(body.side_x["l"][y]), float(y)) for y in rows]
    return _polygon(np.array([*top, *left, *right[::-1]]), size)


def _deltoid(arm: Arm, body: Body, side: str, size: tuple[int, int]) -> Mask:
    """Return the round of the shoulder between its top and the arm's outer side, uint8 {0, 255} (h, w)."""
    radius = float(arm.bare_outer[1] + arm.bare_inner[1]) / 2
    middle = arm.centre[1] + arm.normal[1] * (arm.bare_outer[1] - radius)
    turn = np.linspace(0, 2 * np.pi, 40)
    circle = middle + radius * np.column_stack([np.cos(turn), np.sin(turn)])
    inward = body.neck + (body.shoulder[side] - body.neck) * np.array([[0.55], [0.8]])
    slope = np.array([(x, shoulder_line(body, side, x) + 2) for x in inward[:, 0]])
    hull = cv2.convexHull(np.vstack([circle, slope]).astype(np.float32))
    return _polygon(np.asarray(hull[:, 0]), size)


def _neck(face: Flags, body: Body) -> Mask:
    """Return the neck between face and shoulders by proportions, uint8 {0, 255} (h, w)."""
    rows = np.flatnonzero(face.any(1))
    if len(rows) == 0:
        return np.zeros(face.shape, np.uint8)
    top = rows[-1] - 0.12 * body.size
    columns = np.flatnonzero(face[max(int(top), 0)])
    middle = columns.mean() if len(columns) else body.neck[0]
    at_chin, at_shoulders = 0.17 * body.size, 0.24 * body.size
    base = (shoulder_line(body, "r", body.neck[0]) + body.neck[1]) / 2
    outline = [
        (middle - at_chin, top),
        (middle + at_chin, top),
        (body.neck[0] + at_shoulders, base),
        (body.neck[0] - at_shoulders, base),
    ]
    return _polygon(np.array(outline), (face.shape[0], face.shape[1]))


def _polygon(outline: Points, size: tuple[int, int]) -> Mask:
    """Return the inside of an outline (n, 2), uint8 {0, 255} of the size (h, w)."""
    area = np.zeros(size, np.uint8)
    cv2.fillPoly(area, [np.round(outline * 16).astype(np.int32)], 255, cv2.LINE_8, 4)
    return area


def _skin(
    image: Canvas, parse: Labels, body: Body, light: Floats, part: Window, rng: np.random.Generator
) -> Floats:
    """Return skin over a part of the canvas, float32 (h, w, 3), to be used where skin shows.

    A tone is shaded like round limbs and adapted to the visible skin: the ratio between real and inpainted
    skin there is continued into the inpainted area (a membrane, as in Perez et al., "Poisson Image
    Editing", SIGGRAPH 2003, but of the colours' ratio).
    """
    face, limbs = _visible_skin(image, parse, _shadow(body))
    height, width = light[part].shape
    if not (face | limbs).any():
        # Nothing bare is visible: a medium skin tone is used.
        return np.full((height, width, 3), (205.0, 165.0, 140.0), np.float32)
    tone = _tone(image, face, limbs)
    light = _roundness(parse.shape, body) * _relief(parse.shape, body) * light
    # The chin casts a shadow on the throat.
    from_face = _away(parse == Part.FACE) / body.size
    light = light * (1 - 0.2 * np.exp(-from_face / 0.12))
    redder = np.array(_REDDER, np.float32)
    inpainted = tone * np.exp(np.log(np.maximum(light[part], _DARKEST))[..., None] * redder)
    if limbs.any():
        shown = tone * np.maximum(light[limbs], _DARKEST)[:, None] ** redder
        ratio = np.log((image[limbs].astype(np.float32) + 4) / (shown + 4))
        inpainted *= np.ascontiguousarray(_continued(ratio, limbs, parse == Part.NECK, body)[part])
    noise = grain(image, face | limbs, rng, (height, width))
    return np.asarray(np.clip(inpainted + 0.6 * noise, 0, 255))


def _continued(ratio: Floats, limbs: Flags, neck: Flags, body: Body) -> Floats:
    """Return the factor that continues the light and hue of the visible limbs, float32 (h, w, 3).

    It changes slowly, and is computed in cells of _CELL pixels.

    Args:
        ratio: log of visible over inpainted skin, float32 (n, 3).
        limbs: the n pixels of the visible limbs, bool (h, w).
        neck: where the neck is, bool (h, w).
        body: the body's measures.
    """
    height, width = limbs.shape
    size = (width // _CELL, height // _CELL)
    whole = np.zeros((height, width, 3), np.float32)
    whole[limbs] = ratio
    share = cv2.resize(limbs.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    mean = cv2.resize(whole, size, interpolation=cv2.INTER_AREA) / np.maximum(share, 1e-6)[..., None]
    # Far from visible skin the tone is used; the light on the face differs from that on the arms.
    continued = cv2.GaussianBlur(diffuse(mean, share > 0), (0, 0), 6 / _CELL)
    # The throat is in the chin's shadow, which ends sooner than the light on an arm changes.
    throat = limbs & neck
    away = np.minimum(
        *(
            _away(cv2.resize(area.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0) * _CELL / reach
            for area, reach in ((throat, _THROAT_REACH), (limbs & ~throat, _LIMB_REACH))
        )
    )
    # Lightness may differ much, hue only little.
    lighter = continued.mean(2, keepdims=True)
    continued = np.clip(lighter, -0.5, 0.5) + np.clip(continued - lighter, -_MAX_HUE_CHANGE, _MAX_HUE_CHANGE)
    factor = np.exp(continued * np.exp(-away / body.size)[..., None]).astype(np.float32)
    return np.asarray(cv2.resize(factor, (width, height), interpolation=cv2.INTER_LINEAR))


def _away(area: Flags) -> Floats:
    """Return each pixel's distance from an area, pixels; infinite for an empty area."""
    if not area.any():
        return np.full(area.shape, np.inf, np.float32)
    return np.asarray(cv2.distanceTransform((~area).astype(np.uint8), cv2.DIST_L2, 5))


def _shadow(body: Body) -> int:
    """Return the width of a garment's shadow on the skin beside it, pixels."""
    return max(4, round(0.08 * body.size))


def _visible_skin(image: Canvas, parse: Labels, shadow: int) -> tuple[Flags, Flags]:
    """Return where the lit face and other bare skin are visible, bool each."""
    # Legs are not used, they may be in tights. Skin next to the garment is in its shadow: a short neck
    # completely.
    cloth = has_label(parse, CLOTHES)
    from_cloth = _away(cloth)
    shaded = from_cloth <= np.where(parse == Part.NECK, shadow // 2, shadow)
    visible = _eroded(has_label(parse, _SKIN), 9) & ~shaded
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    face = _eroded(parse == Part.FACE, 9)
    # The face label includes glasses, brows and deep shadows: skin is its warm, lighter part.
    colours = lab[face]
    warm = (colours[:, 1:] > 130).all(1)
    if warm.sum() > 100:
        face[face], colours = warm, colours[warm]
    if len(colours):
        low, high = np.quantile(colours[:, 0], (0.5, 0.95))
        lit = (colours[:, 0] >= low) & (colours[:, 0] <= high)
        face[face], colours = lit, colours[lit]
    if len(colours) > 50:
        # Gloves, straps and shadows may be labelled as skin: only colours like the face's are used.
        middle = np.median(colours, axis=0)
        visible[visible] = (np.abs(lab[visible] - middle) < (60, 12, 12)).all(1)
    return face, without_small_regions(np.asarray(visible), shadow**2 + 1)


def _tone(picture: Canvas, face: Flags, limbs: Flags) -> Floats:
    """Return the lit skin's colour, float32 (3,): of the limbs, and of the face where the limbs are small."""
    samples = [
        (np.quantile(picture[area], 0.7 if area is limbs else 0.6, axis=0), weight)
        for area, weight in ((limbs, min(0.7, limbs.sum() / 8000)), (face, 0.5))
        if area.sum() > 50
    ]
    if not samples:
        return np.asarray(picture[face | limbs].mean(0), np.float32)
    weights = np.array([weight for _, weight in samples])
    return np.asarray(weights @ np.array([colour for colour, _ in samples]) / weights.sum(), np.float32)


def _roundness(shape: tuple[int, ...], body: Body) -> Floats:
    """Return the light on round limbs, darker towards their rims; 1 on the trunk, float32 (h, w)."""
    light = np.ones(shape[:2], np.float32)
    for side in SIDES:
        arm = body.arms[side]
        if arm is None:
            continue
        y, x = np.nonzero(arm.band((shape[0], shape[1]), skin=True))
        points = np.column_stack([x, y]) + 0.5
        # Every second point of the centre line is enough: they are closer than the arm is wide.
        nearest = cdist(points, arm.centre[::2]).argmin(1) * 2
        across = np.einsum("ij,ij->i", points - arm.centre[nearest], arm.normal[nearest])
        outer, inner = arm.bare_outer[nearest], arm.bare_inner[nearest]
        offset = (across - (outer - inner) / 2) / np.maximum((outer + inner) / 2, 1)
        curve = 0.72 + 0.34 * np.sqrt(1 - np.clip(np.abs(offset), 0, 1) ** 2)
        # The side towards the trunk gets less ambient light.
        curve -= 0.07 * np.clip(-offset, 0, 1)
        # The shading fades out towards the shoulder, which belongs to the trunk.
        cap = np.clip((arm.position[nearest] - 0.1) / 0.35, 0, 1)
        light[y, x] = 1 + (curve - 1) * cap
    part = window(light != 1, 16)
    if light[part].size:
        light[part] = cv2.GaussianBlur(light[part], (0, 0), 4)
    return light


def _rounded(shape: Flags, body: Body) -> Floats:
    """Return the light on a bare body, float32 (h, w): darker towards the outline of its shape, bool."""
    inwards = cv2.distanceTransform(shape.astype(np.uint8), cv2.DIST_L2, 5) / body.size
    return np.asarray(1 - 0.12 * np.exp(-inwards / 0.06), np.float32)


def _relief(shape: tuple[int, ...], body: Body) -> Floats:
    """Return the light on neck and collarbones, 1 elsewhere, float32 (h, w).

    The neck is a column, darker towards its sides. It ends in a hollow, from which the collarbones rise to
    the shoulders, each a lit ridge above a shaded furrow.
    """
    first, last = (round(float(np.clip(body.neck[1] + end * body.size, 0, shape[0]))) for end in (-0.8, 0.4))
    light = np.ones(shape[:2], np.float32)
    # Python's numbers, unlike NumPy's, leave float32 arrays float32.
    neck_x, neck_y = body.neck.tolist()
    x = (np.arange(shape[1], dtype=np.float32)[None] + (0.5 - neck_x)) / body.size
    y = (np.arange(first, last, dtype=np.float32)[:, None] + (0.5 - neck_y)) / body.size
    column = np.clip(-y / 0.1, 0, 1) * np.clip(np.abs(x) / 0.24, 0, 1) ** 2
    hollow = np.exp(-((x / 0.045) ** 2) - ((y - 0.07) / 0.035) ** 2)
    relief = 1 - 0.2 * column - 0.07 * hollow
    for side in SIDES:
        end = ((body.shoulder[side] - body.neck) / body.size * 0.82 - [0.0, 0.04]).tolist()
        begin = (0.12 * end[0], 0.09)
        along = (x - begin[0]) / (end[0] - begin[0])
        below = y - (begin[1] + (end[1] - begin[1]) * along)
        strength = np.clip(along / 0.12, 0, 1) * np.clip((1 - along) / 0.5, 0, 1)
        ridge, furrow = np.exp(-((below / 0.022) ** 2)), np.exp(-(((below - 0.045) / 0.035) ** 2))
        relief += strength * (0.045 * ridge - 0.05 * furrow)
    light[first:last] = relief
    return light


def _eroded(area: Flags, size: int) -> Flags:
    """Return an area eroded by a square, bool."""
    return np.asarray(cv2.erode(area.astype(np.uint8), np.ones((size, size), np.uint8)) > 0)


def _lower_clothes(image: Canvas, lower: Flags, unknown: Flags) -> Floats:
    """Return the lower garment, continued upwards to the unknown pixels by mirroring, float32 (n, 3).

    image: RGB uint8 (h, w, 3); lower, unknown: bool (h, w), where it is visible and where it is inpainted.
    """
    picture = image.astype(np.float32)
    if not lower.any():
        return picture[unknown]
    # Its rim beside the old garment is in shadow.
    inner = _eroded(lower, 17)
    known = (inner if inner.any() else lower) & ~unknown
    return textured(picture, known, unknown, diffuse(picture, known)) if known.any() else picture[unknown]
