"""Says where each point of a garment goes on a body: the matched points that the splines are fitted to."""

from dataclasses import dataclass

import numpy as np

from worker.geometric.body import SIDES, Arm, Body
from worker.geometric.pattern import Pattern, Sleeve

_CHEST = 0.82  # from armpit to armpit, in units of Body.size; measured on catalogue photographs
_TUCK = 0.09  # a hem that ends within this share of the trunk's length of the old one takes the old one's place
_STRETCH = 1.3  # how far a garment may be lengthened so that the old one's hem does not peep out


@dataclass(frozen=True)
class Match:
    """Matched points, float64 (n, 2) each, in canvas pixels."""

    garment: np.ndarray
    body: np.ndarray


@dataclass(frozen=True)
class Placement:
    """Where the garment goes.

    Attributes:
        trunk: the trunk's matched points.
        sleeves: side -> the sleeve's matched points.
        cuff: side -> how far down the arm the sleeve ends, 0 shoulder, 1 elbow, 2 wrist.
        neckline: float64 (n, 2), the collar's front edge on the body, from the wearer's right to left.
        hem: the hem's row on the canvas.
        old_hem: the row where the old garment ends, or None.
        scale: canvas pixels per pixel of the garment's picture.
    """

    trunk: Match
    sleeves: dict[str, Match]
    cuff: dict[str, float]
    neckline: np.ndarray
    hem: float
    old_hem: float | None
    scale: float


def place(pattern: Pattern, body: Body, cloth: np.ndarray) -> Placement:
    """Return the placement of a garment on a body; cloth is where the old garment is, bool (1024, 768)."""
    mark = pattern.mark
    chest = float(np.linalg.norm(mark["l_armpit"] - mark["r_armpit"]))
    scale = _CHEST * body.size / max(chest, 1.0)
    turned = min(1.0, float(np.linalg.norm(body.shoulder["l"] - body.shoulder["r"])) / body.size)

    top = _Shoulders(body, pattern, scale, turned)
    old_hem = _old_hem(cloth, body)
    length = scale * float(mark["hem_centre"][1] - (mark["r_neck"][1] + mark["l_neck"][1]) / 2)
    hem = _hem(top.line + length, top.line, old_hem)

    garment, there = list(top.garment), list(top.there)
    pit_there = {side: top.armpit(side) for side in SIDES}
    for side in SIDES:
        garment.append(mark[f"{side}_armpit"])
        there.append(pit_there[side])
        begin = pit_there[side][1]
        for t, point in zip(pattern.rows, pattern.sides[side], strict=True):
            y = begin + (hem - begin) * t
            garment.append(point)
            there.append(np.array([_at(body.side_x[side], y), y]))
        garment.append(mark[f"{side}_hem"])
        there.append(np.array([_at(body.side_x[side], hem), hem - 0.012 * body.size]))
    # The middle keeps the print upright and centred.
    pits = (mark["r_armpit"] + mark["l_armpit"]) / 2
    begin = (pit_there["r"][1] + pit_there["l"][1]) / 2
    for t in (0.0, 0.33, 0.66, 1.0):
        y = begin + (hem - begin) * t
        x = (_at(body.side_x["r"], y) + _at(body.side_x["l"], y)) / 2
        garment.append(pits + (mark["hem_centre"] - pits) * t)
        there.append(np.array([x if t else (pit_there["r"][0] + pit_there["l"][0]) / 2, y]))

    sleeves, cuff = {}, {}
    for side, sleeve in pattern.sleeves.items():
        arm = body.arms[side]
        if arm is None:
            arm = _stub(body, side)
        sleeves[side], cuff[side] = _sleeve(sleeve, pattern, side, arm, top.shoulder(side), pit_there[side], scale)
    return Placement(
        Match(np.array(garment), np.array(there)), sleeves, cuff, top.neckline, hem, old_hem, scale
    )


class _Shoulders:
    """The garment's upper edge on the body: collar and shoulders."""

    def __init__(self, body: Body, pattern: Pattern, scale: float, turned: float) -> None:
        self.body, self.pattern, self.scale = body, pattern, scale * 1.0
        self.across = scale * turned
        mark = pattern.mark
        self.middle = (mark["r_neck"] + mark["l_neck"]) / 2
        self.line = float(np.mean([self.top_at(side, mark[f"{side}_neck"]) [1] for side in SIDES]))
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
        """Return the shoulder's end, where the sleeve begins: a little inside of the joint, on the skyline."""
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
    return found if abs(found - expected) < 0.085 * body.size else float(expected)


