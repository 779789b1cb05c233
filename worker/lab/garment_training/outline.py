"""Creates random garment outlines with exact landmarks, in units of their shoulder width.

x points to the picture's right, y down; the shoulder line is at y = 0 and the axis at x = 0. A garment is a
list of parts, ordered from back to front.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.random import Generator

from worker.lab.garment_training.curves import STEPS, Line, curve, ellipse, mirrored, ribbon

Range = tuple[float, float]


@dataclass(frozen=True)
class Family:
    """How the garments of one family vary.

    Ranges are (low, high) in shoulder widths. They cover the garments of shops and private sellers, and were
    chosen by comparing contact sheets of drawn garments with the `train` photographs.

    Attributes:
        share: relative frequency of the family.
        neck: half the width between the neck points.
        depth: lowest point of the front neckline below the neck points.
        roundness: exponent of the neckline's curve: 1 is a V, 2 an ellipse, 6 nearly a square.
        shoulder: the shoulder's distance from the axis, as a share of half a shoulder width.
        slope: the shoulder's drop below the neck.
        chest: half the width at the armpits.
        armpit: the armpits' drop below the neck.
        armhole: how far the armhole curves inwards, as a share of its height.
        lengths: probabilities of cropped, regular, long, dress.
        sleeves: relative frequency of each sleeve.
        kind: top or outerwear.
        collar: none, shirt, high, hood or lapel.
        front: probabilities of closed, buttoned, open.
    """

    share: float = 1.0
    neck: Range = (0.17, 0.32)
    depth: Range = (0.07, 0.3)
    roundness: Range = (1.6, 2.6)
    shoulder: Range = (0.94, 1.05)
    slope: Range = (0.02, 0.17)
    chest: Range = (0.41, 0.58)
    armpit: Range = (0.36, 0.6)
    armhole: Range = (-0.02, 0.1)
    lengths: tuple[float, float, float, float] = (0.15, 0.6, 0.15, 0.1)
    sleeves: Mapping[str, float] = field(
        default_factory=lambda: {"none": 0.1, "cap": 0.12, "short": 0.42, "elbow": 0.11, "long": 0.25}
    )
    kind: str = "top"
    collar: str = "none"
    front: tuple[float, float, float] = (0.85, 0.15, 0.0)


_BARE = {"none": 1.0}
_CLOTHED = {"none": 0.06, "cap": 0.03, "short": 0.22, "elbow": 0.09, "long": 0.6}
FAMILIES: Mapping[str, Family] = {
    "tee": Family(share=0.30),
    "v": Family(share=0.09, roundness=(1.0, 1.25), depth=(0.2, 0.55), neck=(0.16, 0.27)),
    "square": Family(share=0.03, roundness=(4.0, 9.0), depth=(0.15, 0.4), neck=(0.22, 0.38)),
    "boat": Family(share=0.03, neck=(0.3, 0.42), depth=(0.03, 0.1)),
    "tank": Family(
        share=0.13, neck=(0.22, 0.4), depth=(0.1, 0.6), shoulder=(0.86, 1.1), slope=(0.0, 0.1),
        chest=(0.45, 0.75), armhole=(0.05, 0.3), sleeves=_BARE,
    ),
    "strap": Family(share=0.13, sleeves={"strap": 1.0}, lengths=(0.3, 0.5, 0.12, 0.08), chest=(0.5, 0.75)),
    "halter": Family(
        share=0.05, neck=(0.12, 0.2), depth=(-0.04, 0.12), shoulder=(0.34, 0.66), slope=(0.06, 0.25),
        chest=(0.48, 0.68), armpit=(0.45, 0.7), armhole=(0.02, 0.16), sleeves=_BARE,
    ),
    "off-shoulder": Family(
        share=0.05, neck=(0.33, 0.44), depth=(0.0, 0.07), slope=(-0.04, 0.12), armpit=(0.25, 0.42),
        sleeves={"short": 0.6, "elbow": 0.15, "long": 0.25},
    ),
    "shirt": Family(
        share=0.14, neck=(0.15, 0.23), depth=(0.06, 0.3), roundness=(1.0, 1.6), sleeves=_CLOTHED,
        collar="shirt", front=(0.3, 0.62, 0.08), lengths=(0.05, 0.75, 0.15, 0.05),
    ),
    "jacket": Family(
        share=0.08, neck=(0.15, 0.23), depth=(0.25, 0.9), roundness=(1.0, 1.25), kind="outerwear",
        sleeves={"none": 0.08, "long": 0.92}, collar="lapel", front=(0.1, 0.6, 0.3),
        lengths=(0.08, 0.65, 0.27, 0.0),
    ),
    "hoodie": Family(
        share=0.06, neck=(0.16, 0.25), depth=(0.1, 0.3), sleeves={"none": 0.04, "short": 0.06, "long": 0.9},
        collar="hood", front=(0.5, 0.35, 0.15), lengths=(0.08, 0.8, 0.12, 0.0), chest=(0.5, 0.7),
    ),
    "high": Family(
        share=0.1, neck=(0.13, 0.22), depth=(0.02, 0.08), sleeves={"none": 0.12, **_CLOTHED},
        collar="high", front=(0.85, 0.15, 0.0),
    ),
}  # fmt: skip
"""The upper-body garments; straps and halters are difficult, and more frequent here than in shops."""

_LENGTHS: tuple[Range, ...] = ((0.8, 1.1), (1.15, 1.75), (1.75, 2.05), (2.25, 3.1))
_SLEEVE_LENGTHS: Mapping[str, Range] = {
    **{"cap": (0.06, 0.26), "short": (0.3, 0.56), "elbow": (0.6, 0.85)},
    "long": (0.88, 1.75),
}
_WOBBLE = 0.02  # standard deviation of the difference between left and right, shoulder widths
_BODYSUIT = 0.06  # share of the tops without collar
_QUILTED = 0.25  # share of the jackets


@dataclass
class Part:
    """One piece of cloth: its outline, its role for colouring, and its shade (1 as the body, 0 black)."""

    outline: Line
    role: str
    shade: float = 1.0


@dataclass
class Garment:
    """A garment, ready to be rendered.

    Attributes:
        parts: from back to front.
        points: landmark -> (x, y), without those that the garment does not have.
        uncertain: landmarks without an exact position; their weight is lower.
        seams: open lines of armholes, plackets, hems and collars.
        buttons: centres of buttons.
        kind, sleeve, neckline, front: attributes; None if unknown.
    """

    parts: list[Part] = field(default_factory=list)
    points: dict[str, tuple[float, float]] = field(default_factory=dict)
    uncertain: set[str] = field(default_factory=set)
    seams: list[Line] = field(default_factory=list)
    buttons: list[tuple[float, float]] = field(default_factory=list)
    kind: str | None = "top"
    sleeve: str | None = None
    neckline: str | None = None
    front: str | None = "closed"


@dataclass
class _Cut:
    """The measures of one side, x counted outwards from the axis; see Family."""

    neck: tuple[float, float]
    shoulder: tuple[float, float]
    armpit: tuple[float, float]
    waist: tuple[float, float]
    hem: tuple[float, float]
    armhole: float


@dataclass
class _Plan:
    """What both sides share."""

    family: str
    sides: dict[str, _Cut]
    depth: float
    back_depth: float
    roundness: float
    hem_drop: float
    bodysuit: bool
    sleeve: str


def random_garment(rng: Generator, family: str | None = None) -> Garment:
    """Return a random upper-body garment or dress, of one of FAMILIES or of any."""
    if family is None:
        family = pick(rng, {name: kind.share for name, kind in FAMILIES.items()})
    kind = FAMILIES[family]
    garment = Garment(kind=kind.kind, neckline=_neckline(family), front=None)
    plan = _plan(rng, family, garment)
    garment.sleeve = plan.sleeve
    garment.front = ("closed", "button", "open")[rng.choice(3, p=kind.front)]
    if family == "strap":
        _strap_top(rng, garment, plan)
    else:
        behind, before = _sleeves(rng, garment, plan)
        _collar_behind(rng, garment, plan, kind.collar)
        garment.parts += behind
        _body(rng, garment, plan)
        garment.parts += before
        _collar_before(rng, garment, plan, kind.collar)
    _front(rng, garment, plan)
    return garment


def _neckline(family: str) -> str | None:
    names = {
        "tee": None,
        "tank": None,
        "jacket": "collar",
        "shirt": "collar",
        "hoodie": "hood",
        "strap": None,
    }
    return names.get(family, family)


def _plan(rng: Generator, family: str, garment: Garment) -> _Plan:
    kind = FAMILIES[family]
    which = int(rng.choice(4, p=kind.lengths))
    length = rng.uniform(*_LENGTHS[which])
    if which == 3 and kind.kind == "top":
        garment.kind = "dress"
    neck, slope, chest = rng.uniform(*kind.neck), rng.uniform(*kind.slope), rng.uniform(*kind.chest)
    shoulder = 0.5 * rng.uniform(*kind.shoulder)
    armpit = min(rng.uniform(*kind.armpit), 0.62 * length)
    waist = chest * rng.uniform(0.78, 1.04)
    flared = rng.random() < (0.6 if which == 3 else 0.2)
    hem = chest * (rng.uniform(1.1, 1.3 + 0.35 * (length - 0.8)) if flared else rng.uniform(0.85, 1.12))
    drop = rng.choice([0.0, rng.uniform(-0.03, 0.05), rng.uniform(0.05, 0.22)], p=[0.35, 0.45, 0.2])
    base = _Cut(
        (neck, 0.0),
        (max(shoulder, neck + 0.05), slope),
        (chest, armpit),
        (waist, armpit + (length - armpit) * rng.uniform(0.3, 0.6)),
        (hem, length),
        rng.uniform(*kind.armhole),
    )
    depth = rng.uniform(*kind.depth)
    bodysuit = kind.collar == "none" and which < 3 and rng.random() < _BODYSUIT
    if garment.neckline is None and family in ("tee", "tank"):
        garment.neckline = "crew" if depth < 0.2 else "scoop"
    return _Plan(
        family,
        {side: _wobbled(rng, base) for side in "rl"},
        depth,
        min(depth - 0.02, rng.uniform(-0.03, 0.08) if rng.random() < 0.8 else depth * rng.uniform(0.3, 0.9)),
        rng.uniform(*kind.roundness),
        float(drop),
        bodysuit,
        pick(rng, kind.sleeves),
    )


def _wobbled(rng: Generator, cut: _Cut) -> _Cut:
    def moved(point: tuple[float, float]) -> tuple[float, float]:
        dx, dy = rng.normal(0, _WOBBLE, 2)
        return point[0] + float(dx), point[1] + float(dy)

    return replace(
        cut,
        shoulder=moved(cut.shoulder),
        armpit=moved(cut.armpit),
        waist=moved(cut.waist),
        hem=moved(cut.hem),
    )


def _body(rng: Generator, garment: Garment, plan: _Plan) -> None:
    """Add the inside of the back and the trunk, and set the trunk's landmarks."""
    front = _neck_curve(plan, plan.depth)
    if rng.random() < 0.88 and plan.back_depth < plan.depth - 0.015:
        back = _neck_curve(plan, plan.back_depth)
        garment.parts.append(Part(np.concatenate([front, back[::-1]]), "inside", rng.uniform(0.45, 0.95)))
    hem, centre = _hem(rng, plan)
    right, left = _flank(rng, plan.sides["r"], plan.bodysuit), _flank(rng, plan.sides["l"], plan.bodysuit)
    outline = np.concatenate([front, left, hem, mirrored(right)[::-1]])
    garment.parts.append(Part(outline, "cloth"))
    garment.seams += [front, hem]
    for side, sign in (("r", -1), ("l", 1)):
        cut = plan.sides[side]
        for name, (x, y) in (("neck", cut.neck), ("shoulder", cut.shoulder), ("armpit", cut.armpit)):
            garment.points[f"{side}_{name}"] = (sign * x, y)
        garment.points[f"{side}_hem"] = (sign * cut.hem[0], cut.hem[1])
    garment.points["neck_front"] = (0.0, plan.depth)
    garment.points["hem_centre"] = centre


