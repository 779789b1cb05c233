"""Where a garment can hang on a person: shoulders, neck, sides and arms, from joints and silhouette."""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d, median_filter

from config.errors import PoseError
from worker.images.maps import Body25 as J
from worker.images.maps import Part, Pose

CLOTHES = (Part.UPPER_CLOTHES, Part.DRESS, Part.COAT)
"""The labels of what is taken off before the new garment is put on."""

SIDES = ("r", "l")
"""The wearer's right is on the picture's left when the person faces the camera."""

# Half widths of a bare arm along shoulder, elbow, wrist (0, 1, 2), in units of Body.size; measured on
# bare arms of catalogue photographs.
_ARM_AT = (0.0, 0.25, 0.6, 1.0, 1.3, 2.0)
_ARM_HALF = (0.155, 0.150, 0.125, 0.115, 0.112, 0.072)
# The hand's root beyond the wrist and its half width, in units of the wrist's half width.
_HAND, _HAND_HALF = (0.6, 1.2, 1.8), (1.0, 0.9, 0.55)
_END, _END_HALF = (0.45, 0.8, 1.0), (0.89, 0.6, 0.1)  # the same where none is seen: a half circle

_CLEAR = 6  # rows above a shoulder that must be background for it to be the skyline


@dataclass(frozen=True)
class Arm:
    """One arm as a band about its bones.

    Attributes:
        centre: float64 (n, 2), from the shoulder joint by the elbow to the wrist, evenly spaced on each bone.
        normal: float64 (n, 2), unit vectors across the arm, away from the body.
        at: float64 (n,), 0 at the shoulder, 1 at the elbow, 2 at the wrist.
        outer, inner: float64 (n,), how far silhouette (sleeve included) reaches from the centre, pixels.
        skin: float64 (n,), half the width of the bare arm by a body's proportions, pixels.
        bare_outer, bare_inner: float64 (n,), how far the arm itself reaches: as seen where it is bare, and
            continued from there under a sleeve.
        hidden: whether the forearm is behind the body, so that the band ends at the elbow.
        to_hand: how far beyond the wrist the hand is seen, pixels; None where it is not.
    """

    centre: np.ndarray
    normal: np.ndarray
    at: np.ndarray
    outer: np.ndarray
    inner: np.ndarray
    skin: np.ndarray
    bare_outer: np.ndarray
    bare_inner: np.ndarray
    hidden: bool
    to_hand: float | None = None

    @property
    def along(self) -> np.ndarray:
        """Length from the shoulder joint to each point, pixels, float64 (n,)."""
        steps = np.linalg.norm(np.diff(self.centre, axis=0), axis=1)
        return np.concatenate([[0.0], np.cumsum(steps)])

    def _beyond(self) -> "Arm":
        """Return the arm with the hand's root, which a cuff may have hidden.

        Where no hand follows, it is rounded off, as the elbow of a hidden forearm is.
        """
        step = self.centre[-1] - self.centre[-2]
        step /= max(float(np.linalg.norm(step)), 1e-6)
        lengths, narrower = (_END, _END_HALF) if self.to_hand is None else (_HAND, _HAND_HALF)
        more = self.skin[-1] * np.array(lengths)
        if self.to_hand is not None and self.to_hand > more[-1]:
            more, narrower = self.to_hand * np.array([0.3, 0.7, 1.0]), (1.0, 1.0, 1.0)

        def longer(widths: np.ndarray) -> np.ndarray:
            return np.concatenate([widths, widths[-1] * np.array(narrower)])

        return Arm(
            np.vstack([self.centre, self.centre[-1] + step * more[:, None]]),
            np.vstack([self.normal, np.repeat(self.normal[-1:], 3, 0)]),
            np.concatenate([self.at, np.repeat(self.at[-1:], 3)]),
            longer(self.outer),
            longer(self.inner),
            longer(self.skin),
            longer(self.bare_outer),
            longer(self.bare_inner),
            self.hidden,
        )

    def band(
        self, shape: tuple[int, int], *, skin: bool, first: float = 0.0, last: float = 2.0
    ) -> np.ndarray:
        """Return the arm's area between two places `at`, uint8 {0, 255} of the shape."""
        arm = self._beyond() if skin and last >= 2.0 else self
        keep = (arm.at >= first) & (arm.at <= last)
        out, into = (arm.bare_outer, arm.bare_inner) if skin else (arm.outer, arm.inner)
        edge = np.concatenate(
            [
                (arm.centre + arm.normal * out[:, None])[keep],
                (arm.centre - arm.normal * into[:, None])[keep][::-1],
            ]
        )
        area = np.zeros(shape, np.uint8)
        if keep.any():
            cv2.fillPoly(area, [np.round(edge * 16).astype(np.int32)], 255, cv2.LINE_8, 4)
        return area


