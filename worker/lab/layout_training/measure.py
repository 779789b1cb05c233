"""Measures labelled people: the proportions of what they wear, and the layout that a network learns."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from worker.geometric.layout import After, BodyFrame
from worker.geometric.proportions import Proportions
from worker.images.arrays import Flags, Floats, Labels, Points
from worker.images.maps import Body25 as J
from worker.images.maps import Part
from worker.parsing.classes import LABELS, Class

GARMENT = (Class.UPPER_CLOTHES, Class.DRESS, Class.COAT)

UNKNOWN = 255
"""Label of pixels that count neither in training nor in measuring: bags and scarves hide what is there."""

_ARMS = ((J.R_SHOULDER, J.R_ELBOW, J.R_WRIST), (J.L_SHOULDER, J.L_ELBOW, J.L_WRIST))
_SLEEVES = (After.RIGHT_SLEEVE, After.LEFT_SLEEVE)
_BARE = (After.RIGHT_ARM, After.LEFT_ARM)
_PLAIN = {
    Class.HAIR: After.HAIR,
    Class.PANTS: After.LOWER,
    Class.SKIRT: After.LOWER,
    Class.NECK: After.NECK,
    **dict.fromkeys(
        (Class.HAT, Class.SUNGLASSES, Class.FACE, Class.SOCKS, Class.LEG, Class.SHOE), After.KEPT
    ),
    **dict.fromkeys((Class.BAG, Class.SCARF), UNKNOWN),
}


USUAL = Proportions(
    right_sleeve=2.0,
    left_sleeve=2.0,
    hem=1.6,
    neck_depth=0.05,
    neck_width=0.45,
    shoulder_width=1.0,
    chest_width=0.9,
    hem_width=0.95,
    v_neck=0.0,
)
"""A regular top with long sleeves."""


@dataclass(frozen=True)
class MeasureRules:
    """How proportions are measured in label maps. Lengths are in body sizes.

    Attributes:
        arm: half the width of a sleeve; what is nearer to the arm's bones than this is sleeve, unless it is
            deeper inside the trunk.
        inset: the trunk's core ends this far inside the line from shoulder to hip: an upper arm hangs there.
        middle: half the width of the column in which neckline and hem are measured.
        samples: positions along an arm at which it is covered or bare.
        disc: half the side of the square around a position whose pixels vote.
        least: fewest pixels of an area that can be measured, pixels.
        chest_row: row of the chest's width below the joints; the armpit of a standing adult.
        hem_row: height above the hem at which its width is measured: over its corners.
        shoulder_row: row at which a sleeveless garment's shoulders are measured.
        usual: proportions where nothing can be measured: a regular long-sleeved top.
        v_ratio, v_range: width of a neckline at half its depth as a share of its upper width, from which it
            is round, and over which it becomes a V; half an ellipse has 0.87, a triangle 0.5.
    """

    arm: float = 0.20
    inset: float = 0.12
    middle: float = 0.22
    samples: int = 21
    disc: float = 0.10
    least: int = 12
    chest_row: float = 0.5
    hem_row: float = 0.12
    shoulder_row: float = 0.0
    usual: Proportions = USUAL
    v_ratio: float = 0.8
    v_range: float = 0.3


RULES = MeasureRules()


def cihp(classes: Labels, joints: Floats) -> Labels:
    """Return the CIHP labels of a class map, uint8 (h, w); sides by the nearest arm or the body's middle."""
    parse = np.zeros(classes.shape, np.uint8)
    for one, part in LABELS.items():
        parse[classes == one] = part
    nearer_right = _nearer_right(joints, classes.shape)
    for one, right, left in (
        (Class.ARM, Part.RIGHT_ARM, Part.LEFT_ARM),
        (Class.LEG, Part.RIGHT_LEG, Part.LEFT_LEG),
        (Class.SHOE, Part.RIGHT_SHOE, Part.LEFT_SHOE),
    ):
        parse[classes == one] = np.where(nearer_right, right, left)[classes == one]
    return parse


