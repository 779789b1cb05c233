"""The measures that place a garment: shoulders, neck, sides and arms, from joints and silhouette."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d, median_filter

from config.errors import PoseError
from worker.images.arrays import Flags, Floats, Labels, Mask, Points
from worker.images.maps import Body25 as J
from worker.images.maps import Part, Pose, has_label

CLOTHES = (Part.UPPER_CLOTHES, Part.DRESS, Part.COAT)
"""The labels of the old garment: what is removed before the new garment is put on."""

SIDES = ("r", "l")
"""The wearer's right and left; the right is on the picture's left when the person faces the camera."""

# Half widths of a bare arm along shoulder, elbow, wrist (0, 1, 2), in units of Body.size; measured on
# bare arms of catalogue photographs.
_ARM_POSITION = (0.0, 0.25, 0.6, 1.0, 1.3, 2.0)
_ARM_HALF_WIDTH = (0.155, 0.150, 0.125, 0.115, 0.112, 0.072)
# Three points of the hand's root beyond the wrist and their half widths, in units of the wrist's half width.
_HAND, _HAND_HALF_WIDTH = (0.6, 1.2, 1.8), (1.0, 0.9, 0.55)
_END, _END_HALF_WIDTH = (0.45, 0.8, 1.0), (0.89, 0.6, 0.1)  # where no hand is visible: a half circle

_CLEAR_ROWS = 6  # rows above a shoulder that must be background for its upper edge to be visible
_POINTS_PER_BONE = 14  # points along the upper arm; the forearm has one more


@dataclass(frozen=True)
class Arm:
    """One arm as a band around its bones.

    Attributes:
        centre: float64 (n, 2), from the shoulder over the elbow to the wrist, evenly spaced on each bone.
        normal: float64 (n, 2), unit vectors across the arm, away from the body.
        position: float64 (n,), 0 at the shoulder, 1 at the elbow, 2 at the wrist.
        outer, inner: float64 (n,), distance from the centre to the silhouette (with a sleeve), pixels.
        skin: float64 (n,), half the width of the bare arm by a body's proportions, pixels.
        bare_outer, bare_inner: float64 (n,), distance from the centre to the arm's own edge: as visible
            where it is bare, and continued from there under a sleeve.
        hidden: whether the forearm is behind the body; then the band ends at the elbow.
        to_hand: distance from the wrist to the visible hand, pixels; None where no hand is visible.
    """

    centre: Points
    normal: Points
    position: Floats
    outer: Floats
    inner: Floats
    skin: Floats
    bare_outer: Floats
    bare_inner: Floats
    hidden: bool
    to_hand: float | None = None

    @property
    def along(self) -> Floats:
        """Length from the shoulder joint to each point, pixels, float64 (n,)."""
        steps = np.linalg.norm(np.diff(self.centre, axis=0), axis=1)
        return np.concatenate([[0.0], np.cumsum(steps)])

    def _with_hand_root(self) -> "Arm":
        """Return the arm with the hand's root, which a cuff may hide.

        Where no hand follows, the end is rounded off; so is the elbow of a hidden forearm.
        """
        step = self.centre[-1] - self.centre[-2]
        step /= max(float(np.linalg.norm(step)), 1e-6)
        lengths, factors = (_END, _END_HALF_WIDTH) if self.to_hand is None else (_HAND, _HAND_HALF_WIDTH)
        beyond = self.skin[-1] * np.array(lengths)
        if self.to_hand is not None and self.to_hand > beyond[-1]:
            beyond, factors = self.to_hand * np.array([0.3, 0.7, 1.0]), (1.0, 1.0, 1.0)

        def extended(widths: Floats) -> Floats:
            return np.concatenate([widths, widths[-1] * np.array(factors)])

        return Arm(
            np.vstack([self.centre, self.centre[-1] + step * beyond[:, None]]),
            np.vstack([self.normal, np.repeat(self.normal[-1:], 3, 0)]),
            np.concatenate([self.position, np.repeat(self.position[-1:], 3)]),
            extended(self.outer),
            extended(self.inner),
            extended(self.skin),
            extended(self.bare_outer),
            extended(self.bare_inner),
            self.hidden,
        )

    def band(self, shape: tuple[int, int], *, skin: bool, first: float = 0.0, last: float = 2.0) -> Mask:
        """Return the arm's area between two positions, uint8 {0, 255} of the shape.

        skin: whether it is the area of the bare arm; otherwise that of the silhouette.
        """
        arm = self._with_hand_root() if skin and last >= 2.0 else self
        chosen = (arm.position >= first) & (arm.position <= last)
        outer, inner = (arm.bare_outer, arm.bare_inner) if skin else (arm.outer, arm.inner)
        edge = np.concatenate(
            [
                (arm.centre + arm.normal * outer[:, None])[chosen],
                (arm.centre - arm.normal * inner[:, None])[chosen][::-1],
            ]
        )
        area = np.zeros(shape, np.uint8)
        if chosen.any():
            cv2.fillPoly(area, [np.round(edge * 16).astype(np.int32)], 255, cv2.LINE_8, 4)
        return area


@dataclass(frozen=True)
class Body:
    """The person's measures on the canvas, pixels.

    Attributes:
        size: the shoulders' width seen from the front: the unit of the body's proportions.
        neck: the middle of the shoulders.
        hips: the middle of the hips.
        shoulder: side -> the joint.
        tip: side -> where the shoulder ends in the silhouette, above and outside the joint.
        top_edge: float64 (768,), the row of the trunk's upper edge in each column; NaN where another part of
            the person is above it.
        side_x: side -> float64 (1024,), the column of the trunk's side in each row.
        arms: side -> Arm, or None where the elbow is missing.
        facing: whether the person faces the camera.
    """

    size: float
    neck: Points
    hips: Points
    shoulder: dict[str, Points]
    tip: dict[str, Points]
    top_edge: Floats
    side_x: dict[str, Floats]
    arms: dict[str, "Arm | None"]
    facing: bool


def measure(pose: Pose, parse: Labels, person: Mask) -> Body:
    """Return the body's measures from joints, CIHP labels and person mask, uint8 (1024, 768) each.

    Raises PoseError when a shoulder is missing. Missing hips are placed by the proportions of a standing
    person.
    """
    if not (pose.seen(J.R_SHOULDER) and pose.seen(J.L_SHOULDER)):
        raise PoseError("Both shoulders must be visible: use a photograph that shows them.")
    joint = {
        "r": [J.R_SHOULDER, J.R_ELBOW, J.R_WRIST],
        "l": [J.L_SHOULDER, J.L_ELBOW, J.L_WRIST],
    }
    facing = bool(pose.xy(J.R_SHOULDER)[0] <= pose.xy(J.L_SHOULDER)[0])
    if not facing:
        # From behind, the picture's left is the person's left: from here on the sides are the picture's.
        joint = {"r": joint["l"], "l": joint["r"]}

    shoulder: dict[str, Points] = {side: pose.xy(joint[side][0]).astype(float) for side in SIDES}
    neck = (shoulder["r"] + shoulder["l"]) / 2
    width = float(np.linalg.norm(shoulder["l"] - shoulder["r"]))
    hips = _hips(pose, neck, width)
    # The shoulders of a turned person look narrow: then the trunk's length gives the size.
    size = max(width, 0.62 * min(float(np.linalg.norm(hips - neck)), 1.6 * width), 20.0)

    solid = (person >= 128) | (parse > 0)
    cloth = has_label(parse, CLOTHES)
    arms = {
        side: _arm(
            [pose.xy(j).astype(float) if pose.seen(j) else None for j in joint[side]],
            size,
            side,
            parse,
            solid,
        )
        for side in SIDES
    }
    trunk = cloth | has_label(parse, (Part.NECK, Part.SCARF, Part.LEFT_ARM, Part.RIGHT_ARM))
    top_edge = _top_edge(trunk, solid)
    tip = {side: _tip(shoulder[side], neck, size, trunk) for side in SIDES}
    side_x = {side: _side(side, neck, hips, shoulder[side], size, solid, parse, arms[side]) for side in SIDES}
    return Body(size, neck, hips, shoulder, tip, top_edge, side_x, arms, facing)


def _hips(pose: Pose, neck: Points, width: float) -> Points:
    if pose.seen(J.R_HIP) and pose.seen(J.L_HIP):
        return np.asarray((pose.xy(J.R_HIP) + pose.xy(J.L_HIP)) / 2, float)
    if pose.seen(J.MID_HIP):
        return pose.xy(J.MID_HIP).astype(float)
    return np.asarray(neck + np.array([0.0, 1.5 * width]))


def _top_edge(trunk: Flags, solid: Flags) -> Floats:
    rows = np.argmax(trunk, axis=0)
    top = rows.astype(float)
    # Beneath hair or the chin the upper edge of the label is not the shoulder's.
    hidden = solid[np.maximum(rows - _CLEAR_ROWS, 0), np.arange(trunk.shape[1])]
    top[~trunk.any(0) | hidden] = np.nan
    return np.asarray(top)


def _tip(joint: Points, neck: Points, size: float, trunk: Flags) -> Points:
    """Return the end of the shoulder: from the joint upwards and outwards to the silhouette's edge."""
    outwards = joint - neck
    outwards /= max(float(np.linalg.norm(outwards)), 1e-6)
    up = np.array([outwards[1], -outwards[0]]) if outwards[0] > 0 else np.array([-outwards[1], outwards[0]])
    direction = 0.42 * outwards + 0.91 * up
    reach = _reach(joint, direction, trunk, 0.26 * size)
    return np.asarray(joint + direction * np.clip(reach, 0.10 * size, 0.22 * size))