@dataclass(frozen=True)
class Body:
    """The person's measures on the canvas, pixels.

    Attributes:
        size: the shoulders' width as it would be face on: the unit of the body's proportions.
        neck: the middle of the shoulders.
        hips: the middle of the hips.
        shoulder: side -> the joint.
        tip: side -> where the shoulder ends in the silhouette, above and outside the joint.
        skyline: float64 (768,), where the trunk ends against the background in each column from above; NaN
            where something else of the person is above it.
        side_x: side -> float64 (1024,), where the trunk ends in each row.
        arms: side -> Arm, or None where the elbow is not seen.
        facing: whether the person faces the camera.
    """

    size: float
    neck: np.ndarray
    hips: np.ndarray
    shoulder: dict[str, np.ndarray]
    tip: dict[str, np.ndarray]
    skyline: np.ndarray
    side_x: dict[str, np.ndarray]
    arms: dict[str, "Arm | None"]
    facing: bool


def measure(pose: Pose, parse: np.ndarray, person: np.ndarray) -> Body:
    """Return the body's measures from joints, CIHP labels and person mask, uint8 (1024, 768) each.

    Raises PoseError when a shoulder is not seen. Hips that are not seen are put where a standing
    person's proportions have them.
    """
    if not (pose.seen(J.R_SHOULDER) and pose.seen(J.L_SHOULDER)):
        raise PoseError("Both shoulders must be seen: use a photograph that shows them.")
    joint = {
        "r": [J.R_SHOULDER, J.R_ELBOW, J.R_WRIST],
        "l": [J.L_SHOULDER, J.L_ELBOW, J.L_WRIST],
    }
    facing = bool(pose.xy(J.R_SHOULDER)[0] <= pose.xy(J.L_SHOULDER)[0])
    if not facing:
        # Seen from behind, the picture's left is the person's left: sides are the picture's from here on.
        joint = {"r": joint["l"], "l": joint["r"]}

    shoulder = {side: pose.xy(joint[side][0]).astype(float) for side in SIDES}
    neck = (shoulder["r"] + shoulder["l"]) / 2
    width = float(np.linalg.norm(shoulder["l"] - shoulder["r"]))
    hips = _hips(pose, neck, width)
    # A turned person's shoulders look narrow: then the trunk's length tells the size.
    size = max(width, 0.62 * min(float(np.linalg.norm(hips - neck)), 1.6 * width), 20.0)

    solid = (person >= 128) | (parse > 0)
    cloth = np.isin(parse, CLOTHES)
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
    trunk = cloth | np.isin(parse, (Part.NECK, Part.SCARF, Part.LEFT_ARM, Part.RIGHT_ARM))
    skyline = _skyline(trunk, solid)
    tip = {side: _tip(shoulder[side], neck, size, trunk) for side in SIDES}
    side_x = {side: _side(side, neck, hips, shoulder[side], size, solid, parse, arms[side]) for side in SIDES}
    return Body(size, neck, hips, shoulder, tip, skyline, side_x, arms, facing)


