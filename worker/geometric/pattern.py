"""Splits a garment's picture into trunk and sleeves, and finds the front edge of the collar."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import cv2
import numpy as np

from config.errors import SynthesisError
from worker.cloth.garment import BACKGROUND, Garment
from worker.geometric.body import SIDES
from worker.geometric.paint import mirrored
from worker.images.arrays import Canvas, Flags, Floats, Mask, Points

_AROUND_NECK = 24  # pixels around the collar's edge that are looked at: for gradients and the outline
_OVERLAP = 10  # pixels by which trunk and sleeve overlap at their seam, so that no gap opens there
_STATIONS = (
    0.12,
    0.25,
    0.37,
    0.48,
    0.59,
    0.69,
    0.79,
    0.90,
    1.0,
)  # positions along a sleeve where its outline is measured, 0 at the seam and 1 at the cuff
_ROWS = (0.18, 0.36, 0.54, 0.72, 0.88)  # the same along the trunk's side, from armpit to hem

Landmarks = dict[str, Points]
"""The garment's landmarks: name -> float64 (2,)."""


@dataclass(frozen=True)
class Sleeve:
    """One sleeve of the garment's picture; stations go from the seam to the cuff.

    Attributes:
        alpha: float32 (1024, 768), the sleeve's alpha; it fades out inside the seam.
        position: float64 (n,), the position of each station, 0..1.
        outer, inner: float64 (n, 2), the outline at the stations.
    """

    alpha: Floats
    position: Floats
    outer: Points
    inner: Points


@dataclass(frozen=True)
class Pattern:
    """A garment's parts.

    Attributes:
        colour: RGB uint8 (1024, 768, 3), the garment's colours continued beyond its outline.
        trunk: float32 (1024, 768), the trunk's alpha, without the inside of the back.
        sleeves: side -> Sleeve; empty for a garment without sleeves.
        neckline: float64 (n, 2), the front edge of the collar, from r_neck to l_neck.
        rows: float64 (m,), positions between armpit (0) and hem (1) where the sides are measured.
        sides: side -> float64 (m, 2), the trunk's outline there.
        landmarks: name -> float64 (2,).
        sleeve: the length of the sleeves, see `GarmentLandmarks.sleeve`.
    """

    colour: Canvas
    trunk: Floats
    sleeves: dict[str, Sleeve]
    neckline: Points
    rows: Floats
    sides: dict[str, Points]
    landmarks: Landmarks
    sleeve: str


def take_apart(garment: Garment) -> Pattern:
    """Return the parts of a garment."""
    image, mask, sleeve = garment.image, garment.mask, garment.landmarks.sleeve
    landmarks = {name: point.astype(float) for name, point in garment.landmarks.points.items()}
    solid = mask >= 128
    neckline = front_edge(image, solid, landmarks, garment.attributes["neckline"])
    alpha = _without_rim(mask)
    sag = float((neckline[:, 1] - np.linspace(neckline[0, 1], neckline[-1, 1], len(neckline))).max())
    if sag > 3 and solid[int(neckline[20, 1]) - 6, int(neckline[20, 0])]:
        alpha[_above(neckline, alpha.shape)] = 0

    trunk, sleeves = alpha.copy(), {}
    for side in SIDES if sleeve in ("long", "short") else ():
        armpit_row = landmarks[f"{side}_armpit"][1]
        beyond = _beyond_seam(side, landmarks, solid)
        alpha[_gap_beside_sleeve(image, beyond, armpit_row, sleeve)] = 0
        share = np.clip(0.5 + beyond / _OVERLAP, 0, 1)
        # Above the armpit the two overlap; below it the trunk must not contain any of the sleeve.
        above_armpit = np.arange(len(alpha))[:, None] < armpit_row
        trunk = np.minimum(trunk, alpha) * (beyond < np.where(above_armpit, 1.5 * _OVERLAP, 1.0))
        sleeve_alpha = (alpha * share).astype(np.float32)
        sleeves[side] = _sleeve(side, landmarks, sleeve_alpha, solid & (beyond > -2))
    rows = np.array(_ROWS)
    sides = {side: _outline(side, landmarks, trunk > 0.5, rows) for side in SIDES}
    return Pattern(
        _continued(image, alpha), trunk.astype(np.float32), sleeves, neckline, rows, sides, landmarks, sleeve
    )