def _neck_curve(plan: _Plan, depth: float) -> Line:
    """Return the neckline from the right neck point to the left, a superellipse."""
    turn = np.linspace(np.pi, 0, 2 * STEPS)
    power = 2 / plan.roundness
    along, down = np.cos(turn), np.sin(turn)
    width = np.where(along < 0, plan.sides["r"].neck[0], plan.sides["l"].neck[0])
    x = np.sign(along) * np.abs(along) ** power * width
    return np.stack([x, np.abs(down) ** power * depth], 1)


def _flank(rng: Generator, cut: _Cut, bodysuit: bool) -> Line:
    """Return one side's outline from the neck point by shoulder, armpit and waist to the hem's corner."""
    neck, shoulder, armpit = np.array(cut.neck), np.array(cut.shoulder), np.array(cut.armpit)
    arch = np.array([[0.0, rng.uniform(-0.012, 0.008)]])
    top = curve([neck, (neck + shoulder) / 2 + arch[0], shoulder])
    height = float(np.linalg.norm(armpit - shoulder))
    low = shoulder + 0.62 * (armpit - shoulder) - np.array([cut.armhole * height, 0.0])
    high = shoulder + 0.3 * (armpit - shoulder) - np.array([0.7 * cut.armhole * height, 0.0])
    hole = curve([shoulder, high, low, armpit])
    hem = np.array(cut.hem)
    if bodysuit:
        hem[0] = cut.waist[0] * 1.05
    side = curve([armpit, np.array(cut.waist), hem])
    return np.concatenate([top, hole, side])


