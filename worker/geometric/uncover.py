"""Paints what the old garment hid and the new one does not: skin, background, trousers."""

import cv2
import numpy as np

from worker.geometric.body import CLOTHES, SIDES, Body
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
    cloth = np.isin(parse, CLOTHES)
    taken = taken_off(parse, person)
    arms, trunk = bare_shape(parse.shape, body)
    below = (np.arange(parse.shape[0]) + 0.5 > placement.hem)[:, None]
    skin_area = taken & ((arms > 0) | ((trunk > 0) & ~below))
    lower_area = taken & (trunk > 0) & below & ~skin_area
    ground_area = taken & ~skin_area & ~lower_area

    picture = image.astype(np.float32)
    known_ground = (parse == 0) & (person < 128)
    known_ground = cv2.erode(known_ground.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    if ground_area.any() and known_ground.any():
        filled = diffuse(picture, known_ground)
        picture[ground_area] = filled[ground_area] + _grain(picture, known_ground, rng, parse.shape)[ground_area]
    if skin_area.any():
        picture[skin_area] = _skin(image, parse, cloth, body, rng)[skin_area]
    if lower_area.any():
        picture[lower_area] = _trousers(image, parse, placement)[lower_area]
    return picture, taken, skin_area


def taken_off(parse: np.ndarray, person: np.ndarray) -> np.ndarray:
    """Return where the old garment and its soft rim are, bool."""
    cloth = np.isin(parse, CLOTHES).astype(np.uint8)
    wide = cv2.dilate(cloth, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))) > 0
    narrow = cv2.dilate(cloth, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))) > 0
    background = parse == 0
    kept = np.isin(parse, (Part.HAIR, Part.FACE, Part.HAT, Part.SUNGLASSES))
    return (cloth > 0) | (wide & background) | (narrow & ~kept)


def bare_shape(shape: tuple[int, ...], body: Body) -> tuple[np.ndarray, np.ndarray]:
    """Return the bare body's shape under an upper garment: arms and trunk, uint8 {0, 255} each."""
    size = (shape[0], shape[1])
    arms = np.zeros(size, np.uint8)
    for side in SIDES:
        arm = body.arms[side]
        if arm is not None:
            arms |= arm.band(size, skin=True)
    xs = np.linspace(body.shoulder["r"][0], body.shoulder["l"][0], 60)
    top = [(x, shoulder_line(body, "r" if x < body.neck[0] else "l", x) + 2) for x in xs]
    # The deltoid rounds the shoulder off between its top and the arm's outer side.
    rows = np.arange(int(body.neck[1] + 0.25 * body.size), size[0], 8)
    right = [(float(body.side_x["r"][y]), float(y)) for y in rows]
    left = [(float(body.side_x["l"][y]), float(y)) for y in rows]
    outline = np.array([*top, *left, *right[::-1]])
    trunk = np.zeros(size, np.uint8)
    cv2.fillPoly(trunk, [np.round(outline * 16).astype(np.int32)], 255, cv2.LINE_8, 4)
    for side in SIDES:
        cv2.circle(
            arms,
            tuple(int(v) for v in body.shoulder[side]),
            int(0.14 * body.size),
            255,
            -1,
        )
    return arms, trunk


def diffuse(picture: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return the picture, float32 (h, w, c), with the unknown pixels filled smoothly from the known ones.

    Pull and push over a pyramid of weighted means (Gortler et al., "The Lumigraph", SIGGRAPH 1996, 3.4).
    """
    weight = known.astype(np.float32)
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


def _grain(
    picture: np.ndarray, known: np.ndarray, rng: np.random.Generator, shape: tuple[int, ...]
) -> np.ndarray:
    """Return noise as strong as the known area's own, float32 (h, w, 1)."""
    grey = picture.mean(2)
    high = grey - cv2.GaussianBlur(grey, (0, 0), 1.5)
    strength = min(4.0, 1.48 * float(np.median(np.abs(high[known]))))
    noise = rng.standard_normal(shape[:2]).astype(np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), 0.8)
    return np.asarray(noise / max(float(noise.std()), 1e-6) * strength)[..., None]


def _skin(
    image: np.ndarray, parse: np.ndarray, cloth: np.ndarray, body: Body, rng: np.random.Generator
) -> np.ndarray:
    """Return skin painted over the whole canvas, float32 (h, w, 3), to be used where skin shows."""
    shown = np.isin(parse, _SKIN)
    inner = cv2.erode(shown.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    face = cv2.erode((parse == Part.FACE).astype(np.uint8), np.ones((25, 25), np.uint8)) > 0
    if inner.sum() < 400:
        inner = inner | face
    if not inner.any():
        inner = shown | (parse == Part.FACE)
    if not inner.any():
        # Nothing bare is seen: a middle skin tone is the honest guess.
        return np.full((*parse.shape, 3), (205.0, 165.0, 140.0), np.float32)
    picture = image.astype(np.float32)
    tone = np.median(picture[inner], axis=0)
    # Hair and seams within the skin labels are not skin.
    plain = inner & (np.abs(picture - tone).sum(2) < 110)
    if plain.sum() > 200:
        inner = plain
    near = diffuse(picture, inner)
    near = cv2.GaussianBlur(near, (0, 0), 12)
    colour = 0.55 * near + 0.45 * tone
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
        shade = np.where(band > 0, 0.80 + 0.22 * np.sqrt(1 - (1 - roundness) ** 2), shade)
    shade = cv2.GaussianBlur(shade.astype(np.float32), (0, 0), 4)
    grain = _grain(picture, inner, rng, parse.shape)
    return np.clip(colour * shade[..., None] + grain, 0, 255)


def _trousers(image: np.ndarray, parse: np.ndarray, placement: Placement) -> np.ndarray:
    """Return what is worn below, continued upwards by its mirror image, float32 (h, w, 3)."""
    lower = np.isin(parse, _LOWER)
    lower = cv2.erode(lower.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    return diffuse(image.astype(np.float32), lower) if lower.any() else image.astype(np.float32)
