"""Says where each point of a garment goes on a body: the matched points that the splines are fitted to."""

from dataclasses import dataclass

import numpy as np

from worker.geometric.body import SIDES, Arm, Body
from worker.geometric.pattern import Pattern, Sleeve

_CHEST = 0.82  # from armpit to armpit, in units of Body.size; measured on catalogue photographs
_TUCK = (
    0.09  # a hem that ends within this share of the trunk's length of the old one takes the old one's place
)
_SHARP = 80.0  # degrees at the elbow from which on a sleeve is bent in two pieces
_STRETCH = 1.3  # how far a garment may be lengthened so that the old one's hem does not peep out


@dataclass(frozen=True)
class Match:
    """Matched points, float64 (n, 2) each, in canvas pixels."""

    garment: np.ndarray
    body: np.ndarray


@dataclass(frozen=True)
class Segment:
    """A stretch of a sleeve that is bent as one: its matched points, and which stretch of the arm it is on.

    Attributes:
        match: the matched points.
        first, last: where on the arm it may be seen, 0 shoulder, 1 elbow, 2 wrist; None, None for a sleeve
            that is bent as a whole.
    """

    match: Match
    first: float | None = None
    last: float | None = None


@dataclass(frozen=True)
class Placement:
    """Where the garment goes.

    Attributes:
        trunk: the trunk's matched points.
        sleeves: side -> the sleeve's segments, from back to front.
        cuff: side -> how far down the arm the sleeve ends, 0 shoulder, 1 elbow, 2 wrist.
        longer: side -> whether the sleeve covers some of the arm that is bare in the photograph.
        neckline: float64 (n, 2), the collar's front edge on the body, from the wearer's right to left.
        hem: float64 (768,), the hem's row in each column.
        top: the row of the neck points.
        pit: the row of the armpits.
        scale: canvas pixels per pixel of the garment's picture.
    """

    trunk: Match
    sleeves: dict[str, list[Segment]]
    cuff: dict[str, float]
    longer: dict[str, bool]
    neckline: np.ndarray
    hem: np.ndarray
    top: float
    pit: float
    scale: float


def place(pattern: Pattern, body: Body, cloth: np.ndarray, dress: np.ndarray) -> Placement:
    """Return the placement of a garment on a body.

    Args:
        pattern: the garment, taken apart.
        body: the body's measures.
        cloth: where the old garment is, bool (1024, 768).
        dress: where that is a dress, which may go on below the new garment, bool (1024, 768).
    """
    mark = pattern.mark
    chest = float(np.linalg.norm(mark["l_armpit"] - mark["r_armpit"]))
    scale = _CHEST * body.size / max(chest, 1.0)
    turned = min(1.0, float(np.linalg.norm(body.shoulder["l"] - body.shoulder["r"])) / body.size)

    top = _Shoulders(body, pattern, scale, turned)
    length = scale * float(mark["hem_centre"][1] - (mark["r_neck"][1] + mark["l_neck"][1]) / 2)
    hem = _hem(top.line + length, top.line, cloth, dress, body)

    garment, there = list(top.garment), list(top.there)
    pit_there = {side: top.armpit(side) for side in SIDES}
    for side in SIDES:
        garment.append(mark[f"{side}_armpit"])
        there.append(pit_there[side])
        begin = pit_there[side][1]
        end = hem[side]
        for t, point in zip(pattern.rows, pattern.sides[side], strict=True):
            y = begin + (end - begin) * t
            garment.append(point)
            there.append(np.array([_at(body.side_x[side], y), y]))
        garment.append(mark[f"{side}_hem"])
        there.append(np.array([_at(body.side_x[side], end), end]))
    # The middle keeps the print upright and centred.
    pits = (mark["r_armpit"] + mark["l_armpit"]) / 2
    begin = (pit_there["r"][1] + pit_there["l"][1]) / 2
    for t in (0.0, 0.33, 0.66, 1.0):
        y = begin + (hem["centre"] - begin) * t
        x = (_at(body.side_x["r"], y) + _at(body.side_x["l"], y)) / 2
        garment.append(pits + (mark["hem_centre"] - pits) * t)
        there.append(np.array([x if t else (pit_there["r"][0] + pit_there["l"][0]) / 2, y]))

    sleeves, cuff, longer = {}, {}, {}
    for side, sleeve in pattern.sleeves.items():
        arm = body.arms[side]
        if arm is None:
            arm = stub(body, side)
        covered, last = _old_cuff(arm, cloth)
        sleeves[side], cuff[side] = _sleeve(
            sleeve,
            pattern,
            side,
            arm,
            top.shoulder(side),
            body.tip[side],
            pit_there[side],
            body.size,
            scale,
            covered,
        )
        longer[side] = float(np.interp(last, arm.along, arm.at)) < cuff[side] - 0.1
    ends = [
        (_at(body.side_x["r"], hem["r"]), hem["r"]),
        (x, hem["centre"]),
        (_at(body.side_x["l"], hem["l"]), hem["l"]),
    ]
    edge = np.interp(np.arange(cloth.shape[1]) + 0.5, [e[0] for e in ends], [e[1] for e in ends])
    return Placement(
        Match(np.array(garment), np.array(there)),
        sleeves,
        cuff,
        longer,
        top.neckline,
        edge,
        top.line,
        begin,
        scale,
    )