def _hem(rng: Generator, plan: _Plan) -> tuple[Line, tuple[float, float]]:
    """Return the hem from the left corner to the right one, and its centre."""
    right, left = plan.sides["r"].hem, plan.sides["l"].hem
    if plan.bodysuit:
        for side in "rl":
            cut = plan.sides[side]
            plan.sides[side] = replace(cut, hem=(cut.waist[0] * 1.05, cut.hem[1]))
        low = max(right[1], left[1]) + rng.uniform(0.3, 0.55)
        crotch, edge = rng.uniform(0.05, 0.1), plan.sides
        corner_l, corner_r = np.array(edge["l"].hem), np.array(edge["r"].hem) * (-1, 1)
        leg_l = curve([corner_l, np.array([0.5 * corner_l[0], corner_l[1] + 0.35 * (low - corner_l[1])]),
                       np.array([crotch, low - 0.02])])  # fmt: skip
        leg_r = curve([np.array([-crotch, low - 0.02]),
                       np.array([0.5 * corner_r[0], corner_r[1] + 0.35 * (low - corner_r[1])]),
                       corner_r])  # fmt: skip
        return np.concatenate([leg_l, leg_r]), (0.0, low)
    share = np.linspace(0, 1, 2 * STEPS)
    x = left[0] + share * (-right[0] - left[0])
    bulge = (1 - np.abs(2 * share - 1) ** rng.uniform(1.6, 4.0)) * plan.hem_drop
    y = left[1] + share * (right[1] - left[1]) + bulge
    waves = rng.uniform(0, 0.012) * np.sin(2 * np.pi * (share * rng.uniform(1, 4) + rng.random()))
    line = np.stack([x, y + waves * np.sin(np.pi * share)], 1)
    middle = int(np.argmin(np.abs(x)))
    return line, (float(line[middle, 0]), float(line[middle, 1]))