def _gap_beside_sleeve(image: Canvas, beyond: Floats, armpit_row: float, sleeve: str) -> Flags:
    """Return the narrow gap between sleeve and trunk, which the mask may include, bool (h, w).

    beyond: see `_beyond_seam`.
    """
    reach = 30 if sleeve == "long" else 14
    lowest, highest = (BACKGROUND - 15,) * 3, (BACKGROUND + 15,) * 3
    gap = (cv2.inRange(image, lowest, highest) > 0) & (np.abs(beyond) < reach)
    gap[: int(armpit_row) - 40] = False
    return np.asarray(cv2.dilate(gap.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0)


def _continued(image: Canvas, alpha: Floats) -> Canvas:
    """Return the garment's colours continued beyond its outline, from inside its rim.

    The rim is mixed with the background's colour and reflects the studio's light.
    """
    inside = alpha > 0.98
    deep = cv2.erode(inside.astype(np.uint8), np.ones((13, 13), np.uint8)) > 0
    if not deep.any():
        return mirrored(image, inside)
    return np.asarray(np.where(inside[..., None], image, mirrored(image, np.asarray(deep))))


def _without_rim(mask: Mask) -> Floats:
    """Return the mask as 0..1, eroded by a pixel: its rim is mixed with the picture's background."""
    smooth = cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), 1.0)
    return np.asarray(np.clip((smooth - 0.62) / 0.3, 0, 1))


def _beyond_seam(side: str, landmarks: Landmarks, solid: Flags) -> Floats:
    """Return each pixel's distance from the seam, positive on the sleeve's side, pixels, float32 (h, w)."""
    height, width = solid.shape
    x, y = np.arange(width)[None] + 0.5, np.arange(height) + 0.5
    shoulder, armpit, hem = (landmarks[f"{side}_{name}"] for name in ("shoulder", "armpit", "hem"))
    sign = -1.0 if side == "r" else 1.0
    # Above the armpit the seam runs from armpit to shoulder; below it the trunk's side separates them.
    edge = np.interp(y, [shoulder[1], armpit[1]], [shoulder[0], armpit[0]])
    below = y > armpit[1]
    edge[below] = _between(side, solid, armpit, hem)[below]
    return np.asarray(sign * (x.astype(np.float32) - edge[:, None].astype(np.float32)), np.float32)


def _between(side: str, solid: Flags, armpit: Points, hem: Points) -> Floats:
    """Return the column between trunk and sleeve in each row: the middle of the gap where there is one."""
    height, width = solid.shape
    sign = -1 if side == "r" else 1
    rows = np.arange(height) + 0.5
    straight = np.interp(rows, [armpit[1], hem[1]], [armpit[0], hem[0]])
    edge = straight + sign * 3.0
    half_width = abs(armpit[0] - width / 2)
    for row in range(int(armpit[1]), height):
        start = int(np.clip(straight[row] - sign * 0.12 * half_width, 0, width - 1))
        line = solid[row, start::sign] if sign > 0 else solid[row, start::-1]
        gaps = np.nonzero(~line)[0]
        if len(gaps) and gaps[0] < 0.3 * half_width:
            after = np.nonzero(line[gaps[0] :])[0]
            gap_width = after[0] if len(after) else 2 * _OVERLAP
            edge[row] = start + sign * (gaps[0] + min(gap_width, 4 * _OVERLAP) / 2)
    return np.asarray(edge)


def _sleeve(side: str, landmarks: Landmarks, alpha: Floats, area: Flags) -> Sleeve:
    """Return a sleeve with its outline measured in the area, bool (h, w)."""
    shoulder, armpit = landmarks[f"{side}_shoulder"], landmarks[f"{side}_armpit"]
    outer_end, inner_end = landmarks[f"{side}_cuff_outer"], landmarks[f"{side}_cuff_inner"]
    outer, inner = [], []
    position = np.array(_STATIONS)
    for t in position:
        a, b = shoulder + (outer_end - shoulder) * t, armpit + (inner_end - armpit) * t
        if t == 1.0:
            outer.append(outer_end)
            inner.append(inner_end)
            continue
        across = a - b
        length = max(float(np.linalg.norm(across)), 1.0)
        across /= length
        middle = (a + b) / 2
        outer.append(middle + across * _half_width(area, middle, across, length))
        inner.append(middle - across * _half_width(area, middle, -across, length))
    edges = np.array(outer), np.array(inner)
    _refuse_crossed(side, *edges)
    return Sleeve(alpha, position, *edges)