def _reach(start: Points, direction: Points, area: Flags, limit: float) -> float:
    """Return the distance from a point to the area's edge in a direction, pixels, at most the limit."""
    steps = np.arange(0.0, limit, 1.0)
    p = np.floor(start + steps[:, None] * direction).astype(int)
    inside = (p[:, 0] >= 0) & (p[:, 0] < area.shape[1]) & (p[:, 1] >= 0) & (p[:, 1] < area.shape[0])
    inside[inside] = area[p[inside, 1], p[inside, 0]]
    # A joint may be a few pixels beside the arm: the last pixel of the area counts.
    last = np.nonzero(inside)[0]
    if len(last) == 0:
        return 0.0
    gaps = np.nonzero(~inside[last[0] :])[0]
    return float(steps[last[0] + gaps[0] - 1]) if len(gaps) else float(limit)


def _arm(joints: list[Points | None], size: float, side: str, parse: Labels, solid: Flags) -> Arm | None:
    """Return an arm from its joints (shoulder, elbow, wrist); None where the elbow is missing."""
    start, elbow, wrist = joints
    if start is None or elbow is None:
        return None
    hidden = wrist is None and _is_behind_body(start, elbow, parse)
    if wrist is None and not hidden:
        # Cut off by the picture's edge: a long sleeve goes on to there.
        wrist = elbow + _FOREARM * (elbow - start)
    centre, normal, position = _arm_axis(start, elbow, wrist, side)
    expected = size * np.interp(position, _ARM_POSITION, _ARM_HALF_WIDTH)
    height, width = parse.shape
    outer, inner = _arm_edges(centre, normal, expected, parse, solid)
    at_pixel = np.clip(centre.astype(int), 0, [width - 1, height - 1])
    bare = has_label(parse, (Part.LEFT_ARM, Part.RIGHT_ARM))
    visible = bare[at_pixel[:, 1], at_pixel[:, 0]]
    bare_outer, bare_inner = _bare_edges(outer, inner, expected, visible)
    to_hand = None
    if visible[-3:].all():
        to_hand = 0.0
    elif wrist is not None:
        hand = _hand(centre, normal, expected[-1], bare)
        if hand is not None:
            # The forearm ends as wide as the hand that comes out of the sleeve.
            near_hand = np.clip(position - 1, 0, 1) ** 2
            bare_outer += (hand.outer - bare_outer) * near_hand
            bare_inner += (hand.inner - bare_inner) * near_hand
            to_hand = hand.beyond
    return Arm(centre, normal, position, outer, inner, expected, bare_outer, bare_inner, hidden, to_hand)


