"""Places a garment on a body: the matched points that the splines are fitted to."""

from dataclasses import dataclass

import numpy as np

from config.errors import SynthesisError
from worker.geometric.body import SIDES, Arm, Body
from worker.geometric.pattern import Pattern, Sleeve
from worker.images.arrays import Flags, Floats, Points

_CHEST = 0.82  # from armpit to armpit, in units of Body.size; measured on catalogue photographs
_HEM_SNAP = 0.09  # a hem this close to the old one, as a share of the trunk's length, is moved to the old one
_MAX_LENGTHENING = 1.45  # most that a garment is lengthened to cover the old one's hem
_MIN_REGULAR = 1.25  # length of a garment that reaches the hips, its chest widths; a cropped one has less
_MAX_UNCOVERED = (
    0.12  # old garment below a cropped one's hem from which it cannot be worn, shares of the trunk
)
_REGULAR_REACH = 1.05  # where such a garment ends at least, shares of the distance from neck to hips
_SHARP_ELBOW = 80.0  # degrees at the elbow from which a sleeve is warped in two segments
_ELBOW_GAP = 0.06  # positions along the sleeve around the elbow that belong to neither segment
_HAND_SHARE = 0.25  # of an arm's points: a hand in front of a sleeve hides fewer, so more are a bare arm
_MIN_INNER_DISTANCE = 25.0  # pixels between points of a sleeve's inner seam: closer points cause ripples


@dataclass(frozen=True)
class Match:
    """Matched points, float64 (n, 2) each, in canvas pixels."""

    garment: Points
    body: Points


@dataclass(frozen=True)
class Segment:
    """A piece of a sleeve with a spline of its own: its matched points and its piece of the arm.

    Attributes:
        match: the matched points.
        first, last: positions on the arm where it may be visible, 0 shoulder, 1 elbow, 2 wrist; None, None
            for a whole sleeve.
    """

    match: Match
    first: float | None = None
    last: float | None = None


@dataclass(frozen=True)
class Placement:
    """Where the garment is placed.

    Attributes:
        trunk: the trunk's matched points.
        sleeves: side -> the sleeve's segments, from back to front.
        cuff: side -> the position on the arm where the sleeve ends, 0 shoulder, 1 elbow, 2 wrist.
        longer: side -> whether the sleeve covers a part of the arm that is bare in the photograph.
        neckline: float64 (n, 2), the collar's front edge on the body, from the wearer's right to left.
        hem: float64 (768,), the hem's row in each column.
        neck_row: the row of the neck points.
        armpit_row: the row of the armpits.
        scale: canvas pixels per pixel of the garment's picture.
    """

    trunk: Match
    sleeves: dict[str, list[Segment]]
    cuff: dict[str, float]
    longer: dict[str, bool]
    neckline: Points
    hem: Floats
    neck_row: float
    armpit_row: float
    scale: float


def place(pattern: Pattern, body: Body, cloth: Flags, dress: Flags) -> Placement:
    """Return the placement of a garment on a body.

    Args:
        pattern: the garment's parts.
        body: the body's measures.
        cloth: where the old garment is, bool (1024, 768).
        dress: where the old garment is a dress, which may stay on below the new one, bool (1024, 768).
    """
    landmarks = pattern.landmarks
    chest = float(np.linalg.norm(landmarks["l_armpit"] - landmarks["r_armpit"]))
    scale = _CHEST * body.size / max(chest, 1.0)
    turned = min(1.0, float(np.linalg.norm(body.shoulder["l"] - body.shoulder["r"])) / body.size)

    shoulders = _Shoulders(body, pattern, scale, turned)
    neck_row = shoulders.neck_row
    garment_neck_row = (landmarks["r_neck"][1] + landmarks["l_neck"][1]) / 2
    length = float(landmarks["hem_centre"][1] - garment_neck_row)
    own = neck_row + scale * length
    if length >= _MIN_REGULAR * chest:
        # A person who is turned or bends forward has narrow shoulders, but not a short trunk.
        own = max(own, neck_row + _REGULAR_REACH * (body.hips[1] - neck_row))
    hem = _hem(own, neck_row, cloth, dress, body)
    _refuse_uncovered(hem["centre"], neck_row, cloth, dress, body)
    armpits = {side: shoulders.armpit(side) for side in SIDES}
    trunk, middle = _trunk(pattern, body, shoulders, armpits, hem)

    sleeves, cuff, longer = {}, {}, {}
    for side, sleeve in pattern.sleeves.items():
        arm = body.arms[side] or stub(body, side)
        old = _old_sleeve(arm, cloth)
        fitter = _SleeveFitter(
            pattern, sleeve, side, body, arm, shoulders.shoulder(side), armpits[side], scale
        )
        sleeves[side], cuff[side] = fitter.fit(old.first_gap)
        longer[side] = old.last < cuff[side] - 0.1 or old.bare_share(arm, cuff[side]) > _HAND_SHARE
    ends = [
        (_at(body.side_x["r"], hem["r"]), hem["r"]),
        (middle, hem["centre"]),
        (_at(body.side_x["l"], hem["l"]), hem["l"]),
    ]
    edge = np.interp(np.arange(cloth.shape[1]) + 0.5, [e[0] for e in ends], [e[1] for e in ends])
    armpit_row = (armpits["r"][1] + armpits["l"][1]) / 2
    return Placement(trunk, sleeves, cuff, longer, shoulders.neckline, edge, neck_row, armpit_row, scale)