class _Shoulders:
    """The garment's upper edge on the body: collar and shoulders."""

    def __init__(self, body: Body, pattern: Pattern, scale: float, turned: float) -> None:
        self.body, self.pattern, self.scale = body, pattern, scale * 1.0
        self.across = scale * turned
        mark = pattern.mark
        self.middle = (mark["r_neck"] + mark["l_neck"]) / 2
        self.line = float(np.mean([self.top_at(side, mark[f"{side}_neck"])[1] for side in SIDES]))
        self.garment: list[np.ndarray] = []
        self.there: list[np.ndarray] = []
        for side in SIDES:
            neck, shoulder = mark[f"{side}_neck"], mark[f"{side}_shoulder"]
            self.add(shoulder, self.shoulder(side))
            if np.linalg.norm(neck - shoulder) > 12:
                self.add(neck, self.top_at(side, neck))
                between = (neck + shoulder) / 2
                self.add(between, (self.top_at(side, neck) + self.shoulder(side)) / 2)
        right, left = (self.top_at(side, mark[f"{side}_neck"]) for side in SIDES)
        n = len(pattern.neckline)
        t = np.linspace(0, 1, n)[:, None]
        sag = pattern.neckline - (pattern.neckline[0] + (pattern.neckline[-1] - pattern.neckline[0]) * t)
        self.neckline = right + (left - right) * t + np.column_stack([np.zeros(n), sag[:, 1] * self.scale])
        for i in (n // 4, n // 2, n - 1 - n // 4):
            self.add(pattern.neckline[i], self.neckline[i])

    def add(self, garment: np.ndarray, there: np.ndarray) -> None:
        self.garment.append(garment)
        self.there.append(there)

    def top_at(self, side: str, point: np.ndarray) -> np.ndarray:
        """Return where a point of the garment's upper edge lies on the shoulder's slope."""
        body = self.body
        aside = abs(point[0] - self.middle[0]) * self.across
        sign = -1.0 if side == "r" else 1.0
        x = body.neck[0] + sign * aside
        return np.array([x, shoulder_line(body, side, x)])

    def shoulder(self, side: str) -> np.ndarray:
        """Return the shoulder's end, where the sleeve begins: on the skyline, inside of the joint."""
        body = self.body
        sign = -1.0 if side == "r" else 1.0
        inset = 0.09 * abs(body.shoulder["l"][0] - body.shoulder["r"][0])
        x = body.shoulder[side][0] - sign * inset
        if not self.pattern.sleeves:
            # Without a sleeve the cloth ends where its own cut says, at most at the shoulder's end.
            x_own = self.top_at(side, self.pattern.mark[f"{side}_shoulder"])[0]
            limit = body.shoulder[side][0] + sign * 0.05 * body.size
            x = max(x_own, limit) if side == "r" else min(x_own, limit)
        return np.array([x, shoulder_line(body, side, x)])

    def armpit(self, side: str) -> np.ndarray:
        body, mark = self.body, self.pattern.mark
        sign = -1.0 if side == "r" else 1.0
        seam = self.scale * float(mark[f"{side}_armpit"][1] - mark[f"{side}_shoulder"][1])
        y = self.shoulder(side)[1] + np.clip(seam, 0.40 * body.size, 0.62 * body.size)
        inset = 0.09 * abs(body.shoulder["l"][0] - body.shoulder["r"][0])
        x = body.shoulder[side][0] - sign * inset
        return np.array([x, y])


def shoulder_line(body: Body, side: str, x: float) -> float:
    """Return the row of the shoulder's upper edge in a column, from the silhouette where it is plausible.

    Hair may hide the silhouette and an upright collar may raise it: then the slope of a shoulder holds.
    """
    joint, tip = body.shoulder[side], body.tip[side]
    inward = abs(x - tip[0]) / body.size
    # Nearly level at the joint, steeper towards the neck (trapezius).
    expected = tip[1] - body.size * (0.20 * inward + 0.55 * inward**2)
    if abs(x - body.neck[0]) > abs(joint[0] - body.neck[0]):
        expected = tip[1]
    columns = np.clip(np.arange(int(x) - 4, int(x) + 5), 0, len(body.skyline) - 1)
    seen = body.skyline[columns]
    if np.isnan(seen).all():
        return float(expected)
    found = float(np.nanmedian(seen))
    # A puffed sleeve raises what is expected, an upright collar what is seen.
    return found if -0.085 < (found - expected) / body.size < 0.25 else float(expected)


def _hem(own: float, line: float, cloth: np.ndarray, dress: np.ndarray, body: Body) -> dict[str, float]:
    """Return the hem's row in the middle and at the sides: the garment's own length, or the old hem.

    A hem near the old one takes its place, and a garment that is a little shorter is lengthened, so that
    nothing of the old one peeps out and trousers keep their waistband. A dress goes on below as a skirt.
    """
    level = {"r": own, "centre": own, "l": own}
    old = _lowest(cloth, body, -0.15, 0.15)
    if old is None:
        return level
    trunk = old - line
    y, x = (
        int(np.clip(old - 0.1 * body.size, 0, dress.shape[0] - 1)),
        int(np.clip(body.hips[0], 0, dress.shape[1] - 1)),
    )
    skirted = dress[y, x]
    if abs(own - old) < _TUCK * trunk or (own < old and trunk < _STRETCH * (own - line) and not skirted):
        at_sides = {"r": _lowest(cloth, body, -0.38, -0.22), "l": _lowest(cloth, body, 0.22, 0.38)}
        room = 0.06 * body.size
        level = {
            side: float(np.clip(y, old - room, old + room)) if y is not None else old
            for side, y in at_sides.items()
        }
        return {side: y + 2 for side, y in {**level, "centre": old}.items()}
    return level


def _lowest(cloth: np.ndarray, body: Body, first: float, last: float) -> float | None:
    """Return the lowest row of the old garment aside of the trunk's middle, in units of Body.size."""
    rows = []
    y = int(np.clip(body.hips[1] - 0.3 * body.size, 0, cloth.shape[0] - 1))
    middle = (_at(body.side_x["r"], y) + _at(body.side_x["l"], y)) / 2
    for x in np.linspace(first, last, 7) * body.size + middle:
        column = np.nonzero(cloth[:, int(np.clip(x, 0, cloth.shape[1] - 1))])[0]
        if len(column):
            rows.append(column[-1] + 1)
    return float(np.median(rows)) if len(rows) >= 4 else None


def _at(edge: np.ndarray, y: float) -> float:
    return float(np.interp(y, np.arange(len(edge)) + 0.5, edge))


def stub(body: Body, side: str) -> Arm:
    """Return an arm that hangs straight down, for one whose elbow is not seen."""
    n = 14
    at = np.linspace(0, 1, n)
    centre = body.shoulder[side] + np.column_stack([np.zeros(n), at * 0.95 * body.size])
    normal = np.tile([-1.0 if side == "r" else 1.0, 0.0], (n, 1))
    skin = body.size * np.interp(at, (0, 0.25, 1), (0.155, 0.15, 0.115))
    return Arm(centre, normal, at, skin, skin, skin, skin, skin, True)


def _straightened(arm: Arm) -> Arm:
    """Return an arm whose forearm is not seen, continued straight on: there a long sleeve would go."""
    n = len(arm.at)
    step = (arm.centre[-1] - arm.centre[0]) / n

    def longer(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values, np.repeat(values[-1:], n, 0)])

    more = np.arange(1, n + 1)
    return Arm(
        np.vstack([arm.centre, arm.centre[-1] + step * more[:, None]]),
        longer(arm.normal),
        np.concatenate([arm.at, 1 + more / n]),
        longer(arm.outer),
        longer(arm.inner),
        longer(arm.skin),
        longer(arm.bare_outer),
        longer(arm.bare_inner),
        arm.hidden,
    )