def _sleeves(rng: Generator, garment: Garment, plan: _Plan) -> tuple[list[Part], list[Part]]:
    """Return the sleeves behind and in front of the trunk, and set the landmarks of the cuffs."""
    behind: list[Part] = []
    before: list[Part] = []
    if plan.sleeve in ("none", "strap"):
        return behind, before
    length = rng.uniform(*_SLEEVE_LENGTHS[plan.sleeve])
    style = _SleeveStyle.random(rng, plan.sleeve)
    over = rng.random() < 0.35
    for side, sign in (("r", -1), ("l", 1)):
        own = style.wobbled(rng)
        outline, outer, inner = _sleeve(plan.sides[side], length * rng.normal(1, 0.03), own, plan.sleeve)
        part = Part(outline * (sign, 1), "sleeve", rng.uniform(0.9, 1.0))
        crosses = own.lower_angle < 5 or over
        (before if crosses else behind).append(part)
        garment.points[f"{side}_cuff_outer"] = (sign * outer[0], outer[1])
        garment.points[f"{side}_cuff_inner"] = (sign * inner[0], inner[1])
        garment.seams.append(np.array([outer, inner]) * (sign, 1))
        cut = plan.sides[side]
        garment.seams.append(np.array([cut.shoulder, cut.armpit]) * (sign, 1))
    return behind, before


