"""The layout by rules from the engine's own measures of the body, to compare the network with."""

import numpy as np

from worker.geometric.body import SIDES, Body, measure
from worker.geometric.layout import HEAD, LEGS, LOWER, After
from worker.geometric.place import shoulder_line
from worker.geometric.proportions import Proportions
from worker.images.arrays import Flags, Labels
from worker.images.maps import Part, Pose

_SLEEVES = {"r": After.RIGHT_SLEEVE, "l": After.LEFT_SLEEVE}
_BARE = {"r": After.RIGHT_ARM, "l": After.LEFT_ARM}


def layout_by_rules(pose: Pose, parse: Labels, proportions: Proportions) -> Labels:
    """Return the layout of a garment by the body's sides, shoulder line and arm bands, uint8 (1024, 768).

    Unlike the network, the measures see the outline of what the person wears. The person's mask is the
    parse's. Raises PoseError when a shoulder is missing.
    """
    body = measure(pose, parse, (parse > 0).astype(np.uint8) * 255)
    sides = SIDES if body.facing else SIDES[::-1]
    ends = {sides[0]: proportions.right_sleeve, sides[1]: proportions.left_sleeve}
    names = {sides[0]: "r", sides[1]: "l"}
    labels = np.full(parse.shape, After.BACKGROUND, np.uint8)
    labels[np.isin(parse, LOWER)] = After.LOWER
    labels[np.isin(parse, LEGS)] = After.KEPT
    trunk, opening = _trunk(body, proportions, parse.shape)
    labels[trunk] = After.TRUNK
    labels[(opening | (parse == Part.NECK)) & ~trunk] = After.NECK
    for side in SIDES:
        arm, end = body.arms[side], ends[side]
        if arm is None:
            continue
        bare = (arm.band(parse.shape, skin=True, first=end) > 0) & ~(trunk & (end < 1))
        labels[bare] = _BARE[names[side]]
        if end > 0:
            labels[arm.band(parse.shape, skin=False, last=end) > 0] = _SLEEVES[names[side]]
    labels[parse == Part.HAIR] = After.HAIR
    labels[np.isin(parse, HEAD)] = After.KEPT
    return labels


def _trunk(body: Body, proportions: Proportions, shape: tuple[int, ...]) -> tuple[Flags, Flags]:
    """Return the trunk's area, and the neckline's opening above it, bool (h, w) each."""
    rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
    line = (body.shoulder["r"][1] + body.shoulder["l"][1]) / 2
    xs = np.arange(shape[1]) + 0.5
    top = np.array([shoulder_line(body, "r" if x < body.neck[0] else "l", x) for x in xs])
    reach = proportions.shoulder_width / 2 * body.size
    inside = (rows > top) & (rows < line + proportions.hem * body.size)
    inside &= (columns > body.side_x["r"][:, None]) & (columns < body.side_x["l"][:, None])
    inside &= (np.abs(columns - body.neck[0]) < reach) | (rows > line + body.size / 2)
    aside = np.abs(xs - body.neck[0]) / max(proportions.neck_width / 2 * body.size, 1.0)
    depth = line + proportions.neck_depth * body.size
    round_edge = np.sqrt(np.clip(1 - aside**2, 0, 1))
    sag = np.where(proportions.v_neck > 1 / 2, np.clip(1 - aside, 0, 1), round_edge)
    edge = top + (depth - top) * sag
    opening = inside & (rows < edge) & (aside < 1)
    return inside & ~opening, opening