def _hips(pose: Pose, neck: np.ndarray, width: float) -> np.ndarray:
    if pose.seen(J.R_HIP) and pose.seen(J.L_HIP):
        return np.asarray((pose.xy(J.R_HIP) + pose.xy(J.L_HIP)) / 2, float)
    if pose.seen(J.MID_HIP):
        return pose.xy(J.MID_HIP).astype(float)
    return np.asarray(neck + np.array([0.0, 1.5 * width]))


def _skyline(trunk: np.ndarray, solid: np.ndarray) -> np.ndarray:
    rows = np.argmax(trunk, axis=0)
    top = rows.astype(float)
    # Beneath hair or the chin it is not the shoulder that ends there.
    hidden = solid[np.maximum(rows - _CLEAR, 0), np.arange(trunk.shape[1])]
    top[~trunk.any(0) | hidden] = np.nan
    return top


def _tip(joint: np.ndarray, neck: np.ndarray, size: float, trunk: np.ndarray) -> np.ndarray:
    """Return the end of the shoulder: from the joint up and out until the silhouette ends."""
    out = joint - neck
    out /= max(float(np.linalg.norm(out)), 1e-6)
    up = np.array([out[1], -out[0]]) if out[0] > 0 else np.array([-out[1], out[0]])
    direction = 0.42 * out + 0.91 * up
    reach = _reach(joint, direction, trunk, 0.26 * size)
    return np.asarray(joint + direction * np.clip(reach, 0.10 * size, 0.22 * size))


def _reach(start: np.ndarray, direction: np.ndarray, area: np.ndarray, limit: float) -> float:
    """Return how far one can go from a point before leaving the area, pixels, at most the limit."""
    steps = np.arange(0.0, limit, 1.0)
    p = np.floor(start + steps[:, None] * direction).astype(int)
    inside = (p[:, 0] >= 0) & (p[:, 0] < area.shape[1]) & (p[:, 1] >= 0) & (p[:, 1] < area.shape[0])
    inside[inside] = area[p[inside, 1], p[inside, 0]]
    # A joint may lie a few pixels beside the arm: what counts is where the area ends for good.
    last = np.nonzero(inside)[0]
    if len(last) == 0:
        return 0.0
    gaps = np.nonzero(~inside[last[0] :])[0]
    return float(steps[last[0] + gaps[0] - 1]) if len(gaps) else float(limit)