@dataclass
class _SleeveStyle:
    """Pose of both sleeves: angles in degrees outwards from straight down, widths in shoulder widths."""

    angle: float
    lower_angle: float
    cuff: float
    elbow: float
    puff: float

    @classmethod
    def random(cls, rng: Generator, sleeve: str) -> "_SleeveStyle":
        """Return a random style for a sleeve of this kind."""
        if sleeve == "long":
            angle = rng.choice(
                [rng.uniform(2, 20), rng.uniform(15, 45), rng.uniform(40, 80)], p=[0.5, 0.3, 0.2]
            )
            # Straight, folded over the body, or bent outwards.
            bend = rng.choice(
                [rng.normal(0, 6), -rng.uniform(15, 115), rng.uniform(0, 15)], p=[0.66, 0.26, 0.08]
            )
            cuff = rng.uniform(0.1, 0.22) if rng.random() < 0.8 else rng.uniform(0.2, 0.4)
        else:
            angle, bend, cuff = rng.uniform(12, 78), rng.normal(0, 5), rng.uniform(0.7, 1.05)
        puff = 0.0 if rng.random() < 0.75 else rng.uniform(0.02, 0.12)
        return cls(float(angle), float(angle + bend), float(cuff), rng.uniform(0.62, 1.0), puff)

    def wobbled(self, rng: Generator) -> "_SleeveStyle":
        """Return the style of one of the two sleeves: most are similar, some are not."""
        spread = 4.0 if rng.random() < 0.8 else 16.0
        turn, bend = rng.normal(0, spread), rng.normal(0, spread)
        return replace(self, angle=self.angle + turn, lower_angle=self.lower_angle + turn + bend)


def _sleeve(
    cut: _Cut, length: float, style: _SleeveStyle, kind: str
) -> tuple[Line, tuple[float, float], tuple[float, float]]:
    """Return a left sleeve's outline and its outer and inner cuff corner."""
    shoulder, armpit = np.array(cut.shoulder), np.array(cut.armpit)
    hole = float(np.linalg.norm(armpit - shoulder))
    upper, lower = np.deg2rad(style.angle), np.deg2rad(style.lower_angle)
    along_upper = np.array([np.sin(upper), np.cos(upper)])
    along_lower = np.array([np.sin(lower), np.cos(lower)])
    across = np.array([-np.cos(lower), np.sin(lower)])
    elbow = shoulder + 0.5 * length * along_upper
    outer = elbow + 0.5 * length * along_lower
    if kind == "cap":
        inner = armpit + 0.45 * length * np.array([np.sin(upper), np.cos(upper)])
    else:
        # The cuff of a short sleeve is about as wide as its armhole; that of a long one is drawn at random.
        width = style.cuff if kind == "long" else style.cuff * hole * 0.85
        inner = outer + width * across
    middle = across if kind == "long" else (inner - outer) / max(1e-6, float(np.linalg.norm(inner - outer)))
    at_elbow = elbow + middle * style.elbow * hole * (0.75 if kind == "long" else 0.95)
    puffed = elbow - style.puff * across * (1.5 if kind == "long" else 1.0)
    top = curve([shoulder, puffed, outer])
    bottom = curve([inner, at_elbow, armpit]) if kind in ("long", "elbow") else np.stack([inner, armpit])
    # The sleeve overlaps the trunk's edge, so that there is no gap along the armhole.
    tuck = np.stack([armpit - (0.06, -0.01), shoulder - (0.06, -0.03)])
    return (
        np.concatenate([top, bottom, tuck]),
        (float(outer[0]), float(outer[1])),
        (float(inner[0]), float(inner[1])),
    )