def _refuse_crossed(side: str, outer: Points, inner: Points) -> None:
    """Raise SynthesisError when a sleeve's outer edge is not on its outer side all along the sleeve."""
    middle = (outer + inner) / 2
    along = middle[-1] - middle[0]
    outwards = np.array([-along[1], along[0]]) * (1 if side == "r" else -1)
    if ((outer - inner) @ outwards <= 0).any():
        raise SynthesisError(
            "The garment's sleeves cannot be separated from its body. Use a photograph in which the sleeves "
            "are spread beside the body."
        )


def _half_width(area: Flags, start: Points, direction: Points, expected: float) -> float:
    """Return the distance from a point to the area's edge; half the expected width where it is unclear."""
    steps = np.arange(0, 2.5 * expected, 1.0)
    p = np.floor(start + steps[:, None] * direction).astype(int)
    p = np.clip(p, 0, np.array(area.shape[::-1]) - 1)
    outside = np.nonzero(~area[p[:, 1], p[:, 0]])[0]
    if len(outside) == 0 or outside[0] < 0.15 * expected:
        return expected / 2
    return float(steps[outside[0]])


def _outline(side: str, landmarks: Landmarks, trunk: Flags, rows: Floats) -> Points:
    """Return the trunk's outline on one side at the rows, float64 (m, 2)."""
    armpit, hem = landmarks[f"{side}_armpit"], landmarks[f"{side}_hem"]
    sign = -1 if side == "r" else 1
    middle = landmarks["hem_centre"][0]
    points = []
    for t in rows:
        straight = armpit + (hem - armpit) * t
        y = int(np.clip(straight[1], 0, trunk.shape[0] - 1))
        reach = abs(straight[0] - middle)
        xs = np.round(middle + sign * np.arange(0.6 * reach, 1.25 * reach)).astype(int)
        xs = xs[(xs >= 0) & (xs < trunk.shape[1])]
        inside = np.nonzero(trunk[y, xs])[0]
        x = xs[inside[-1]] + 0.5 if len(inside) and inside[-1] < len(xs) - 1 else straight[0]
        points.append((x, straight[1]))
    return np.array(points, float)


@dataclass(frozen=True)
class NecklineSettings:
    """How the front edge of the collar is found near the landmark of its lowest point.

    Attributes:
        spread: standard deviation of the logarithm of the edge's depth around the landmark's: a landmark is
            precise to about a hundredth of the garment, that is a tenth of a usual depth.
        least: smallest depth, collar widths: a flatter collar goes around the neck.
        standing: height above the neck points, collar widths, from which cloth there is a standing collar.
        insets: distances of the edge's ends from the neck points, collar widths.
        step: step between the depths that are compared, share of the landmark's.
        reach: largest change of the depth, share of the landmark's.
        min_probability: least probability of a neckline's kind with which only its own curves are compared.
        default_score: gradient, Lab units per 3 pixels, that an edge must exceed to replace the landmark's.
    """

    spread: float = 0.12
    least: float = 0.04
    standing: float = 0.12
    insets: tuple[float, ...] = (0.0, 0.05, 0.1)
    step: float = 0.05
    reach: float = 0.4
    min_probability: float = 0.6
    default_score: float = 1.5


NECKLINE = NecklineSettings()

Curve = tuple[float, float]
"""Exponents (p, q) of a sag (1 - |u|^p)^q, for u from -1 to 1."""

_ELLIPSE, _PARABOLA, _V, _SQUARE = (2.0, 0.5), (2.0, 1.0), (1.15, 1.0), (2.6, 0.4)
_SHAPES: Mapping[str, tuple[Curve, ...]] = {"v": (_V,), "square": (_SQUARE,), "collar": (_V, _PARABOLA)}
"""Neckline -> the curves it may have."""

_ROUND = (_ELLIPSE, _PARABOLA, _SQUARE)
"""The curves of all other necklines."""