def _sleeve(
    sleeve: Sleeve,
    pattern: Pattern,
    side: str,
    arm: Arm,
    shoulder: np.ndarray,
    tip: np.ndarray,
    pit: np.ndarray,
    body_size: float,
    scale: float,
    old: float,
) -> tuple[list[Segment], float]:
    mark = pattern.mark
    if arm.hidden and pattern.sleeve == "long":
        arm = _straightened(arm)
    along = arm.along
    upper = along[np.searchsorted(arm.at, 1.0) if arm.at[-1] > 1 else -1]
    size = upper / 0.95  # shorter than the body's size where the arm points towards the camera
    reach = float(np.linalg.norm(shoulder - arm.centre[0]))
    length = scale * float(np.linalg.norm(mark[f"{side}_cuff_outer"] - mark[f"{side}_shoulder"]))
    if pattern.sleeve == "long":
        end = float(along[-1])
    else:
        end = float(np.clip(length - reach, 0.18 * size, along[-1]))
        # A sleeve about as long as the old one takes its place.
        if end < old < end + 0.3 * size:
            end = old + 3
        if _bend(arm) > _SHARP and upper < end < 1.3 * upper:
            end = upper  # no cloth is short enough to be turned so sharply just before its end
    # Where the inner side begins: abreast of the armpit.
    tangent = (arm.centre[min(4, len(arm.centre) - 1)] - arm.centre[0]) / max(along[4], 1e-6)
    inner_begin = float(np.clip((pit - arm.centre[0]) @ tangent, 0.05 * upper, 0.6 * upper))
    inner_end = max(end, inner_begin + 0.07 * size)

    first = 0.12 * body_size
    edge_out = _upto(
        arm.centre + arm.normal * np.maximum(arm.outer, 0.9 * arm.skin)[:, None] + 0, along, first, end
    )
    edge_out = np.vstack([shoulder, tip, edge_out])
    edge_in = _upto(arm.centre - arm.normal * arm.inner[:, None], along, inner_begin, inner_end)
    edge_in = np.vstack([pit, edge_in])
    outers = np.vstack([mark[f"{side}_shoulder"], sleeve.outer])
    inners = np.vstack([mark[f"{side}_armpit"], sleeve.inner])
    at = np.concatenate([[0.0], sleeve.at])
    elbow = upper / max(end, 1e-6)
    places = [0.0, 0.0, 0.0]
    garment = [outers[0], inners[0], (outers[0] + inners[0]) / 2]
    there = [shoulder, pit, (shoulder + pit) / 2]
    share_out, share_in = _shares(outers), _shares(inners)
    inner_cuff, last = inners[-1], inners[0]
    for i in range(1, len(outers)):
        outer, inner = outers[i], inners[i]
        a, b = _point(edge_out, share_out[i]), _point(edge_in, share_in[i])
        # A sleeve wider than the arm hangs away from it on the inner side.
        across = a - b
        length = max(float(np.linalg.norm(across)), 1e-6)
        wide = float(np.clip(scale * np.linalg.norm(outer - inner), length + 3, 1.6 * length))
        a = a + across / length * 2
        b = a - across / length * (wide if i > 1 else length)
        garment.append(outer)
        there.append(a)
        places.append(at[i])
        # A short sleeve's inner seam is a few pixels long: points closer than that only make ripples.
        if i == len(outers) - 1 or min(np.linalg.norm(inner - last), np.linalg.norm(inner - inner_cuff)) > 25:
            garment += [inner, (outer + inner) / 2]
            there += [b, (a + b) / 2]
            places += [at[i], at[i]]
            last = inner
    cuff = float(np.interp(end, along, arm.at))
    if arm.hidden:
        cuff = min(cuff, 1.0)
    where, garment_points, body_points = np.array(places), np.array(garment), np.array(there)

    def segment(keep: np.ndarray, first: float | None, last: float | None) -> Segment:
        return Segment(Match(garment_points[keep], body_points[keep]), first, last)

    if arm.hidden:
        return [segment(where >= 0, 0.0, 1.0)], cuff
    if cuff > 1.1 and _bend(arm) > _SHARP:
        # One smooth map cannot turn so sharply: upper arm and forearm are bent each by its own.
        near = 0.06
        return [segment(where <= elbow - near, 0.0, 1.0), segment(where >= elbow + near, 1.0, 2.0)], cuff
    return [segment(where >= 0, None, None)], cuff


