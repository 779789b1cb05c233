"""Splits one class of bare skin into face, neck, arms and legs with the pose."""

from dataclasses import dataclass

import cv2
import numpy as np

from worker.parsing.body import Body, distance
from worker.parsing.classes import Class

FAR = 2.2
"""Skin farther than this from every part (in units of the part's radius) belongs to none for sure."""

CLOSE_CALL = 0.85
"""Two parts whose distances have a higher ratio than this are hard to tell apart ..."""

APART = 0.8
"""... unless the pixel is nearer than this to one of them."""


@dataclass(frozen=True)
class Split:
    """The parts of the skin.

    Attributes:
        classes: uint8, the map's shape: `Class.FACE`, `NECK`, `ARM` or `LEG` where there is skin.
        unsure: the share of skin whose part is a guess, 0..1.
        face: how much of the face's ellipse is skin, 0..1.
    """

    classes: np.ndarray
    unsure: float
    face: float


def split(skin: np.ndarray, body: Body, scale: float, offset: tuple[float, float]) -> Split:
    """Tell the parts of bare skin apart.

    Args:
        skin: bool (h, w).
        body: the person's measures on the canvas.
        scale, offset: canvas point p lies on the map at scale * p + offset.

    A pixel belongs to the part it is nearest to, in units of that part's own radius: the face's ellipse,
    the throat and chest between the arms, the bones of arms and of legs. Below the hips what is no arm is
    leg. Islands cut off from the rest of their part go to the part that they touch.
    """
    rows, columns = skin.shape
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    x, y = (x + 0.5 - offset[0]) / scale, (y + 0.5 - offset[1]) / scale

    up, across = body.face_up, np.array([-body.face_up[1], body.face_up[0]])
    dx, dy = x - body.face_centre[0], y - body.face_centre[1]
    above = (dx * up[0] + dy * up[1]) / body.head
    beside = (dx * across[0] + dy * across[1]) / body.head
    # Nothing but hair and hats is above the face, and ears are beside it.
    radius = np.where(above > 0, 0.75, 0.54)
    face = np.hypot(beside * body.head / body.face_width / 1.1, above / radius)

    down = (body.hips - body.neck) / body.torso
    along = ((x - body.neck[0]) * down[0] + (y - body.neck[1]) * down[1]) / body.torso
    lateral = (x - body.neck[0]) * down[1] - (y - body.neck[1]) * down[0]
    half_width = 0.42 * max(float(np.linalg.norm(body.shoulders[0] - body.shoulders[1])), 0.9 * body.head)
    # From the chin to the hips, as wide as the neck above the shoulders and as the chest below.
    width = np.where(along < 0, np.minimum(half_width, 0.38 * body.head), half_width)
    neck = np.abs(lateral) / width
    neck = np.maximum(neck, np.maximum(along - 0.9, 0) * 6)
    neck[above > -0.45] = 9

    far = np.full(skin.shape, 9, np.float32)
    arm = np.minimum(*(far if limb is None else distance(limb, x, y)[0] for limb in body.arms))
    for hand in body.hands:
        if hand is not None:
            arm = np.minimum(arm, np.hypot(x - hand[0], y - hand[1]) / (0.42 * body.head))
    leg = np.minimum(*(distance(limb, x, y)[0] for limb in body.legs))
    # The pose's legs end where the picture does: below the hips what is no arm is a leg.
    leg = np.where(along > 1.15, np.minimum(leg, 1.1), np.where(along < 0.85, 9, leg))

    distances = np.stack([face, neck, arm, leg])
    ordered = np.sort(distances, 0)
    guess = (ordered[0] > FAR) | ((ordered[0] > APART) & (ordered[0] > CLOSE_CALL * ordered[1]))
    # A few pixels either way between chin and throat are no error.
    guess &= ~((face < 1.3) & (neck < 1.3))
    kinds = np.array([Class.FACE, Class.NECK, Class.ARM, Class.LEG], np.uint8)
    classes = _whole_hands(kinds[distances.argmin(0)], skin)
    classes = _joined(classes, skin, kinds)
    area = max(int(skin.sum()), 1)
    return Split(classes, float((guess & skin).sum() / area), float(skin[face < 0.7].mean()))


def _whole_hands(classes: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """Return the classes with what looks like a bit of leg at an arm's end, before the thigh, as its hand."""
    whole = classes.copy()
    # Bracelets, watches and rings part a hand from its arm.
    near = cv2.dilate(skin.astype(np.uint8), np.ones((9, 9), np.uint8))
    count, islands = cv2.connectedComponents(near)
    is_arm, is_leg = (
        np.bincount(islands[skin & (classes == kind)], minlength=count) for kind in (Class.ARM, Class.LEG)
    )
    hands = (is_leg > 0) & (is_leg < is_arm)
    whole[hands[islands] & (classes == Class.LEG)] = Class.ARM
    return whole


def _joined(classes: np.ndarray, skin: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """Return the classes with small islands given to the part that they touch most."""
    joined = classes.copy()
    for kind in kinds:
        count, islands, stats, _ = cv2.connectedComponentsWithStats(
            (skin & (joined == kind)).astype(np.uint8)
        )
        if count <= 2:
            continue
        largest = stats[1:, cv2.CC_STAT_AREA].max()
        for island in range(1, count):
            if stats[island, cv2.CC_STAT_AREA] > 0.15 * largest:
                continue
            here = islands == island
            ring = cv2.dilate(here.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool) & ~here & skin
            others = joined[ring & (joined != kind)]
            if len(others) > 0.1 * np.sqrt(here.sum()):
                joined[here] = np.bincount(others).argmax()
    return joined