def target(classes: Labels, joints: Floats) -> Labels:
    """Return the layout of a class map, uint8 (h, w) of `After` and UNKNOWN.

    Args:
        classes: `Class` of each pixel, 255 background.
        joints: Body25 in the map's pixels, (25, 3).

    Raises PoseError when a shoulder is missing.
    """
    labels = np.full(classes.shape, After.BACKGROUND, np.uint8)
    for one, after in _PLAIN.items():
        labels[classes == one] = after
    right = _nearer_right(joints, classes.shape)
    labels[classes == Class.ARM] = np.where(right, *_BARE)[classes == Class.ARM]
    garment = np.isin(classes, GARMENT)
    labels[garment] = After.TRUNK
    frame = BodyFrame.of(joints)
    core = _trunk_distance(joints, frame, classes.shape)
    for bones, label in zip(_ARMS, _SLEEVES, strict=True):
        arm = _arm_distance(joints, bones, classes.shape)
        beside = (right if label == After.RIGHT_SLEEVE else ~right) & (arm - RULES.arm * frame.size < core)
        labels[garment & beside & (core > 0)] = label
    return labels


def worn_proportions(classes: Labels, joints: Floats) -> Proportions | None:
    """Return the proportions of what a person wears; None without enough cloth on the chest.

    The arguments and errors are those of `target`.
    """
    frame = BodyFrame.of(joints)
    across, below = frame.coordinates((classes.shape[0], classes.shape[1]))
    garment = np.isin(classes, GARMENT)
    middle = np.abs(across) < RULES.middle
    column = garment & middle & (below > 0)
    if column.sum() < RULES.least:
        return None
    lowest = [below[rows, x].max() for x in np.nonzero(column.any(0))[0] for rows in [column[:, x]]]
    hem = float(np.median(lowest))
    sleeves = _sleeve_ends(classes, joints, frame, garment)
    labels = target(classes, joints)
    trunk = labels == After.TRUNK
    usual = RULES.usual

    def width(area: Flags, row: float, fallback: float) -> float:
        columns = across[area & (np.abs(below - row) < RULES.disc)]
        if len(columns) < RULES.least:
            return fallback
        return float(np.quantile(columns, 0.97) - np.quantile(columns, 0.03))

    chest = width(trunk, min(RULES.chest_row, hem), usual.chest_width)
    neck = (labels == After.NECK) & (np.abs(across) < 2 * RULES.middle)
    depth, neck_width, v_neck = _neckline(neck, middle, across, below)
    sleeveless = max(sleeves) == 0
    right_sleeve, left_sleeve = sleeves
    return Proportions(
        right_sleeve,
        left_sleeve,
        hem,
        depth,
        neck_width,
        width(garment, RULES.shoulder_row, usual.shoulder_width) if sleeveless else 1.0,
        chest,
        width(trunk, hem - RULES.hem_row, chest),
        v_neck,
    )


def _neckline(neck: Flags, middle: Flags, across: Floats, below: Floats) -> tuple[float, float, float]:
    """Return depth, width and V of the neckline, of the neck's area."""
    usual = RULES.usual
    if (neck & middle).sum() < RULES.least:
        # A polo neck or hair hides the neck: the garment begins at the chin.
        return -2 * RULES.middle, usual.neck_width, 0.0
    depth = float(np.quantile(below[neck & middle], 0.98))
    widths = []
    for row in (min(depth - 2 * RULES.disc, 0.0), None):
        half = row if row is not None else (depth + min(depth - 2 * RULES.disc, 0.0)) / 2
        columns = across[neck & (np.abs(below - half) < RULES.disc / 2)]
        widths.append(float(np.ptp(columns)) if len(columns) else 0.0)
    if widths[0] <= 0:
        return depth, usual.neck_width, 0.0
    v_neck = float(np.clip((RULES.v_ratio - widths[1] / widths[0]) / RULES.v_range, 0, 1))
    return depth, widths[0], v_neck


