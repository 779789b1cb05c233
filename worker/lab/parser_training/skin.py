"""Splits the label of bare skin into face, neck, arms and legs by the pose."""

from dataclasses import dataclass

import cv2
import numpy as np

from worker.images.arrays import Flags, Floats, Labels
from worker.parsing.body import Body, distance
from worker.parsing.classes import Class

MAX_DISTANCE = 2.2
"""Skin farther than this from every part is ambiguous. Distances are in units of the part's radius."""

AMBIGUOUS_RATIO = 0.85
"""Skin is ambiguous when the ratio of its two smallest distances is higher than this ..."""

CERTAIN_DISTANCE = 0.8
"""... unless its smallest distance is below this."""

_UNREACHABLE = 9
"""The distance where a part cannot be: larger than every distance that matters."""

_CHIN = 1.3
"""Between chin and throat, within this distance of both, the border is arbitrary: not ambiguous."""

_FACE_CORE = 0.7
"""The distance up to which a face is skin for certain: forehead and cheeks without hair."""

# Lengths in head heights.
_FACE_ABOVE, _FACE_BELOW = 0.75, 0.54  # the face ellipse's radius above its centre (only hair) and below
_FACE_SIDE = 1.1  # its radius sideways, in face widths, with the ears
_THROAT_HALF_WIDTH = 0.38
_MIN_SHOULDER_WIDTH = 0.9  # of a person turned sideways
_HAND_RADIUS = 0.42
_NECK_START = 0.45  # how far below the face's centre the neck starts

_CHEST_HALF_WIDTH = 0.42  # in shoulder widths

# Positions along the trunk: 0 at the shoulders, 1 at the hips.
_NECK_END, _NECK_END_SLOPE = 0.9, 6  # below, the distance from the neck increases this fast
_LEGS_POSSIBLE, _LEGS_CERTAIN = 0.85, 1.15
_LEG_DISTANCE = 1.1  # the largest distance from a leg below _LEGS_CERTAIN

_BRACELET = np.ones((9, 9), np.uint8)  # closes the gap that a bracelet, watch or ring leaves in the skin
_MAX_ISLAND = 0.15  # a larger region, as a share of its part's largest, is not an island
_MIN_CONTACT = 0.1  # the shortest border with other parts, relative to the root of an island's area


@dataclass(frozen=True)
class Split:
    """The parts of the skin.

    Attributes:
        classes: uint8, the map's shape: `Class.FACE`, `NECK`, `ARM` or `LEG` where there is skin.
        ambiguous: the share of the skin whose part is uncertain, 0..1.
        face_visible: the share of the face's ellipse that is skin, 0..1.
    """

    classes: Labels
    ambiguous: float
    face_visible: float


def split(skin: Flags, body: Body, scale: float, offset: tuple[float, float]) -> Split:
    """Return the part of each pixel of bare skin.

    A pixel belongs to the part that it is nearest to, in units of that part's own radius: the face's
    ellipse, the throat and chest between the arms, the bones of arms and of legs. Below the hips,
    everything that is not an arm is a leg. Islands that are separated from the rest of their part take the
    part that they touch.

    Args:
        skin: bool (h, w).
        body: the person's measures on the canvas.
        scale, offset: canvas point p is at scale * p + offset on the map.
    """
    rows, columns = skin.shape
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    x, y = (x + 0.5 - offset[0]) / scale, (y + 0.5 - offset[1]) / scale

    up, across = body.face_up, np.array([-body.face_up[1], body.face_up[0]])
    dx, dy = x - body.face_centre[0], y - body.face_centre[1]
    above = (dx * up[0] + dy * up[1]) / body.head
    beside = (dx * across[0] + dy * across[1]) / body.head

    down = (body.hips - body.neck) / body.torso
    along = ((x - body.neck[0]) * down[0] + (y - body.neck[1]) * down[1]) / body.torso
    lateral = (x - body.neck[0]) * down[1] - (y - body.neck[1]) * down[0]

    face = np.hypot(
        beside * body.head / body.face_width / _FACE_SIDE,
        above / np.where(above > 0, _FACE_ABOVE, _FACE_BELOW),
    )
    neck = _neck_distance(body, above, along, lateral)
    distances = np.stack([face, neck, _arm_distance(body, x, y), _leg_distance(body, along, x, y)])

    ambiguous = _is_ambiguous(distances) & ~((face < _CHIN) & (neck < _CHIN))
    kinds = np.array([Class.FACE, Class.NECK, Class.ARM, Class.LEG], np.uint8)
    classes = _complete_hands(kinds[distances.argmin(0)], skin)
    classes = _merge_islands(classes, skin, kinds)
    area = max(int(skin.sum()), 1)
    return Split(classes, float((ambiguous & skin).sum() / area), float(skin[face < _FACE_CORE].mean()))