def _strap_top(rng: Generator, garment: Garment, plan: _Plan) -> None:
    """Add a top with straps: its neck and shoulder points are the straps' upper ends."""
    chest = (plan.sides["r"].armpit[0] + plan.sides["l"].armpit[0]) / 2
    drop, width = rng.uniform(0.22, 0.55), rng.uniform(0.012, 0.09)
    foot = chest * rng.uniform(0.45, 0.85)
    top = chest * rng.uniform(0.4, 0.9)
    sag = rng.choice([rng.uniform(-0.03, 0.04), rng.uniform(0.04, 0.25)], p=[0.45, 0.55])
    side_drop = rng.uniform(0.03, 0.22)
    for side in "rl":
        cut = plan.sides[side]
        plan.sides[side] = replace(cut, armpit=(cut.armpit[0], drop + side_drop))
    power = rng.uniform(1.0, 2.5)
    share = np.linspace(-1, 1, 2 * STEPS)
    edge = np.stack([share * foot, drop + sag * (1 - np.abs(share) ** power)], 1)
    back = np.stack([share * foot * 0.98, drop + rng.uniform(0.0, 0.3) * (1 - share**2)], 1)
    inside = np.concatenate([edge, back[::-1]])
    hem, centre = _hem(rng, plan)
    pits = {s: np.array(plan.sides[s].armpit) * (-1 if s == "r" else 1) ** np.array([1, 0]) for s in "rl"}
    dip = np.array([0.0, rng.uniform(-0.01, 0.05)])
    flanks = {}
    for side, sign in (("r", -1), ("l", 1)):
        feet = np.array([sign * foot, drop])
        cut = plan.sides[side]
        arm = curve([feet, (feet + pits[side]) / 2 + dip, pits[side]])
        down = curve([np.array(p) * (sign, 1) for p in (cut.armpit, cut.waist, cut.hem)])
        flanks[side] = np.concatenate([arm, down])
    if rng.random() < 0.8:
        garment.parts.append(Part(inside, "inside", rng.uniform(0.45, 0.9)))
    for side, sign in (("r", -1), ("l", 1)):
        upper = np.array([sign * top, rng.normal(0, 0.01)])
        if rng.random() < 0.7:
            rear = np.array([sign * chest * rng.uniform(0.45, 0.9), drop + rng.uniform(0.0, 0.25)])
            garment.parts.append(Part(ribbon(upper, rear, width), "strap", rng.uniform(0.6, 0.95)))
        front_strap = ribbon(upper, np.array([sign * (foot - width / 2), drop + 0.02]), width)
        garment.parts.append(Part(front_strap, "strap", 1.0))
        half = width / 2 if width > 0.05 else 0.0
        garment.points[f"{side}_neck"] = (float(upper[0] - sign * half), float(upper[1]))
        garment.points[f"{side}_shoulder"] = (float(upper[0] + sign * half), float(upper[1]))
        garment.points[f"{side}_armpit"] = (float(pits[side][0]), float(pits[side][1]))
        garment.points[f"{side}_hem"] = (sign * plan.sides[side].hem[0], plan.sides[side].hem[1])
    garment.parts.append(Part(np.concatenate([edge, flanks["l"], hem, flanks["r"][::-1]]), "cloth"))
    garment.seams += [edge, hem]
    lowest = edge[int(np.argmax(edge[:, 1]))] if sag > 0.04 else np.array([0.0, drop + sag])
    garment.points["neck_front"] = (0.0, float(lowest[1]))
    garment.points["hem_centre"] = centre
    garment.neckline = None


def _collar_behind(rng: Generator, garment: Garment, plan: _Plan, collar: str) -> None:
    """Add the part of a collar or hood behind the trunk."""
    neck = min(plan.sides[side].neck[0] for side in "rl")
    if collar == "hood":
        up = rng.random() < 0.6
        height, width = (rng.uniform(0.45, 0.75), rng.uniform(1.1, 1.5)) if up else (
            rng.uniform(0.08, 0.3), rng.uniform(1.3, 1.9))  # fmt: skip
        wide = neck * width
        lean = rng.normal(0, 0.05)
        half = [
            np.array([neck * 1.1, 0.06]),
            np.array([wide, -0.3 * height]),
            np.array([0.7 * wide, -0.8 * height]),
        ]
        top = [np.array([lean, -height])]
        ring = curve([p * (-1, 1) for p in half] + top + half[::-1])
        garment.parts.append(Part(ring, "hood", rng.uniform(0.85, 1.0)))
        inner = ellipse((lean * 0.6, -0.36 * height + plan.depth * 0.3),
                        (neck * 0.85, 0.45 * height + plan.depth * 0.5))  # fmt: skip
        garment.parts.append(Part(inner, "inside", rng.uniform(0.4, 0.85)))
    if collar in ("shirt", "lapel"):
        height = rng.uniform(0.04, 0.13)
        stand = ellipse((0.0, 0.01), (neck * rng.uniform(0.95, 1.08), height))
        garment.parts.append(Part(stand, "collar", rng.uniform(0.75, 0.95)))
        inner = ellipse((0.0, 0.02), (neck * 0.85, height * rng.uniform(0.4, 0.8)))
        garment.parts.append(Part(inner, "inside", rng.uniform(0.5, 0.9)))