def _trunk(
    pattern: Pattern, body: Body, shoulders: "_Shoulders", armpits: dict[str, Points], hem: dict[str, float]
) -> tuple[Match, float]:
    """Return the trunk's matched points, and the column of the hem's middle."""
    landmarks = pattern.landmarks
    garment, on_body = list(shoulders.garment), list(shoulders.on_body)
    for side in SIDES:
        garment.append(landmarks[f"{side}_armpit"])
        on_body.append(armpits[side])
        begin, end = armpits[side][1], hem[side]
        for t, point in zip(pattern.rows, pattern.sides[side], strict=True):
            y = begin + (end - begin) * t
            garment.append(point)
            on_body.append(np.array([_at(body.side_x[side], y), y]))
        garment.append(landmarks[f"{side}_hem"])
        on_body.append(np.array([_at(body.side_x[side], end), end]))
    # The middle line keeps the print upright and centred.
    centre = (landmarks["r_armpit"] + landmarks["l_armpit"]) / 2
    begin = (armpits["r"][1] + armpits["l"][1]) / 2
    x = 0.0
    for t in (0.0, 0.33, 0.66, 1.0):
        y = begin + (hem["centre"] - begin) * t
        x = (_at(body.side_x["r"], y) + _at(body.side_x["l"], y)) / 2
        garment.append(centre + (landmarks["hem_centre"] - centre) * t)
        on_body.append(np.array([x if t else (armpits["r"][0] + armpits["l"][0]) / 2, y]))
    return Match(np.array(garment), np.array(on_body)), x