_FOREARM = 0.84  # length of a forearm whose wrist is outside the picture, upper arm lengths; anatomy
_EDGE_MARGIN = 0.12  # an elbow this near to the picture's edge has its forearm outside, canvas widths
_FOREARM_PROBES = (0.25, 0.4, 0.55)  # where a straight forearm is expected, upper arm lengths from the elbow


def _is_behind_body(shoulder: Points, elbow: Points, parse: Labels) -> bool:
    """Return whether a forearm without a wrist is behind the body, not cut off by the picture's edge."""
    height, width = parse.shape
    margin = _EDGE_MARGIN * width
    if not (margin < elbow[0] < width - margin and elbow[1] < height - margin):
        return False
    probes = elbow + (elbow - shoulder) * np.array(_FOREARM_PROBES)[:, None]
    columns, rows = np.clip(probes.astype(int), 0, [width - 1, height - 1]).T
    straight_on = np.isin(parse[rows, columns], (Part.LEFT_ARM, Part.RIGHT_ARM))
    return not bool(straight_on.all())


def _arm_axis(start: Points, elbow: Points, wrist: Points | None, side: str) -> tuple[Points, Points, Floats]:
    """Return the centre, the normals and the positions of an arm's points; see `Arm`."""
    n = _POINTS_PER_BONE
    shares = np.linspace(0, 1, n, endpoint=wrist is None)
    points, positions = [start + (elbow - start) * t for t in shares], list(shares)
    if wrist is not None:
        points += [elbow + (wrist - elbow) * t for t in np.linspace(0, 1, n + 1)]
        positions += list(1 + np.linspace(0, 1, n + 1))
    # Rounded at the elbow, so that the normals turn gradually there.
    centre = _smooth(np.array(points), 1.6)
    tangent = np.gradient(centre, axis=0)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-6)
    turn = 1.0 if side == "r" else -1.0
    normal = turn * np.column_stack([-tangent[:, 1], tangent[:, 0]])
    return centre, normal, np.array(positions)