def _collar_before(rng: Generator, garment: Garment, plan: _Plan, collar: str) -> None:
    """Add the part of a collar in front of the trunk, and move the landmarks that it hides."""
    necks = {"r": -plan.sides["r"].neck[0], "l": plan.sides["l"].neck[0]}
    if collar == "high":
        tall = rng.uniform(0.05, 0.36)
        narrow = rng.uniform(0.82, 1.0)
        right, left = necks["r"] * narrow, necks["l"] * narrow
        shape = np.array(
            [[necks["r"], 0.01], [right, -tall], [left, -tall], [necks["l"], 0.01], [0.0, plan.depth]]
        )
        garment.parts.append(Part(shape, "collar", 1.0))
        dip = tall * rng.uniform(0.04, 0.3)
        opening = ellipse(((right + left) / 2, -tall), ((left - right) / 2, dip))
        garment.parts.append(Part(opening, "inside", rng.uniform(0.5, 0.9)))
        garment.points["neck_front"] = ((right + left) / 2, -tall + dip)
        if tall < 0.14:
            garment.points["r_neck"], garment.points["l_neck"] = (right, -tall), (left, -tall)
        garment.seams.append(np.array([[necks["r"], 0.01], [0.0, plan.depth], [necks["l"], 0.01]]))
    if collar in ("shirt", "lapel"):
        height = rng.uniform(0.03, 0.1)
        long = rng.uniform(0.12, 0.24) if collar == "shirt" else plan.depth * rng.uniform(0.35, 0.7)
        spread = rng.uniform(0.0, 0.1) if collar == "shirt" else rng.uniform(0.05, 0.16)
        for sign, neck in ((-1, necks["r"]), (1, necks["l"])):
            tip = np.array([sign * spread + neck * 0.75, rng.normal(long, 0.01)])
            leaf = np.array(
                [
                    [0.75 * neck, -height],
                    [1.05 * neck, -0.2 * height],
                    [1.12 * neck, 0.05],
                    tip,
                    [0.0, plan.depth],
                ]
            )
            garment.parts.append(
                Part(leaf, "collar" if collar == "shirt" else "lapel", rng.uniform(0.9, 1.04))
            )
            garment.seams.append(leaf)


def _front(rng: Generator, garment: Garment, plan: _Plan) -> None:
    """Add the placket, the buttons or the gap of an open front."""
    low = garment.points["hem_centre"][1]
    high = garment.points["neck_front"][1]
    if garment.front == "open":
        gap = rng.uniform(0.03, 0.5)
        lean = rng.normal(0, 0.04)
        wedge = np.array([[0.0, high - 0.02], [lean + gap / 2, low + 0.01], [lean - gap / 2, low + 0.01]])
        garment.parts.append(Part(wedge, "inside", rng.uniform(0.3, 0.9)))
        garment.uncertain |= {"neck_front", "hem_centre"}
    if plan.family == "jacket" and rng.random() < _QUILTED:
        _quilt(rng, garment, plan)
    if garment.front == "button":
        half_way = plan.family in ("tee", "v", "high", "shirt") and rng.random() < 0.25
        end = high + 0.25 * (low - high) if half_way else low
        for x in rng.choice([0.0, 0.03]) * np.array([-1, 1]):
            garment.seams.append(np.array([[x, high], [x, end]]))
        if rng.random() < 0.75:
            garment.buttons += [
                (0.0, float(y)) for y in np.linspace(high + 0.04, end - 0.05, rng.integers(3, 9))
            ]
        if half_way and plan.family != "shirt":
            garment.uncertain.add("neck_front")


def _quilt(rng: Generator, garment: Garment, plan: _Plan) -> None:
    """Add horizontal seams over the trunk, as on a padded jacket."""
    right, left = -plan.sides["r"].armpit[0], plan.sides["l"].armpit[0]
    low = plan.sides["l"].hem[1]
    for y in np.linspace(plan.sides["l"].shoulder[1] + 0.1, low - 0.05, int(rng.integers(5, 16))):
        garment.seams.append(
            np.array([[right * 0.92, y], [0.0, y + rng.normal(0.01, 0.01)], [left * 0.92, y]])
        )


def pick(rng: Generator, shares: Mapping[str, float]) -> str:
    """Return a random name, with probability proportional to its share."""
    weights = np.array(list(shares.values()))
    return str(rng.choice(list(shares), p=weights / weights.sum()))