def _bend(arm: Arm) -> float:
    """Return by how many degrees the elbow is bent; 0 is a straight arm."""
    corner = int(np.searchsorted(arm.at, 1.0))
    if corner + 3 >= len(arm.at):
        return 0.0
    before, after = arm.centre[corner - 3] - arm.centre[0], arm.centre[-1] - arm.centre[corner + 3]
    cosine = before @ after / max(float(np.linalg.norm(before) * np.linalg.norm(after)), 1e-6)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def _old_cuff(arm: Arm, cloth: np.ndarray) -> tuple[float, float]:
    """Return how far along the arm the old garment covers it, pixels: without a gap, and at the farthest.

    A hand before the arm makes a gap.
    """
    middle = arm.centre + arm.normal * ((arm.outer - arm.inner) / 2)[:, None]
    across = arm.normal * (0.25 * (arm.outer + arm.inner))[:, None]
    probes = np.stack([middle, middle + across], 1).astype(int)
    probes = np.clip(probes, 0, np.array(cloth.shape[::-1]) - 1)
    covered = cloth[probes[..., 1], probes[..., 0]].any(1)
    bare = np.nonzero(~covered[2:])[0]
    along = arm.along
    worn = np.nonzero(covered)[0]
    return (
        float(along[bare[0] + 2] if len(bare) else along[-1]),
        float(along[worn[-1]] if len(worn) else 0.0),
    )


def _upto(edge: np.ndarray, along: np.ndarray, first: float, last: float) -> np.ndarray:
    """Return the points of an edge between two lengths along the arm, ends included."""
    where = np.concatenate([[first], along[(along > first + 1) & (along < last - 1)], [last]])
    return np.column_stack([np.interp(where, along, edge[:, i]) for i in (0, 1)])


def _shares(line: np.ndarray) -> np.ndarray:
    """Return how far along a polyline each of its points is, 0..1."""
    steps = np.linalg.norm(np.diff(line, axis=0), axis=1)
    return np.asarray(np.concatenate([[0.0], np.cumsum(steps)]) / max(float(steps.sum()), 1e-6))


def _point(line: np.ndarray, share: float) -> np.ndarray:
    """Return the point a share of the way along a polyline."""
    shares = _shares(line)
    return np.array([np.interp(share, shares, line[:, i]) for i in (0, 1)])
