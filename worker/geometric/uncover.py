"""Paints what the old garment hid and the new one does not: skin, background, trousers."""

import cv2
import numpy as np

from worker.geometric.body import CLOTHES, SIDES, Body
from worker.geometric.paint import diffuse, grain, textured
from worker.geometric.place import Placement, shoulder_line
from worker.maps import Part

_SKIN = (Part.NECK, Part.LEFT_ARM, Part.RIGHT_ARM)
_LOWER = (Part.PANTS, Part.SKIRT, Part.LEFT_LEG, Part.RIGHT_LEG)


def plate(
    image: np.ndarray,
    parse: np.ndarray,
    person: np.ndarray,
    body: Body,
    placement: Placement,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the person without the old garment.

    Args:
        image: RGB uint8 (1024, 768, 3).
        parse: CIHP labels, uint8 (1024, 768).
        person: person mask, uint8 (1024, 768).
        body: the body's measures.
        placement: where the new garment will be.
        rng: draws the grain of painted surfaces.

    Returns:
        the picture, float32 (1024, 768, 3); where it was painted, bool; where that is skin, bool.
    """
    taken = taken_off(image, parse, person)
    arms, trunk = bare_shape(parse.shape, body, sleeveless=not placement.sleeves)
    below = np.arange(parse.shape[0])[:, None] + 0.5 > placement.hem[None, :]
    shape = (arms > 0) | ((trunk > 0) & ~below)
    skin_area = taken & shape
    # Below the hem, what is worn there goes on if it is nearer than the background.
    lower_area = taken & below & ~skin_area & _nearer(np.isin(parse, _LOWER), parse == 0)
    ground_area = taken & ~lower_area

    picture = image.astype(np.float32)
    known_ground = _ground(parse, person)
    if ground_area.any() and known_ground.any():
        picture[ground_area] = textured(picture, known_ground)[ground_area]
    if skin_area.any():
        # Painted skin passes into real skin without an edge.
        bare = np.isin(parse, _SKIN)
        share = np.where(bare, cv2.GaussianBlur(_grown(skin_area, 9).astype(np.float32), (0, 0), 4), 0)
        rim = cv2.GaussianBlur(shape.astype(np.float32), (0, 0), 1.2)
        share = np.where(bare, share, np.where(taken, rim, 0))[..., None]
        picture = share * _skin(image, parse, body, rng) + (1 - share) * picture
        taken |= share[..., 0] > 0.01
    if lower_area.any():
        picture[lower_area] = _lower_clothes(image, parse)[lower_area]
    return picture, taken, skin_area


def _nearer(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return which pixels lie nearer to the first area than to the second, bool."""
    to_first = cv2.distanceTransform((~first).astype(np.uint8), cv2.DIST_L2, 3)
    to_second = cv2.distanceTransform((~second).astype(np.uint8), cv2.DIST_L2, 3)
    return np.asarray(to_first < to_second)


def taken_off(image: np.ndarray, parse: np.ndarray, person: np.ndarray) -> np.ndarray:
    """Return where the old garment, its soft rim, and what the labels missed of it are, bool."""
    cloth = np.isin(parse, CLOTHES)
    background = parse == 0
    kept = np.isin(parse, (Part.HAIR, Part.FACE, Part.HAT, Part.SUNGLASSES))
    bare = np.isin(parse, _SKIN)
    taken = cloth | (_grown(cloth, 9) & background) | (_grown(cloth, 5) & ~kept) | (_grown(cloth, 13) & bare)
    # A label's edge is some pixels off: what is beside it and is not like the background goes too.
    ground = _ground(parse, person)
    if ground.any():
        behind = diffuse(image.astype(np.float32), ground)
        unlike = np.abs(image - behind).max(2) > 10
        taken |= _grown(cloth, 33) & background & unlike & ~_grown(kept, 41)
    return taken


def _ground(parse: np.ndarray, person: np.ndarray) -> np.ndarray:
    """Return what is background for certain, bool."""
    return _inner((parse == 0) & (person < 128), 33)


def _grown(area: np.ndarray, size: int) -> np.ndarray:
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    return np.asarray(cv2.dilate(area.astype(np.uint8), disc) > 0)


def bare_shape(shape: tuple[int, ...], body: Body, *, sleeveless: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the bare body's shape under an upper garment: arms and trunk, uint8 {0, 255} each.

    An arm whose forearm is behind the body is left out unless the new garment has no sleeves.
    """
    size = (shape[0], shape[1])
    inset = 0.2 * (body.shoulder["l"][0] - body.shoulder["r"][0]) / 2
    xs = np.linspace(body.shoulder["r"][0] + inset, body.shoulder["l"][0] - inset, 60)
    top = [(x, shoulder_line(body, "r" if x < body.neck[0] else "l", x) + 2) for x in xs]
    rows = np.arange(int(body.neck[1] + 0.25 * body.size), size[0], 8)
    right = [(float(body.side_x["r"][y]), float(y)) for y in rows]
    left = [(float(body.side_x["l"][y]), float(y)) for y in rows]
    trunk = _filled(np.array([*top, *left, *right[::-1]]), size)

    arms = np.zeros(size, np.uint8)
    for side in SIDES:
        arm = body.arms[side]
        if arm is None or (arm.hidden and not sleeveless):
            continue
        arms |= arm.band(size, skin=True, first=0.12)
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


def _filled(outline: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    area = np.zeros(size, np.uint8)
    cv2.fillPoly(area, [np.round(outline * 16).astype(np.int32)], 255, cv2.LINE_8, 4)
    return area


def _skin(image: np.ndarray, parse: np.ndarray, body: Body, rng: np.random.Generator) -> np.ndarray:
    """Return skin painted over the whole canvas, float32 (h, w, 3), to be used where skin shows."""
    picture = image.astype(np.float32)
    shown = _inner(np.isin(parse, (*_SKIN, Part.LEFT_LEG, Part.RIGHT_LEG)), 9)
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float32)
    face = _inner(parse == Part.FACE, 9)
    # Glasses, brows and the deepest shadows are in the face too: skin is the warm, lighter part of it.
    warm = face & (lab[..., 1] > 130) & (lab[..., 2] > 130)
    face = warm if warm.sum() > 100 else face
    if face.any():
        face &= lab[..., 0] >= np.quantile(lab[..., 0][face], 0.35)
    if face.sum() > 100:
        # Gloves and straps may be labelled as arms: skin is what is like the face.
        middle = np.median(lab[face], axis=0)
        shown &= (np.abs(lab[..., 1:] - middle[1:]).max(2) < 9) & (np.abs(lab[..., 0] - middle[0]) < 60)
    inner = shown | face
    if not inner.any():
        # Nothing bare is seen: a middle skin tone is the honest guess.
        return np.full((*parse.shape, 3), (205.0, 165.0, 140.0), np.float32)
    sample = shown if shown.sum() > 6000 else inner
    tone = np.quantile(picture[sample], 0.65, axis=0).astype(np.float32)
    # Brows, hair and deep shadows are not the skin's colour.
    plain = inner & (np.abs(picture - tone).sum(2) < 100)
    inner = plain if plain.sum() > 200 else inner
    near = diffuse(picture, inner)
    near = cv2.GaussianBlur(near, (0, 0), 12)
    colour = 0.5 * near + 0.5 * tone
    shade = np.ones(parse.shape, np.float32)
    for side in SIDES:
        arm = body.arms[side]
        if arm is None:
            continue
        band = arm.band(parse.shape, skin=True)
        # A round limb is darker towards its rims; the light is the old sleeve's, smoothed.
        depth = cv2.distanceTransform((band > 0).astype(np.uint8), cv2.DIST_L2, 5)
        half = max(float(arm.skin.mean()), 4.0)
        roundness = np.clip(depth / half, 0, 1)
        shade = np.where(band > 0, 0.74 + 0.29 * np.sqrt(1 - (1 - roundness) ** 2), shade)
    soft = np.asarray(cv2.GaussianBlur(shade.astype(np.float32), (0, 0), 4))
    return np.clip(colour * soft[..., None] + 0.6 * grain(picture, inner, rng, parse.shape), 0, 255)


def _inner(area: np.ndarray, size: int) -> np.ndarray:
    return np.asarray(cv2.erode(area.astype(np.uint8), np.ones((size, size), np.uint8)) > 0)


def _lower_clothes(image: np.ndarray, parse: np.ndarray) -> np.ndarray:
    """Return what is worn below, continued upwards by its mirror image, float32 (h, w, 3)."""
    lower = np.isin(parse, _LOWER)
    lower = cv2.erode(lower.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    return textured(image.astype(np.float32), lower) if lower.any() else image.astype(np.float32)