def _arm_edges(
    centre: Points, normal: Points, expected: Floats, parse: Labels, solid: Flags
) -> tuple[Floats, Floats]:
    """Return the distances from the centre to the silhouette on the outer and the inner side, pixels."""
    # The outer side is usually seen against the background, the inner one beside the trunk or in front of
    # trousers.
    own = has_label(parse, (*CLOTHES, Part.LEFT_ARM, Part.RIGHT_ARM, Part.GLOVE))
    similar = solid & ~has_label(parse, (Part.PANTS, Part.SKIRT))
    outer, inner = (
        np.array(
            [_edge(p, sign * n, own, similar, e) for p, n, e in zip(centre, normal, expected, strict=True)]
        )
        for sign in (1, -1)
    )
    outer = np.where(np.isnan(outer), np.where(np.isnan(inner), expected, 2 * expected - inner), outer)
    inner = np.where(np.isnan(inner), 2 * expected - outer, inner)
    outer = np.clip(outer, 0.45 * expected, 1.4 * expected)
    inner = np.clip(inner, 0.45 * expected, 1.4 * expected)
    return _smooth(_median(outer), 1.5), _smooth(_median(inner), 1.5)


def _bare_edges(outer: Floats, inner: Floats, expected: Floats, visible: Flags) -> tuple[Floats, Floats]:
    """Return the distances from the centre to the bare arm's edges, from its visible part and proportions."""
    n = len(outer)
    # Under a sleeve the arm is in the middle of the sleeve and no wider.
    middle: Floats = (outer - inner) / 2
    half: Floats = np.minimum((outer + inner) / 2, expected)
    visible = visible & (np.arange(n) > 0.2 * n)
    if visible.sum() >= 3:
        first = int(np.argmax(visible))
        ends = slice(first, first + 4)
        ratio = float(np.clip(np.median((outer + inner)[ends] / 2 / expected[ends]), 0.7, 1.3))
        offset = float(np.median(middle[ends]))
        # The visible part is continued under the sleeve; at the shoulder the sleeve's edges are used.
        t = np.clip(np.arange(n) / max(first, 1), 0, 1)
        half = np.where(visible, (outer + inner) / 2, expected * (1 + (ratio - 1) * t))
        middle = np.where(visible, middle, middle * (1 - t) + offset * t)
        half, middle = _smooth(half, 1.0), _smooth(middle, 1.0)
    return np.minimum(middle + half, outer), np.minimum(half - middle, inner)


class _Hand(NamedTuple):
    """A hand where it comes out of a sleeve: its reach to both sides, and its distance from the wrist."""

    outer: float
    inner: float
    beyond: float


def _hand(centre: Points, normal: Points, expected: float, bare: Flags) -> _Hand | None:
    """Return the hand at the end of an arm, pixels; None where none follows the wrist.

    expected: half the wrist's width; bare: where arms are bare.
    """
    forward = centre[-1] - centre[-2]
    forward /= max(float(np.linalg.norm(forward)), 1e-6)
    sections = []
    for beyond in np.arange(-0.5, 4.0, 0.1) * expected:
        at = centre[-1] + forward * beyond
        reaches = [_reach(at, direction, bare, 1.7 * expected) for direction in (normal[-1], -normal[-1])]
        if min(reaches) > 0.3 * expected:
            sections.append((*reaches, max(beyond, 0.0)))
    if len(sections) < 4:
        return None
    outer, inner, _ = np.median(sections[:4], axis=0)
    return _Hand(float(outer), float(inner), float(sections[0][2]))