class _Shoulders:
    """The garment's upper edge on the body: collar and shoulders.

    Args:
        body: the body's measures.
        pattern: the garment's parts.
        scale: canvas pixels per pixel of the garment's picture.
        turned: width of the shoulders relative to a person seen from the front, 0..1.
    """

    def __init__(self, body: Body, pattern: Pattern, scale: float, turned: float) -> None:
        self.body, self.pattern, self.scale = body, pattern, scale
        self.scale_across = scale * turned
        landmarks = pattern.landmarks
        self.middle = (landmarks["r_neck"] + landmarks["l_neck"]) / 2
        self.neck_row = float(np.mean([self.top_at(side, landmarks[f"{side}_neck"])[1] for side in SIDES]))
        self.garment: list[Points] = []
        self.on_body: list[Points] = []
        for side in SIDES:
            neck, shoulder = landmarks[f"{side}_neck"], landmarks[f"{side}_shoulder"]
            self.add(shoulder, self.shoulder(side))
            if np.linalg.norm(neck - shoulder) > 12:
                self.add(neck, self.top_at(side, neck))
                between = (neck + shoulder) / 2
                self.add(between, (self.top_at(side, neck) + self.shoulder(side)) / 2)
        right, left = (self.top_at(side, landmarks[f"{side}_neck"]) for side in SIDES)
        n = len(pattern.neckline)
        t = np.linspace(0, 1, n)[:, None]
        sag = pattern.neckline - (pattern.neckline[0] + (pattern.neckline[-1] - pattern.neckline[0]) * t)
        self.neckline = right + (left - right) * t + np.column_stack([np.zeros(n), sag[:, 1] * self.scale])
        for i in (n // 4, n // 2, n - 1 - n // 4):
            self.add(pattern.neckline[i], self.neckline[i])

    def add(self, garment: Points, on_body: Points) -> None:
        """Add a pair of matched points."""
        self.garment.append(garment)
        self.on_body.append(on_body)

    def top_at(self, side: str, point: Points) -> Points:
        """Return the position of a point of the garment's upper edge on the shoulder's slope."""
        body = self.body
        aside = abs(point[0] - self.middle[0]) * self.scale_across
        sign = -1.0 if side == "r" else 1.0
        x = body.neck[0] + sign * aside
        return np.array([x, shoulder_line(body, side, x)])

    def shoulder(self, side: str) -> Points:
        """Return the shoulder's end, where the sleeve begins: on the trunk's upper edge, inside the joint."""
        body = self.body
        sign = -1.0 if side == "r" else 1.0
        inset = 0.09 * abs(body.shoulder["l"][0] - body.shoulder["r"][0])
        x = body.shoulder[side][0] - sign * inset
        if not self.pattern.sleeves:
            # Without a sleeve the cloth ends at its own width, at most at the shoulder's end.
            x_own = self.top_at(side, self.pattern.landmarks[f"{side}_shoulder"])[0]
            limit = body.shoulder[side][0] + sign * 0.05 * body.size
            x = max(x_own, limit) if side == "r" else min(x_own, limit)
        return np.array([x, shoulder_line(body, side, x)])

    def armpit(self, side: str) -> Points:
        """Return the position of the armpit: below the shoulder's end by the seam's length."""
        body, landmarks = self.body, self.pattern.landmarks
        sign = -1.0 if side == "r" else 1.0
        seam = self.scale * float(landmarks[f"{side}_armpit"][1] - landmarks[f"{side}_shoulder"][1])
        y = self.shoulder(side)[1] + np.clip(seam, 0.40 * body.size, 0.62 * body.size)
        inset = 0.09 * abs(body.shoulder["l"][0] - body.shoulder["r"][0])
        x = body.shoulder[side][0] - sign * inset
        return np.array([x, y])


def shoulder_line(body: Body, side: str, x: float) -> float:
    """Return the row of the shoulder's upper edge in a column, from the silhouette where it is plausible.

    Hair may hide the silhouette and an upright collar may raise it: then a usual slope is assumed.
    """
    joint, tip = body.shoulder[side], body.tip[side]
    inward = abs(x - tip[0]) / body.size
    # Nearly level at the joint, steeper towards the neck (trapezius).
    expected = tip[1] - body.size * (0.20 * inward + 0.55 * inward**2)
    if abs(x - body.neck[0]) > abs(joint[0] - body.neck[0]):
        expected = tip[1]
    columns = np.clip(np.arange(int(x) - 4, int(x) + 5), 0, len(body.top_edge) - 1)
    visible = body.top_edge[columns]
    if np.isnan(visible).all():
        return float(expected)
    measured = float(np.nanmedian(visible))
    # A puffed sleeve raises the expected row, an upright collar the measured one.
    return measured if -0.085 < (measured - expected) / body.size < 0.25 else float(expected)


def _hem(own: float, neck_row: float, cloth: Flags, dress: Flags, body: Body) -> dict[str, float]:
    """Return the hem's row in the middle and at the sides: from the garment's own length, or the old hem's.

    A hem near the old one is moved to it, and a garment that is a little shorter is lengthened, so that
    nothing of the old one is visible and trousers keep their waistband. A dress stays on below as a skirt.

    Args:
        own: the row of the hem by the garment's own length.
        neck_row: the row of the neck points.
        cloth: where the old garment is, bool (1024, 768).
        dress: where that is a dress, bool (1024, 768).
        body: the body's measures.
    """
    level = {"r": own, "centre": own, "l": own}
    old = _lowest(cloth, body, -0.15, 0.15)
    if old is None:
        return level
    trunk = old - neck_row
    row = int(np.clip(old - 0.1 * body.size, 0, dress.shape[0] - 1))
    column = int(np.clip(body.hips[0], 0, dress.shape[1] - 1))
    lengthened = own < old and trunk < _MAX_LENGTHENING * (own - neck_row) and not dress[row, column]
    if abs(own - old) < _HEM_SNAP * trunk or lengthened:
        at_sides = {"r": _lowest(cloth, body, -0.38, -0.22), "l": _lowest(cloth, body, 0.22, 0.38)}
        tolerance = 0.06 * body.size
        level = {
            side: float(np.clip(y, old - tolerance, old + tolerance)) if y is not None else old
            for side, y in at_sides.items()
        }
        return {side: y + 2 for side, y in {**level, "centre": old}.items()}
    return level


def _refuse_uncovered(hem: float, neck_row: float, cloth: Flags, dress: Flags, body: Body) -> None:
    """Raise SynthesisError when the old garment, not a dress, would go on far below the new one's hem."""
    old = _lowest(cloth, body, -0.15, 0.15)
    if old is None or dress.any() or old - hem <= _MAX_UNCOVERED * (old - neck_row):
        return
    raise SynthesisError(
        "The garment is much shorter than the one that the person wears, and what is under that is unknown. "
        "Use a photograph of the person in a shorter top, or a longer garment."
    )


def _lowest(cloth: Flags, body: Body, first: float, last: float) -> float | None:
    """Return the old garment's lowest row, pixels; None where it is hardly visible.

    first, last: columns to look at, from the trunk's middle, in units of Body.size.
    """
    rows = []
    y = int(np.clip(body.hips[1] - 0.3 * body.size, 0, cloth.shape[0] - 1))
    middle = (_at(body.side_x["r"], y) + _at(body.side_x["l"], y)) / 2
    for x in np.linspace(first, last, 7) * body.size + middle:
        column = np.nonzero(cloth[:, int(np.clip(x, 0, cloth.shape[1] - 1))])[0]
        if len(column):
            rows.append(column[-1] + 1)
    return float(np.median(rows)) if len(rows) >= 4 else None


def _at(edge: Floats, y: float) -> float:
    return float(np.interp(y, np.arange(len(edge)) + 0.5, edge))


def stub(body: Body, side: str) -> Arm:
    """Return an upper arm that hangs straight down, for an arm whose elbow is missing."""
    n = 14
    position = np.linspace(0, 1, n)
    centre = body.shoulder[side] + np.column_stack([np.zeros(n), position * 0.95 * body.size])
    normal = np.tile([-1.0 if side == "r" else 1.0, 0.0], (n, 1))
    skin = body.size * np.interp(position, (0, 0.25, 1), (0.155, 0.15, 0.115))
    return Arm(centre, normal, position, skin, skin, skin, skin, skin, True)


def _straightened(arm: Arm) -> Arm:
    """Return an arm with a hidden forearm, continued straight on for the length of a long sleeve."""
    n = len(arm.position)
    step = (arm.centre[-1] - arm.centre[0]) / n

    def extended(values: Floats) -> Floats:
        return np.concatenate([values, np.repeat(values[-1:], n, 0)])

    beyond = np.arange(1, n + 1)
    return Arm(
        np.vstack([arm.centre, arm.centre[-1] + step * beyond[:, None]]),
        extended(arm.normal),
        np.concatenate([arm.position, 1 + beyond / n]),
        extended(arm.outer),
        extended(arm.inner),
        extended(arm.skin),
        extended(arm.bare_outer),
        extended(arm.bare_inner),
        arm.hidden,
    )


class _SleeveFitter:
    """Matches the points of one sleeve with an arm.

    Args:
        pattern: the garment's parts.
        sleeve: one of its sleeves.
        side: the sleeve's side.
        body: the body's measures.
        arm: the arm that it is put on.
        shoulder, armpit: the ends of the seam on the body, float64 (2,).
        scale: canvas pixels per pixel of the garment's picture.
    """

    def __init__(
        self,
        pattern: Pattern,
        sleeve: Sleeve,
        side: str,
        body: Body,
        arm: Arm,
        shoulder: Points,
        armpit: Points,
        scale: float,
    ) -> None:
        self.long = pattern.sleeve == "long"
        self.arm = _straightened(arm) if self.long and arm.position[-1] <= 1 else arm
        self.shoulder, self.armpit, self.tip = shoulder, armpit, body.tip[side]
        self.scale, self.body_size = scale, body.size
        landmarks = pattern.landmarks
        seam_top, cuff = landmarks[f"{side}_shoulder"], landmarks[f"{side}_cuff_outer"]
        self.length = scale * float(np.linalg.norm(cuff - seam_top))
        # The outline in the garment's picture, from the seam to the cuff.
        self.outers = np.vstack([seam_top, sleeve.outer])
        self.inners = np.vstack([landmarks[f"{side}_armpit"], sleeve.inner])
        self.positions = np.concatenate([[0.0], sleeve.position])
        self.along = self.arm.along
        elbow = np.searchsorted(self.arm.position, 1.0) if self.arm.position[-1] > 1 else -1
        self.upper = self.along[elbow]
        # Smaller than the body's size where the arm points towards the camera.
        self.size = self.upper / 0.95

    def fit(self, old_end: float) -> tuple[list[Segment], float]:
        """Return the sleeve's segments, from back to front, and the position of its cuff on the arm.

        old_end: length along the arm that the old garment covers, pixels.
        """
        arm = self.arm
        end = self._end(old_end)
        places, garment, on_body = self._matched_points(*self._edges(end))
        cuff = float(np.interp(end, self.along, arm.position))
        if arm.hidden:
            cuff = min(cuff, 1.0)

        def segment(chosen: Flags, first: float | None, last: float | None) -> Segment:
            return Segment(Match(garment[chosen], on_body[chosen]), first, last)

        if arm.hidden:
            return [segment(places >= 0, 0.0, 1.0)], cuff
        if cuff > 1.1 and _elbow_angle(arm) > _SHARP_ELBOW:
            # One smooth map cannot turn so sharply: upper arm and forearm get a spline each.
            elbow = self.upper / max(end, 1e-6)
            upper = segment(places <= elbow - _ELBOW_GAP, 0.0, 1.0)
            return [upper, segment(places >= elbow + _ELBOW_GAP, 1.0, 2.0)], cuff
        return [segment(places >= 0, None, None)], cuff

    def _end(self, old_end: float) -> float:
        """Return the length along the arm where the sleeve ends, pixels."""
        if self.long:
            return float(self.along[-1])
        reach = float(np.linalg.norm(self.shoulder - self.arm.centre[0]))
        end = float(np.clip(self.length - reach, 0.18 * self.size, self.along[-1]))
        # A sleeve about as long as the old one ends where the old one does.
        if end < old_end < end + 0.3 * self.size:
            end = old_end + 3
        if _elbow_angle(self.arm) > _SHARP_ELBOW and self.upper < end < 1.3 * self.upper:
            end = float(self.upper)  # the short rest beyond such a sharp elbow would fold
        return end

    def _edges(self, end: float) -> tuple[Points, Points]:
        """Return the sleeve's outer and inner edge on the body, from the seam to its end, float64 (n, 2)."""
        arm, along = self.arm, self.along
        # The inner side begins at the height of the armpit.
        tangent = (arm.centre[min(4, len(arm.centre) - 1)] - arm.centre[0]) / max(along[4], 1e-6)
        armpit_at = (self.armpit - arm.centre[0]) @ tangent
        inner_begin = float(np.clip(armpit_at, 0.05 * self.upper, 0.6 * self.upper))
        inner_end = max(end, inner_begin + 0.07 * self.size)
        outer_edge = arm.centre + arm.normal * np.maximum(arm.outer, 0.9 * arm.skin)[:, None]
        outer = _between(outer_edge, along, 0.12 * self.body_size, end)
        inner = _between(arm.centre - arm.normal * arm.inner[:, None], along, inner_begin, inner_end)
        return np.vstack([self.shoulder, self.tip, outer]), np.vstack([self.armpit, inner])

    def _matched_points(self, edge_out: Points, edge_in: Points) -> tuple[Floats, Points, Points]:
        """Return positions along the sleeve (n,) and the matched points in garment and on the body (n, 2)."""
        outers, inners = self.outers, self.inners
        places = [0.0, 0.0, 0.0]
        garment = [outers[0], inners[0], (outers[0] + inners[0]) / 2]
        on_body = [self.shoulder, self.armpit, (self.shoulder + self.armpit) / 2]
        share_out, share_in = _shares(outers), _shares(inners)
        inner_cuff, last = inners[-1], inners[0]
        for i in range(1, len(outers)):
            outer, inner = outers[i], inners[i]
            a, b = _point(edge_out, share_out[i]), _point(edge_in, share_in[i])
            # A sleeve wider than the arm hangs away from it on the inner side.
            across = a - b
            length = max(float(np.linalg.norm(across)), 1e-6)
            wide = float(np.clip(self.scale * np.linalg.norm(outer - inner), length + 3, 1.6 * length))
            a = a + across / length * 2
            b = a - across / length * (wide if i > 1 else length)
            garment.append(outer)
            on_body.append(a)
            places.append(self.positions[i])
            # A short sleeve's inner seam may be only a few pixels long.
            nearest = min(np.linalg.norm(inner - last), np.linalg.norm(inner - inner_cuff))
            if i == len(outers) - 1 or nearest > _MIN_INNER_DISTANCE:
                garment += [inner, (outer + inner) / 2]
                on_body += [b, (a + b) / 2]
                places += [self.positions[i], self.positions[i]]
                last = inner
        return np.array(places), np.array(garment), np.array(on_body)


def _elbow_angle(arm: Arm) -> float:
    """Return the angle between upper arm and forearm, degrees; 0 for a straight arm."""
    corner = int(np.searchsorted(arm.position, 1.0))
    if corner + 3 >= len(arm.position):
        return 0.0
    before, after = arm.centre[corner - 3] - arm.centre[0], arm.centre[-1] - arm.centre[corner + 3]
    cosine = before @ after / max(float(np.linalg.norm(before) * np.linalg.norm(after)), 1e-6)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


@dataclass(frozen=True)
class _OldSleeve:
    """What the old garment covers of an arm.

    Attributes:
        first_gap: length along the arm from the shoulder to the first gap, pixels.
        last: position on the arm of the last covered point, 0 shoulder, 1 elbow, 2 wrist.
        covered: bool (n,), which of the arm's points are covered.
    """

    first_gap: float
    last: float
    covered: Flags

    def bare_share(self, arm: Arm, cuff: float) -> float:
        """Return the share of the points up to the cuff that are bare."""
        return float(np.mean(~self.covered[arm.position <= cuff]))


def _old_sleeve(arm: Arm, cloth: Flags) -> _OldSleeve:
    """Return what the old garment covers of an arm."""
    middle = arm.centre + arm.normal * ((arm.outer - arm.inner) / 2)[:, None]
    across = arm.normal * (0.25 * (arm.outer + arm.inner))[:, None]
    probes = np.stack([middle, middle + across], 1).astype(int)
    probes = np.clip(probes, 0, np.array(cloth.shape[::-1]) - 1)
    covered = np.asarray(cloth[probes[..., 1], probes[..., 0]].any(1))
    bare, covered_points = np.nonzero(~covered[2:])[0], np.nonzero(covered)[0]
    along = arm.along
    return _OldSleeve(
        float(along[bare[0] + 2] if len(bare) else along[-1]),
        float(arm.position[covered_points[-1]]) if len(covered_points) else 0.0,
        covered,
    )


def _between(edge: Points, along: Floats, first: float, last: float) -> Points:
    """Return the points of an edge between two lengths along the arm, ends included."""
    where = np.concatenate([[first], along[(along > first + 1) & (along < last - 1)], [last]])
    return np.column_stack([np.interp(where, along, edge[:, i]) for i in (0, 1)])


def _shares(line: Points) -> Floats:
    """Return the position of each point along a polyline, 0..1."""
    steps = np.linalg.norm(np.diff(line, axis=0), axis=1)
    return np.asarray(np.concatenate([[0.0], np.cumsum(steps)]) / max(float(steps.sum()), 1e-6))


def _point(line: Points, share: float) -> Points:
    """Return the point at a position along a polyline, 0..1."""
    shares = _shares(line)
    return np.array([np.interp(share, shares, line[:, i]) for i in (0, 1)])
