"""Paints what the old garment hid and the new one does not: skin, background, trousers."""

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial.distance import cdist

from worker.geometric.body import CLOTHES, SIDES, Body
from worker.geometric.paint import diffuse, farthest, grain, textured
from worker.geometric.place import Placement, shoulder_line, stub
from worker.images.maps import Part

_SKIN = (Part.NECK, Part.LEFT_ARM, Part.RIGHT_ARM)
RIM, SKIN_RIM = 7, 15
"""How far beyond the old garment's label its colours reach, over anything and over skin, as a disc's size."""
_REDDER = (0.85, 1.05, 1.15)
"""Light that goes through skin comes out red: shaded skin is redder too; exponents of R, G, B."""
_THROAT_SAYS, _LIMB_SAYS = 0.2, 0.4  # how far the light on seen skin is carried on, in units of Body.size
_LONG = 1.8  # how far down the arm a long sleeve reaches at least, 2 at the wrist
_STAINED = (70.0, 12.0)  # in lightness and in hue, 8-bit CIELAB: what differs more from painted skin is none
_HUE = 0.12  # most that a seen limb's hue changes the tone, log ratio
LOWER = (Part.PANTS, Part.SKIRT, Part.LEFT_LEG, Part.RIGHT_LEG)


@dataclass(frozen=True)
class Plate:
    """The person without the old garment.

    Attributes:
        picture: float32 (1024, 768, 3).
        taken: bool (1024, 768), where it was painted.
        arms: bool (1024, 768), where bare arms are, seen or painted.
        ground: bool (1024, 768), where that is background, of which nothing was to be seen.
    """

    picture: np.ndarray
    taken: np.ndarray
    arms: np.ndarray
    ground: np.ndarray


def plate(
    image: np.ndarray,
    parse: np.ndarray,
    person: np.ndarray,
    body: Body,
    placement: Placement,
    light: np.ndarray,
    hands: np.ndarray,
    rng: np.random.Generator,
) -> Plate:
    """Return the person without the old garment.

    Args:
        image: RGB uint8 (1024, 768, 3).
        parse: CIHP labels, uint8 (1024, 768).
        person: person mask, uint8 (1024, 768).
        body: the body's measures.
        placement: where the new garment will be.
        light: the photograph's light on what is worn, float32 (1024, 768), see `shade.light`.
        hands: where hands are, bool (1024, 768).
        rng: draws the grain of painted surfaces.
    """
    picture = image.astype(np.float32)
    known_ground = _inner((parse == 0) & (person < 128), 33)  # what is background for certain
    behind = diffuse(picture, known_ground) if known_ground.any() else None
    taken = _taken_off(picture, parse, known_ground, behind)
    arms, trunk = bare_shape(parse, body, placement.cuff, sleeveless=not placement.sleeves)
    if placement.sleeves:
        # A garment with sleeves lies on the shoulders: beside its collar no skin shows.
        columns = np.arange(parse.shape[1]) + 0.5
        margin = 0.04 * body.size
        first, last = placement.neckline[0, 0] - margin, placement.neckline[-1, 0] + margin
        trunk[:, (columns < first) | (columns > last)] = 0
    below = np.arange(parse.shape[0])[:, None] + 0.5 > placement.hem[None, :]
    shape = (arms > 0) | ((trunk > 0) & ~below)
    skin_area = taken & shape
    # Below the hem, what is worn there goes on if it is nearer than the background.
    lower = np.isin(parse, LOWER)
    lower_area = taken & below & ~skin_area & _nearer(lower, parse == 0) & (lower | _hips(body, parse.shape))
    ground_area = taken & ~lower_area & ~np.isin(parse, _SKIN)

    if behind is not None:
        picture[ground_area] = textured(picture, known_ground, ground_area, behind)
    if skin_area.any():
        # Painted skin passes into real skin without an edge.
        bare = np.isin(parse, _SKIN)
        over = _shadow(body)
        # Only along its own arm: a hand before the chest stays as it is.
        own = (skin_area | (parse == Part.NECK) | grown(arms > 0, 9)) & ~hands
        reach = grown(skin_area, 2 * over + 1) & own
        share = np.where(bare, cv2.GaussianBlur(reach.astype(np.float32), (0, 0), 0.4 * over), 0)
        rim = cv2.GaussianBlur(shape.astype(np.float32), (0, 0), 1.2)
        skin = _skin(image, parse, body, light * _rounded(shape, body), rng)
        # Of a finger's rim only what shows the old garment's colour is painted.
        stained = _stained(image, skin, taken & bare)
        share = np.where(bare, np.maximum(share, stained), np.where(taken, rim, 0))[..., None]
        picture = share * skin + (1 - share) * picture
        taken |= share[..., 0] > 0.01
    if lower_area.any():
        picture[lower_area] = _lower_clothes(image, lower, lower_area)
    # A label's rim is beside the old garment: it was seen before.
    return Plate(picture, taken, arms > 0, ground_area & ~skin_area & np.isin(parse, CLOTHES))