def _neck_distance(body: Body, above: Floats, along: Floats, lateral: Floats) -> Floats:
    """Return the distance from the skin between chin and hips: throat and chest.

    Args:
        body: the person's measures.
        above: height over the face's centre, head heights.
        along: position on the line from the shoulders, 0, to the hips, 1.
        lateral: distance from that line, canvas pixels.
    """
    shoulder_width = float(np.linalg.norm(body.shoulders[0] - body.shoulders[1]))
    chest = _CHEST_HALF_WIDTH * max(shoulder_width, _MIN_SHOULDER_WIDTH * body.head)
    half_width = np.where(along < 0, np.minimum(chest, _THROAT_HALF_WIDTH * body.head), chest)
    neck = np.abs(lateral) / half_width
    neck = np.maximum(neck, np.maximum(along - _NECK_END, 0) * _NECK_END_SLOPE)
    neck[above > -_NECK_START] = _UNREACHABLE
    return np.asarray(neck)


def _arm_distance(body: Body, x: Floats, y: Floats) -> Floats:
    """Return the distance from the nearer arm or hand; x and y in canvas pixels."""
    unreachable = np.full(x.shape, _UNREACHABLE, np.float32)
    arm = np.minimum(*(unreachable if limb is None else distance(limb, x, y)[0] for limb in body.arms))
    for hand in body.hands:
        if hand is not None:
            arm = np.minimum(arm, np.hypot(x - hand[0], y - hand[1]) / (_HAND_RADIUS * body.head))
    return np.asarray(arm)


def _leg_distance(body: Body, along: Floats, x: Floats, y: Floats) -> Floats:
    """Return the distance from the nearer leg; `along` as in `_neck_distance`."""
    leg = np.minimum(*(distance(limb, x, y)[0] for limb in body.legs))
    # The pose's legs end at the picture's edge: below the hips, everything but the arms is a leg.
    return np.where(
        along > _LEGS_CERTAIN,
        np.minimum(leg, _LEG_DISTANCE),
        np.where(along < _LEGS_POSSIBLE, _UNREACHABLE, leg),
    )


def _is_ambiguous(distances: Floats) -> Flags:
    """Return where the nearest part, of distances (parts, h, w), is uncertain, bool (h, w)."""
    first, second = np.sort(distances, 0)[:2]
    close_call = (first > CERTAIN_DISTANCE) & (first > AMBIGUOUS_RATIO * second)
    return np.asarray((first > MAX_DISTANCE) | close_call)


def _complete_hands(classes: Labels, skin: Flags) -> Labels:
    """Return the classes with a small piece of leg at an arm's end, in front of the thigh, as its hand."""
    completed = classes.copy()
    connected = cv2.dilate(skin.astype(np.uint8), _BRACELET)
    count, regions = cv2.connectedComponents(connected)
    arm_pixels, leg_pixels = (
        np.bincount(regions[skin & (classes == kind)], minlength=count) for kind in (Class.ARM, Class.LEG)
    )
    is_arm = (leg_pixels > 0) & (leg_pixels < arm_pixels)
    completed[is_arm[regions] & (classes == Class.LEG)] = Class.ARM
    return completed


def _merge_islands(classes: Labels, skin: Flags, kinds: Labels) -> Labels:
    """Return the classes with small islands given to the part that they touch most."""
    merged = classes.copy()
    for kind in kinds:
        area = (skin & (merged == kind)).astype(np.uint8)
        count, regions, stats, _ = cv2.connectedComponentsWithStats(area)
        if count <= 2:  # the background and one region
            continue
        sizes = stats[:, cv2.CC_STAT_AREA]
        largest = sizes[1:].max()
        for number in np.flatnonzero(sizes <= _MAX_ISLAND * largest):
            if number == 0:
                continue
            island = regions == number
            ring = cv2.dilate(island.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
            neighbours = merged[ring & ~island & skin & (merged != kind)]
            if len(neighbours) > _MIN_CONTACT * np.sqrt(island.sum()):
                merged[island] = np.bincount(neighbours).argmax()
    return merged