def front_edge(
    image: Canvas,
    solid: Flags,
    landmarks: Landmarks,
    neckline: Mapping[str, Any],
    settings: NecklineSettings = NECKLINE,
) -> Points:
    """Return the front edge of the collar from r_neck to l_neck, float64 (n, 2).

    A product picture shows the inside of the back above this edge, which the person's neck will hide. The
    edge passes near the landmark ``neck_front``; of the curves of the neckline's kind it is the one along
    which the picture has the most constant gradient.

    Args:
        image: RGB uint8 (h, w, 3).
        solid: the garment, bool (h, w).
        landmarks: its landmarks.
        neckline: its kind, "value", with its "probability"; see `worker.cloth.garment_output.NECKLINES`.
        settings: how the edge is found.
    """
    right, left, front = landmarks["r_neck"], landmarks["l_neck"], landmarks["neck_front"]
    middle, width = (right + left) / 2, float(np.linalg.norm(left - right))
    base = right + (left - right) * np.linspace(0, 1, 41)[:, None]
    depth = float(front[1] - middle[1])
    columns = np.clip(base[:, 0].astype(int), 0, solid.shape[1] - 1)
    standing = float((base[:, 1] - solid[:, columns].argmax(0)).max()) > settings.standing * width
    if standing or depth < settings.least * width:
        return base  # a standing collar goes around the neck
    is_sure = neckline["probability"] >= settings.min_probability
    shapes = _SHAPES.get(neckline["value"], _ROUND) if is_sure else _ROUND
    return _steadiest_curve(image, solid, base, depth, shapes, settings)


def _steadiest_curve(
    image: Canvas,
    solid: Flags,
    base: Points,
    depth: float,
    shapes: Sequence[Curve],
    settings: NecklineSettings,
) -> Points:
    """Return the curve below the base with the most constant gradient across it, float64 (n, 2).

    Args:
        image: RGB uint8 (h, w, 3).
        solid: bool (h, w), the garment.
        base: float64 (n, 2), the straight line between the neck points.
        depth: the expected depth, pixels.
        shapes: the curves to compare.
        settings: the range of the depth.
    """
    # Only the part of the picture around the curves is looked at.
    corner = np.maximum(np.floor(base.min(0)).astype(int) - _AROUND_NECK, 0)
    lowest = np.array([0.0, (1 + settings.reach) * depth])
    end = np.ceil(base.max(0) + lowest).astype(int) + _AROUND_NECK
    part = slice(corner[1], end[1]), slice(corner[0], end[0])
    image, solid, base = np.ascontiguousarray(image[part]), solid[part], base - corner
    lab = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2LAB), (0, 0), 1.5).astype(np.float32)
    # The garment's own outline is excluded.
    deep = cv2.erode(solid.astype(np.uint8), np.ones((13, 13), np.uint8)) > 0
    grad_x, grad_y = lab - np.roll(lab, 3, 1), lab - np.roll(lab, 3, 0)
    best, best_score = _curve(base, depth, shapes[0]), settings.default_score
    factors = np.arange(1 - settings.reach, 1 + settings.reach + settings.step / 2, settings.step)
    for factor, inset, shape in product(factors, settings.insets, shapes):
        whole = _curve(base, factor * depth, shape, inset)
        curve = whole[3:-3]
        p = np.clip(curve.astype(int), 2, np.array(solid.shape[::-1]) - 3)
        if deep[p[5:-5, 1], p[5:-5, 0]].mean() < 0.95:
            continue
        tangent = np.gradient(curve, axis=0)
        tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
        across = grad_x[p[:, 1], p[:, 0]] * -tangent[:, 1:] + grad_y[p[:, 1], p[:, 0]] * tangent[:, :1]
        prior = float(np.exp(-0.5 * (np.log(factor) / settings.spread) ** 2))
        score = float(np.quantile(np.linalg.norm(across, axis=1), 0.35) * prior * (1 - 2 * inset))
        if score > best_score:
            best, best_score = whole, score
    return np.asarray(best + corner)


def _curve(base: Points, depth: float, shape: tuple[float, float], inset: float = 0.0) -> Points:
    """Return the curve that sags below a line; `inset` shortens it at both ends, in widths."""
    base = base + (base.mean(0) - base) * 2 * inset
    u = np.linspace(-1, 1, len(base))
    sag = (1 - np.abs(u) ** shape[0]) ** shape[1]
    return np.asarray(base + np.column_stack([np.zeros_like(u), depth * sag]))


def _above(neckline: Points, shape: tuple[int, ...]) -> Flags:
    """Return which pixels are above the neckline, between its ends, bool (h, w)."""
    top = neckline.copy()
    top[:, 1] = -1
    area = np.zeros(shape[:2], np.uint8)
    outline = np.concatenate([neckline, top[::-1]])
    cv2.fillPoly(area, [np.round((outline - 0.5) * 16).astype(np.int32)], 1, cv2.LINE_8, 4)
    return area > 0