def _hips(body: Body, shape: tuple[int, ...]) -> np.ndarray:
    """Return what lies between the trunk's sides, bool: trousers that a hanging sleeve hid end there."""
    columns = np.arange(shape[1])[None, :] + 0.5
    return np.asarray((columns > body.side_x["r"][:, None]) & (columns < body.side_x["l"][:, None]))


def _stained(image: np.ndarray, skin: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Return the bare pixels beside the old garment that have its colour in them, bool (h, w).

    Skin may be lit or shaded and keeps its hue. image: RGB uint8 (h, w, 3); skin: as it would be painted,
    float32 alike; where: bool (h, w), the pixels in question.
    """
    stained = where.copy()
    if where.any():
        seen, painted = (
            cv2.cvtColor(colours[where][None].astype(np.uint8), cv2.COLOR_RGB2LAB)[0].astype(np.float32)
            for colours in (image, skin)
        )
        off = np.abs(seen - painted)
        stained[where] = (off[:, 0] > _STAINED[0]) | (np.hypot(off[:, 1], off[:, 2]) > _STAINED[1])
    return stained


def _nearer(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return which pixels lie nearer to the first area than to the second, bool."""
    to_first = cv2.distanceTransform((~first).astype(np.uint8), cv2.DIST_L2, 3)
    to_second = cv2.distanceTransform((~second).astype(np.uint8), cv2.DIST_L2, 3)
    return np.asarray(to_first < to_second)


def _taken_off(
    picture: np.ndarray, parse: np.ndarray, ground: np.ndarray, behind: np.ndarray | None
) -> np.ndarray:
    """Return where the old garment, its soft rim, and what the labels missed of it are, bool (h, w).

    Args:
        picture: the photograph, float32 (h, w, 3).
        parse: CIHP labels, uint8 (h, w).
        ground: what is background for certain, bool (h, w).
        behind: the background, continued behind the person, float32 (h, w, 3); None where none is seen.
    """
    cloth = np.isin(parse, CLOTHES)
    background = parse == 0
    bare = np.isin(parse, (Part.NECK, Part.FACE))
    taken = cloth | (grown(cloth, 9) & background) | grown(cloth, RIM) | (grown(cloth, SKIN_RIM) & bare)
    # A label's edge is some pixels off: what is beside it and is not like the background goes too.
    if behind is not None:
        off = farthest(picture, behind)
        # Before a plain wall a faint trace of a white hem is seen.
        unlike = off > np.clip(6 * np.median(off[ground]), 4, 10)
        taken |= grown(cloth, 33) & background & unlike & ~grown(parse == Part.HAIR, 41)
    return np.asarray(taken)


def grown(area: np.ndarray, size: int) -> np.ndarray:
    """Return an area dilated by a disc of an odd size, bool."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    return np.asarray(cv2.dilate(area.astype(np.uint8), disc) > 0)


def bare_shape(
    parse: np.ndarray, body: Body, cuff: Mapping[str, float], *, sleeveless: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return the bare body's shape under an upper garment: arms and trunk, uint8 {0, 255} each.

    An arm that is behind the body, all or its forearm, is left out unless the new garment has no sleeves.
    """
    size = (parse.shape[0], parse.shape[1])
    inset = 0.2 * (body.shoulder["l"][0] - body.shoulder["r"][0]) / 2
    xs = np.linspace(body.shoulder["r"][0] + inset, body.shoulder["l"][0] - inset, 60)
    top = [(x, shoulder_line(body, "r" if x < body.neck[0] else "l", x) + 2) for x in xs]
    rows = np.arange(int(body.neck[1] + 0.25 * body.size), size[0], 8)
    right = [(float(body.side_x["r"][y]), float(y)) for y in rows]
    left = [(float(body.side_x["l"][y]), float(y)) for y in rows]
    trunk = _filled(np.array([*top, *left, *right[::-1]]), size)

    trunk |= _neck(parse == Part.FACE, body)
    arms = np.zeros(size, np.uint8)
    for side in SIDES:
        arm = body.arms[side]
        if arm is None and sleeveless:
            arm = stub(body, side)
        if arm is None or (arm.hidden and not sleeveless):
            continue
        # A long sleeve whose hand is not seen ends in no stump.
        whole = arm.to_hand is not None or cuff.get(side, 0.0) < _LONG
        arms |= arm.band(size, skin=True, first=0.12, last=2.0 if whole else _LONG)
        # The deltoid rounds the shoulder off between its top and the arm's outer side.
        radius = float(arm.bare_outer[1] + arm.bare_inner[1]) / 2
        middle = arm.centre[1] + arm.normal[1] * (arm.bare_outer[1] - radius)
        turn = np.linspace(0, 2 * np.pi, 40)
        round_part = middle + radius * np.column_stack([np.cos(turn), np.sin(turn)])
        inward = body.neck + (body.shoulder[side] - body.neck) * np.array([[0.55], [0.8]])
        slope = np.array([(x, shoulder_line(body, side, x) + 2) for x in inward[:, 0]])
        hull = cv2.convexHull(np.vstack([round_part, slope]).astype(np.float32))
        trunk |= _filled(hull[:, 0], size)
    # Where these shapes meet they make corners that no body has.
    whole = cv2.GaussianBlur(np.maximum(arms, trunk), (0, 0), 0.035 * body.size)
    return np.where(whole > 127, arms, 0).astype(np.uint8), np.where(whole > 127, 255, 0).astype(np.uint8)


def _neck(face: np.ndarray, body: Body) -> np.ndarray:
    """Return the neck from the face down to the shoulders, by proportions, uint8 {0, 255} (h, w)."""
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
    return _filled(np.array(outline), (face.shape[0], face.shape[1]))


def _filled(outline: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    area = np.zeros(size, np.uint8)
    cv2.fillPoly(area, [np.round(outline * 16).astype(np.int32)], 255, cv2.LINE_8, 4)
    return area


def _skin(
    image: np.ndarray, parse: np.ndarray, body: Body, light: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return skin painted over the whole canvas, float32 (h, w, 3), to be used where skin shows.

    A tone, shaded as round limbs, that meets the skin which is seen: what painted and real skin differ by
    there is carried on into the painted area (a membrane, as in Perez et al., "Poisson Image Editing",
    SIGGRAPH 2003, but of the colours' ratio).
    """
    picture = image.astype(np.float32)
    face, limbs = _seen_skin(image, parse, _shadow(body))
    if not (face | limbs).any():
        # Nothing bare is seen: a middle skin tone is the honest guess.
        return np.full((*parse.shape, 3), (205.0, 165.0, 140.0), np.float32)
    tone = _tone(picture, face, limbs)
    light = _roundness(parse.shape, body) * _relief(parse.shape, body) * light
    # The chin throws its shadow on the throat.
    from_face = cv2.distanceTransform((parse != Part.FACE).astype(np.uint8), cv2.DIST_L2, 5) / body.size
    light = light * (1 - 0.2 * np.exp(-from_face / 0.12))
    painted = tone * light[..., None] ** np.array(_REDDER, np.float32)
    if limbs.any():
        ratio = np.log((picture + 4) / (painted + 4))
        # Far from skin that is seen the tone holds; the face's own light is not the arms'.
        carried = cv2.GaussianBlur(diffuse(ratio, limbs), (0, 0), 6)
        # A throat lies in the chin's shadow, which ends sooner than the light on an arm changes.
        throat = limbs & (parse == Part.NECK)
        away = np.minimum(_away(throat) / _THROAT_SAYS, _away(limbs & ~throat) / _LIMB_SAYS) / body.size
        # Light may differ much, hue hardly.
        lighter = carried.mean(2, keepdims=True)
        carried = np.clip(lighter, -0.5, 0.5) + np.clip(carried - lighter, -_HUE, _HUE)
        painted = painted * np.exp(carried * np.exp(-away)[..., None])
    return np.clip(painted + 0.6 * grain(picture, face | limbs, rng, parse.shape), 0, 255)


def _away(area: np.ndarray) -> np.ndarray:
    """Return each pixel's distance from an area, pixels; infinite where there is none."""
    if not area.any():
        return np.full(area.shape, np.inf, np.float32)
    return np.asarray(cv2.distanceTransform((~area).astype(np.uint8), cv2.DIST_L2, 5))


def _shadow(body: Body) -> int:
    """Return how far a garment's shadow falls on the skin beside it, pixels."""
    return max(4, round(0.08 * body.size))


def _seen_skin(image: np.ndarray, parse: np.ndarray, shadow: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where the lit face and other bare skin are seen, bool each."""
    # Legs may be in tights, and what is next to the garment lies in its shadow: of a short neck all of it.
    cloth = np.isin(parse, CLOTHES)
    shaded = np.where(parse == Part.NECK, grown(cloth, shadow // 2 * 2 + 1), grown(cloth, 2 * shadow + 1))
    shown = _inner(np.isin(parse, _SKIN), 9) & ~shaded
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float32)
    face = _inner(parse == Part.FACE, 9)
    # Glasses, brows and the deepest shadows are in the face too: skin is the warm, lighter part of it.
    warm = face & (lab[..., 1] > 130) & (lab[..., 2] > 130)
    face = warm if warm.sum() > 100 else face
    if face.any():
        low, high = np.quantile(lab[..., 0][face], (0.5, 0.95))
        face &= (lab[..., 0] >= low) & (lab[..., 0] <= high)
    if face.sum() > 50:
        # Gloves, straps and shadows may be labelled as skin: skin is what is like the face.
        middle = np.median(lab[face], axis=0)
        for channel, most in ((0, 60), (1, 12), (2, 12)):
            shown &= np.abs(lab[..., channel] - middle[channel]) < most
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(shown.astype(np.uint8))
    return face, shown & (stats[:, cv2.CC_STAT_AREA] > shadow**2)[pieces]


def _tone(picture: np.ndarray, face: np.ndarray, limbs: np.ndarray) -> np.ndarray:
    """Return the skin's colour in the light, float32 (3,): the limbs', or the face's where they are few."""
    samples = [
        (np.quantile(picture[area], 0.7 if area is limbs else 0.6, axis=0), weight)
        for area, weight in ((limbs, min(0.7, limbs.sum() / 8000)), (face, 0.5))
        if area.sum() > 50
    ]
    if not samples:
        return np.asarray(picture[face | limbs].mean(0), np.float32)
    weights = np.array([weight for _, weight in samples])
    return np.asarray(weights @ np.array([colour for colour, _ in samples]) / weights.sum(), np.float32)


def _roundness(shape: tuple[int, ...], body: Body) -> np.ndarray:
    """Return the light on round limbs, darker towards their rims; 1 on the trunk, float32 (h, w)."""
    light = np.ones(shape[:2], np.float32)
    for side in SIDES:
        arm = body.arms[side]
        if arm is None:
            continue
        y, x = np.nonzero(arm.band((shape[0], shape[1]), skin=True))
        points = np.column_stack([x, y]) + 0.5
        # Distances to the bones' stations, from one station in two: they lie closer than the arm is wide.
        nearest = cdist(points, arm.centre[::2]).argmin(1) * 2
        across = np.einsum("ij,ij->i", points - arm.centre[nearest], arm.normal[nearest])
        outer, inner = arm.bare_outer[nearest], arm.bare_inner[nearest]
        place = (across - (outer - inner) / 2) / np.maximum((outer + inner) / 2, 1)
        curve = 0.72 + 0.34 * np.sqrt(1 - np.clip(np.abs(place), 0, 1) ** 2)
        # The side that faces the trunk gets less of the sky.
        curve -= 0.07 * np.clip(-place, 0, 1)
        # The shoulder's cap passes into the trunk.
        cap = np.clip((arm.at[nearest] - 0.1) / 0.35, 0, 1)
        light[y, x] = 1 + (curve - 1) * cap
    return np.asarray(cv2.GaussianBlur(light, (0, 0), 4))


def _rounded(shape: np.ndarray, body: Body) -> np.ndarray:
    """Return the light on a bare body, bool (h, w), as it turns away towards its outline, float32 (h, w)."""
    inwards = cv2.distanceTransform(shape.astype(np.uint8), cv2.DIST_L2, 5) / body.size
    return np.asarray(1 - 0.12 * np.exp(-inwards / 0.06), np.float32)


def _relief(shape: tuple[int, ...], body: Body) -> np.ndarray:
    """Return the light on neck and collarbones, 1 elsewhere, float32 (h, w).

    A neck is a column, darker towards its sides; it ends in a hollow, from which the collarbones rise to the
    shoulders, each a lit ridge over a shaded furrow.
    """
    first, last = (round(float(np.clip(body.neck[1] + end * body.size, 0, shape[0]))) for end in (-0.8, 0.4))
    light = np.ones(shape[:2], np.float32)
    y, x = np.mgrid[first:last, : shape[1]].astype(np.float32) + 0.5
    x, y = (x - body.neck[0]) / body.size, (y - body.neck[1]) / body.size
    column = np.clip(-y / 0.1, 0, 1) * np.clip(np.abs(x) / 0.24, 0, 1) ** 2
    hollow = np.exp(-((x / 0.045) ** 2) - ((y - 0.07) / 0.035) ** 2)
    here = 1 - 0.2 * column - 0.07 * hollow
    for side in SIDES:
        end = (body.shoulder[side] - body.neck) / body.size * 0.82 - [0.0, 0.04]
        begin = np.array([0.12 * end[0], 0.09])
        along = (x - begin[0]) / (end[0] - begin[0])
        below = y - (begin[1] + (end[1] - begin[1]) * along)
        strength = np.clip(along / 0.12, 0, 1) * np.clip((1 - along) / 0.5, 0, 1)
        ridge, furrow = np.exp(-((below / 0.022) ** 2)), np.exp(-(((below - 0.045) / 0.035) ** 2))
        here += strength * (0.045 * ridge - 0.05 * furrow)
    light[first:last] = here
    return light


def _inner(area: np.ndarray, size: int) -> np.ndarray:
    return np.asarray(cv2.erode(area.astype(np.uint8), np.ones((size, size), np.uint8)) > 0)


def _lower_clothes(image: np.ndarray, lower: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return what is worn below, continued upwards by its mirror image to the wanted pixels, float32 (n, 3).

    image: RGB uint8 (h, w, 3); lower, wanted: bool (h, w), where it is seen and where it is to be.
    """
    picture = image.astype(np.float32)
    if not lower.any():
        return picture[wanted]
    # Its rim beside the old garment lies in shadow.
    inner = _inner(lower, 17)
    known = (inner if inner.any() else lower) & ~wanted
    return textured(picture, known, wanted, diffuse(picture, known)) if known.any() else picture[wanted]