def _arm(
    joints: list[np.ndarray | None], size: float, side: str, parse: np.ndarray, solid: np.ndarray
) -> Arm | None:
    start, elbow, wrist = joints
    if start is None or elbow is None:
        return None
    per_bone = 14
    centre = [start + (elbow - start) * t for t in np.linspace(0, 1, per_bone, endpoint=wrist is None)]
    at = list(np.linspace(0, 1, per_bone, endpoint=wrist is None))
    if wrist is not None:
        centre += [elbow + (wrist - elbow) * t for t in np.linspace(0, 1, per_bone + 1)]
        at += list(1 + np.linspace(0, 1, per_bone + 1))
    c, places = np.array(centre), np.array(at)
    # Rounded at the elbow, so that the normals turn gradually there.
    c = _smooth(c, 1.6)
    tangent = np.gradient(c, axis=0)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-6)
    turn = 1.0 if side == "r" else -1.0
    normal = turn * np.column_stack([-tangent[:, 1], tangent[:, 0]])
    expected = size * np.interp(places, _ARM_AT, _ARM_HALF)

    # A wrist that is missing is behind the body unless the picture's edge cuts the arm.
    height, width = parse.shape
    edge = 0.12 * width
    inside = edge < elbow[0] < width - edge and elbow[1] < height - edge
    hidden = wrist is None and inside
    # The outer side is seen against the background almost always, the inner one beside the trunk or before
    # trousers.
    own = np.isin(parse, (*CLOTHES, Part.LEFT_ARM, Part.RIGHT_ARM, Part.GLOVE))
    like = solid & ~np.isin(parse, (Part.PANTS, Part.SKIRT))
    outer = np.array([_edge(p, n, own, like, e) for p, n, e in zip(c, normal, expected, strict=True)])
    inner = np.array([_edge(p, -n, own, like, e) for p, n, e in zip(c, normal, expected, strict=True)])
    outer = np.where(np.isnan(outer), np.where(np.isnan(inner), expected, 2 * expected - inner), outer)
    inner = np.where(np.isnan(inner), 2 * expected - outer, inner)
    outer = np.clip(outer, 0.45 * expected, 1.4 * expected)
    inner = np.clip(inner, 0.45 * expected, 1.4 * expected)
    outer, inner = _smooth(_median(outer), 1.5), _smooth(_median(inner), 1.5)
    at_pixel = np.clip(c.astype(int), 0, [width - 1, height - 1])
    bare = np.isin(parse, (Part.LEFT_ARM, Part.RIGHT_ARM))
    shown = bare[at_pixel[:, 1], at_pixel[:, 0]]
    bare_outer, bare_inner = _bare(outer, inner, expected, shown)
    if shown[-3:].all():
        return Arm(c, normal, places, outer, inner, expected, bare_outer, bare_inner, hidden, 0.0)
    hand = None if wrist is None else _hand(c, normal, expected[-1], bare)
    if hand is None:
        return Arm(c, normal, places, outer, inner, expected, bare_outer, bare_inner, hidden)
    # The forearm ends as wide as the hand that comes out of the sleeve.
    near_hand = np.clip(places - 1, 0, 1) ** 2
    bare_outer += (hand.outer - bare_outer) * near_hand
    bare_inner += (hand.inner - bare_inner) * near_hand
    return Arm(c, normal, places, outer, inner, expected, bare_outer, bare_inner, hidden, hand.beyond)