def _sleeve_ends(classes: Labels, joints: Floats, frame: BodyFrame, garment: Flags) -> list[float]:
    """Return where the right and the left sleeve end; an arm that cannot be seen is like the other."""
    ends = [_sleeve_end(classes, joints, bones, frame, garment) for bones in _ARMS]
    known = [end for end in ends if end is not None]
    fallback = known[0] if known else RULES.usual.right_sleeve
    return [fallback if end is None else end for end in ends]


def _sleeve_end(
    classes: Labels, joints: Floats, bones: tuple[J, J, J], frame: BodyFrame, garment: Flags
) -> float | None:
    """Return the position along the arm that best separates cloth from skin; None where nothing is seen."""
    bare = classes == Class.ARM
    radius = RULES.disc * frame.size
    positions, covered = [], []
    for position in np.linspace(0.1, 2.0, RULES.samples):
        bone = min(int(position), 1)
        first, second = joints[bones[bone]], joints[bones[bone + 1]]
        if first[2] <= 0 or second[2] <= 0:
            continue
        x, y = first[:2] + (second[:2] - first[:2]) * (position - bone)
        window = tuple(
            slice(max(0, int(middle - radius)), max(0, int(middle + radius) + 1)) for middle in (y, x)
        )
        cloth, skin = int(garment[window].sum()), int(bare[window].sum())
        if cloth + skin:
            positions.append(position)
            covered.append(cloth > skin)
    if not positions:
        return None
    flags = np.array(covered)
    # As many covered positions before the end, and bare ones after it, as possible.
    agreement = [flags[:count].sum() + (~flags[count:]).sum() for count in range(len(flags) + 1)]
    count = int(np.argmax(agreement))
    if count == 0:
        return 0.0
    if count == len(positions):
        return 2.0 if positions[-1] > 1 else positions[-1]
    return float((positions[count - 1] + positions[count]) / 2)


def _nearer_right(joints: Floats, shape: tuple[int, ...]) -> Flags:
    right, left = (_arm_distance(joints, bones, shape) for bones in _ARMS)
    return np.asarray(right <= left)


def _arm_distance(joints: Floats, bones: tuple[J, J, J], shape: tuple[int, ...]) -> Floats:
    """Return each pixel's distance from an arm's bones, pixels, float64 (h, w)."""
    rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
    best = np.hypot(columns - joints[bones[0], 0], rows - joints[bones[0], 1])
    for first, second in pairwise(bones):
        if joints[first, 2] > 0 and joints[second, 2] > 0:
            best = np.minimum(best, _distance(rows, columns, joints[first, :2], joints[second, :2]))
    return np.asarray(best)


def _distance(rows: Floats, columns: Floats, first: Points, second: Points) -> Floats:
    step = (second - first).astype(float)
    length = max(float(step @ step), 1e-6)
    share = np.clip(((columns - first[0]) * step[0] + (rows - first[1]) * step[1]) / length, 0, 1)
    return np.asarray(np.hypot(columns - first[0] - share * step[0], rows - first[1] - share * step[1]))


def _trunk_distance(joints: Floats, frame: BodyFrame, shape: tuple[int, ...]) -> Floats:
    """Return each pixel's distance beside the trunk's core, pixels; 0 inside and below it."""
    rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
    shoulders = joints[[J.R_SHOULDER, J.L_SHOULDER], :2].astype(float)
    hips = joints[[J.R_HIP, J.L_HIP]].astype(float)
    if not (hips[:, 2] > 0).all():
        # A standing person's hips, seen from the front.
        drop = np.array([0.0, frame.size / 0.62])
        hips = np.column_stack([frame.middle + (shoulders - frame.middle) * 0.6 + drop, np.ones(2)])
    beyond = np.zeros(shape)
    for side in (0, 1):
        outwards = np.sign(shoulders[side, 0] - shoulders[1 - side, 0]) or 1.0
        inset = RULES.inset * frame.size
        edge = np.interp(
            rows[:, :1],
            [shoulders[side, 1], max(hips[side, 1], shoulders[side, 1] + 1)],
            [shoulders[side, 0] - outwards * inset, hips[side, 0] + outwards * inset],
        )
        beyond = np.maximum(beyond, outwards * (columns - edge))
    return np.asarray(beyond)