def _edge(start: Points, direction: Points, own: Flags, similar: Flags, expected: float) -> float:
    """Return the distance to the arm's edge, pixels; NaN where something `similar` follows the edge."""
    limit = 1.9 * expected
    reach = _reach(start, direction, own, limit)
    if reach <= 0 or reach >= limit - 1:
        return np.nan
    beyond = np.floor(start + (reach + 4) * direction).astype(int)
    if not (0 <= beyond[0] < similar.shape[1] and 0 <= beyond[1] < similar.shape[0]):
        return np.nan
    return np.nan if similar[beyond[1], beyond[0]] else reach


def _side(
    side: str,
    neck: Points,
    hips: Points,
    shoulder: Points,
    size: float,
    solid: Flags,
    parse: Labels,
    arm: Arm | None,
) -> Floats:
    """Return the column of the trunk's side in each row, float64 (1024,)."""
    height = parse.shape[0]
    sign = -1.0 if side == "r" else 1.0
    rows = np.arange(height)
    t = (rows - neck[1]) / max(hips[1] - neck[1], 1.0)
    middle = neck[0] + (hips[0] - neck[0]) * np.clip(t, 0.0, 1.3)
    # The expected side goes from below the shoulder joint to the hip.
    at_chest, at_waist, at_hip = abs(shoulder[0] - neck[0]) * 0.93, 0.385 * size, 0.50 * size
    expected = np.interp(t, (0.3, 0.72, 1.05), (at_chest, at_waist, at_hip))
    measured = _measured_side(middle, sign, expected, max(0, int(neck[1])), solid, parse, arm)
    known = ~np.isnan(measured)
    if known.sum() < 20:
        return np.asarray(middle + sign * expected)
    # In rows without a visible side the ratio to the expected width is interpolated.
    ratio = np.interp(rows, rows[known], measured[known] / expected[known])
    blurred = cv2.medianBlur(ratio.astype(np.float32)[:, None].repeat(3, 1), 5)[:, 1]
    ratio = _smooth(np.asarray(blurred), 0.07 * size)
    # A coat is wider than the body; the garment that replaces it is not.
    torso = slice(max(0, int(neck[1])), max(1, int(hips[1])))
    cloth_pixels = has_label(parse[torso], CLOTHES).sum()
    most = 1.2 if 2 * np.count_nonzero(parse[torso] == Part.COAT) > cloth_pixels else 1.5
    return np.asarray(middle + sign * expected * np.clip(ratio, 0.7, most))


def _measured_side(
    middle: Floats,
    sign: float,
    expected: Floats,
    first_row: int,
    solid: Flags,
    parse: Labels,
    arm: Arm | None,
) -> Floats:
    """Return the distance from the trunk's middle to its visible side in each row; NaN where it is hidden."""
    height, width = parse.shape
    band = np.zeros_like(parse)
    if arm is not None:
        band = arm.band((height, width), skin=True, first=0.35)
    # Hips with a label of their own are visible, also directly beside the arm.
    hips_visible = has_label(parse, (Part.PANTS, Part.SKIRT))
    blocked = ((band > 0) & ~hips_visible) | has_label(parse, (Part.LEFT_ARM, Part.RIGHT_ARM))
    rows = np.arange(first_row, height)
    middle, expected = middle[rows, None], expected[rows, None]
    steps = np.arange(math.ceil(expected.max(initial=0)))
    away = 0.5 * expected + steps
    columns = np.round(middle + sign * away).astype(int)
    within = (away < 1.5 * expected) & (columns >= 0) & (columns < width)
    columns = columns.clip(0, width - 1)
    hidden = blocked[rows[:, None], columns]
    ends = within & (~solid[rows[:, None], columns] | hidden)
    end = ends.argmax(1)
    # An arm in front of the trunk hides its side.
    in_front = hidden[np.arange(len(rows)), end] & (end < 0.25 * expected[:, 0])
    measured = np.full(height, np.nan)
    measured[rows] = np.where(ends.any(1) & ~in_front, 0.5 * expected[:, 0] + end, np.nan)
    return measured


def _smooth(values: Floats, sigma: float) -> Floats:
    return np.asarray(gaussian_filter1d(values.astype(float), sigma, axis=0, mode="nearest"))


def _median(values: Floats) -> Floats:
    return np.asarray(median_filter(values, 5, mode="nearest"))