def _bare(
    outer: np.ndarray, inner: np.ndarray, expected: np.ndarray, shown: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return how far the arm itself reaches on both sides, from where it is shown and proportions."""
    n = len(outer)
    # Under a sleeve the arm lies in its middle and is no wider.
    middle, half = (outer - inner) / 2, np.minimum((outer + inner) / 2, expected)
    shown = shown & (np.arange(n) > 0.2 * n)
    if shown.sum() >= 3:
        first = int(np.argmax(shown))
        ends = slice(first, first + 4)
        ratio = float(np.clip(np.median((outer + inner)[ends] / 2 / expected[ends]), 0.7, 1.3))
        offset = float(np.median(middle[ends]))
        # The arm goes on from where it comes out of the sleeve; at the shoulder the sleeve tells.
        t = np.clip(np.arange(n) / max(first, 1), 0, 1)
        half = np.where(shown, (outer + inner) / 2, expected * (1 + (ratio - 1) * t))
        middle = np.where(shown, middle, middle * (1 - t) + offset * t)
        half, middle = _smooth(half, 1.0), _smooth(middle, 1.0)
    return np.minimum(middle + half, outer), np.minimum(half - middle, inner)


class _Hand(NamedTuple):
    """A hand where it comes out of a sleeve: how far it reaches to both sides, and how far from the wrist."""

    outer: float
    inner: float
    beyond: float


def _hand(centre: np.ndarray, normal: np.ndarray, expected: float, bare: np.ndarray) -> _Hand | None:
    """Return the hand at the end of an arm, pixels; None where none follows the wrist.

    expected: half the wrist's width; bare: where arms are bare.
    """
    forward = centre[-1] - centre[-2]
    forward /= max(float(np.linalg.norm(forward)), 1e-6)
    found = []
    for beyond in np.arange(-0.5, 4.0, 0.1) * expected:
        at = centre[-1] + forward * beyond
        reaches = [_reach(at, direction, bare, 1.7 * expected) for direction in (normal[-1], -normal[-1])]
        if min(reaches) > 0.3 * expected:
            found.append((*reaches, max(beyond, 0.0)))
    if len(found) < 4:
        return None
    outer, inner, _ = np.median(found[:4], axis=0)
    return _Hand(float(outer), float(inner), float(found[0][2]))


def _edge(
    start: np.ndarray, direction: np.ndarray, own: np.ndarray, like: np.ndarray, expected: float
) -> float:
    """Return where the arm ends across, pixels; NaN where what follows cannot be told from it (`like`)."""
    limit = 1.9 * expected
    reach = _reach(start, direction, own, limit)
    if reach <= 0 or reach >= limit - 1:
        return np.nan
    beyond = np.floor(start + (reach + 4) * direction).astype(int)
    if not (0 <= beyond[0] < like.shape[1] and 0 <= beyond[1] < like.shape[0]):
        return np.nan
    return np.nan if like[beyond[1], beyond[0]] else reach


def _side(
    side: str,
    neck: np.ndarray,
    hips: np.ndarray,
    shoulder: np.ndarray,
    size: float,
    solid: np.ndarray,
    parse: np.ndarray,
    arm: Arm | None,
) -> np.ndarray:
    """Return where the trunk ends in each row on one side, float64 (1024,)."""
    height, width = parse.shape
    sign = -1.0 if side == "r" else 1.0
    rows = np.arange(height)
    t = (rows - neck[1]) / max(hips[1] - neck[1], 1.0)
    middle = neck[0] + (hips[0] - neck[0]) * np.clip(t, 0.0, 1.3)
    # The expected side goes from below the shoulder joint to the hip.
    at_chest, at_waist, at_hip = abs(shoulder[0] - neck[0]) * 0.93, 0.385 * size, 0.50 * size
    expected = np.interp(t, (0.3, 0.72, 1.05), (at_chest, at_waist, at_hip))

    body = solid.copy()
    band = np.zeros_like(parse)
    if arm is not None:
        band = arm.band(parse.shape, skin=True, first=0.35)
    # Hips that are labelled are seen, be they ever so near to the arm.
    hips_seen = np.isin(parse, (Part.PANTS, Part.SKIRT))
    blocked = ((band > 0) & ~hips_seen) | np.isin(parse, (Part.LEFT_ARM, Part.RIGHT_ARM))
    found = np.full(height, np.nan)
    for y in range(max(0, int(neck[1])), height):
        limit = 1.5 * expected[y]
        xs = np.round(middle[y] + sign * np.arange(0.5 * expected[y], limit)).astype(int)
        xs = xs[(xs >= 0) & (xs < width)]
        if len(xs) == 0:
            continue
        ends = np.nonzero(~body[y, xs] | blocked[y, xs])[0]
        if len(ends) == 0:
            continue
        if blocked[y, xs[ends[0]]] and ends[0] < 0.25 * expected[y]:
            continue  # an arm in front of the trunk hides its side
        found[y] = 0.5 * expected[y] + ends[0]
    seen = ~np.isnan(found)
    if seen.sum() < 20:
        return np.asarray(middle + sign * expected)
    # Rows that show no side take the measured ones' ratio to the expected.
    ratio = np.interp(rows, rows[seen], found[seen] / expected[seen])
    ratio = cv2.medianBlur(ratio.astype(np.float32)[:, None].repeat(3, 1), 5)[:, 1]
    ratio = _smooth(ratio, 0.07 * size)
    # A coat stands off the body; what is worn instead does not.
    within = slice(max(0, int(neck[1])), max(1, int(hips[1])))
    worn = np.isin(parse[within], CLOTHES).sum()
    most = 1.2 if 2 * np.count_nonzero(parse[within] == Part.COAT) > worn else 1.5
    return np.asarray(middle + sign * expected * np.clip(ratio, 0.7, most))


def _smooth(values: np.ndarray, sigma: float) -> np.ndarray:
    return np.asarray(gaussian_filter1d(values.astype(float), sigma, axis=0, mode="nearest"))


def _median(values: np.ndarray) -> np.ndarray:
    return np.asarray(median_filter(values, 5, mode="nearest"))