def _old_hem(cloth: np.ndarray, body: Body) -> float | None:
    """Return the lowest row where the old garment covers the middle third of the trunk."""
    lowest = []
    for x in np.linspace(-0.15, 0.15, 7) * body.size + body.hips[0]:
        column = np.nonzero(cloth[:, int(np.clip(x, 0, cloth.shape[1] - 1))])[0]
        if len(column):
            lowest.append(column[-1] + 1)
    return float(np.median(lowest)) if len(lowest) >= 4 else None


def _hem(own: float, line: float, old: float | None) -> float:
    if old is None:
        return own
    trunk = old - line
    if abs(own - old) < _TUCK * trunk:
        return old + 2
    if own < old and trunk < _STRETCH * (own - line):
        return old + 2
    return own


def _at(edge: np.ndarray, y: float) -> float:
    return float(np.interp(y, np.arange(len(edge)) + 0.5, edge))


def _stub(body: Body, side: str) -> Arm:
    """Return an arm that hangs straight down, for one whose elbow is not seen."""
    n = 14
    at = np.linspace(0, 1, n)
    centre = body.shoulder[side] + np.column_stack([np.zeros(n), at * 0.95 * body.size])
    normal = np.tile([-1.0 if side == "r" else 1.0, 0.0], (n, 1))
    skin = body.size * np.interp(at, (0, 0.25, 1), (0.155, 0.15, 0.115))
    return Arm(centre, normal, at, skin, skin, skin, True)


def _sleeve(
    sleeve: Sleeve,
    pattern: Pattern,
    side: str,
    arm: Arm,
    shoulder: np.ndarray,
    pit: np.ndarray,
    scale: float,
) -> tuple[Match, float]:
    mark = pattern.mark
    along = arm.along
    inner_cuff, last = mark[f"{side}_cuff_inner"], mark[f"{side}_armpit"]
    upper = along[np.searchsorted(arm.at, 1.0) if arm.at[-1] > 1 else -1]
    size = upper / 0.95  # shorter than the body's size where the arm points towards the camera
    reach = float(np.linalg.norm(shoulder - arm.centre[0]))
    length = scale * float(np.linalg.norm(mark[f"{side}_cuff_outer"] - mark[f"{side}_shoulder"]))
    if pattern.sleeve == "long":
        end = along[-1] * (1.0 if arm.hidden else 1.0)
    else:
        end = float(np.clip(length - reach, 0.18 * size, along[-1]))
    # Where the inner side begins: abreast of the armpit.
    tangent = (arm.centre[min(4, len(arm.centre) - 1)] - arm.centre[0]) / max(along[4], 1e-6)
    inner_begin = float(np.clip((pit - arm.centre[0]) @ tangent, 0.05 * upper, 0.6 * upper))
    inner_end = max(end, inner_begin + 0.07 * size)

    def on(where: float, values: np.ndarray) -> np.ndarray:
        return np.array([np.interp(where, along, values[:, i]) for i in range(values.shape[1])])

    def half(where: float, values: np.ndarray) -> float:
        return float(np.interp(where, along, values))

    garment = [mark[f"{side}_shoulder"], mark[f"{side}_armpit"]]
    garment.append((garment[0] + garment[1]) / 2)
    there = [shoulder, pit, (shoulder + pit) / 2]
    for t, outer, inner in zip(sleeve.at, sleeve.outer, sleeve.inner, strict=True):
        at_outer = end * t
        at_inner = inner_begin + (inner_end - inner_begin) * t
        skin = half(at_outer, arm.skin)
        wide = scale * float(np.linalg.norm(outer - inner))
        aside = max(half(at_outer, arm.outer), 0.9 * skin) + 2
        room = np.clip(wide - aside, half(at_inner, arm.inner) + 1, 1.9 * half(at_inner, arm.skin))
        a = on(at_outer, arm.centre) + on(at_outer, arm.normal) * aside
        b = on(at_inner, arm.centre) - on(at_inner, arm.normal) * room
        garment.append(outer)
        there.append(a)
        # A short sleeve's inner seam is a few pixels long: points closer than that only make ripples.
        if t == 1.0 or min(np.linalg.norm(inner - last), np.linalg.norm(inner - inner_cuff)) > 25:
            garment += [inner, (outer + inner) / 2]
            there += [b, (a + b) / 2]
            last = inner
    return Match(np.array(garment), np.array(there)), float(np.interp(end, along, arm.at))
