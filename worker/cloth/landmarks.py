"""Finds the landmarks of an upper-body garment, seen from the front, in its mask."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np

from config.errors import GarmentMaskError

Sleeve = Literal["long", "short", "sleeveless", "straps"]

NAMES = (
    "r_neck",
    "l_neck",
    "neck_front",
    "r_shoulder",
    "l_shoulder",
    "r_armpit",
    "l_armpit",
    "r_cuff_outer",
    "r_cuff_inner",
    "l_cuff_outer",
    "l_cuff_inner",
    "r_hem",
    "l_hem",
    "hem_centre",
)
"""The landmarks; r and l are the wearer's own, as in Body25: r is on the image's left."""


@dataclass(frozen=True)
class GarmentLandmarks:
    """Where the parts of an upper-body garment are on its canvas.

    Attributes:
        points: each of NAMES -> float32 (2,): x, y in canvas pixels, with pixel centres at whole
            numbers plus one half. ``neck_front`` is the lowest point of the front collar opening where
            it is to be seen, else the middle of the collar line. A sleeveless garment's
            ``cuff_outer`` is its shoulder and its ``cuff_inner`` its armpit.
        confidence: each of NAMES -> 0..1.
        sleeve: how far the sleeves go; ``straps`` is a top without a shoulder's width of cloth.
    """

    points: dict[str, np.ndarray]
    confidence: dict[str, float]
    sleeve: Sleeve

    def record(self) -> dict[str, Any]:
        """Return the landmarks as JSON values."""
        points = {name: [float(x) for x in point] for name, point in self.points.items()}
        return {"points": points, "confidence": self.confidence, "sleeve": self.sleeve}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "GarmentLandmarks":
        """Return the landmarks that `record` gave."""
        points = {name: np.array(point, np.float32) for name, point in record["points"].items()}
        return cls(points, dict(record["confidence"]), record["sleeve"])


_LONG = 1.5  # a sleeve longer than this many shoulder widths is long
_UNSURE = 0.3  # confidence of a point that is a rule of thumb's, not one that the outline shows

Side = Literal["r", "l"]


def find(mask: np.ndarray) -> GarmentLandmarks:
    """Return the landmarks of the upper-body garment in a canvas mask, uint8 (1024, 768), 128+ garment.

    The garment is seen from the front, hanging or lying flat, turned by at most some 10 degrees. Found
    are: the mirror axis by the best overlap with its own mirror image; armpits as the top of the gap
    between sleeve and body; cuffs and hem as the corners that lie furthest out; the neck points as the
    corners of the top outline. What the outline does not show gets a confidence of at most 0.3: an armpit
    whose sleeve lies on the body is put where the other side has it.

    Raises GarmentMaskError when the mask is empty, or its shape is not one that hangs from shoulders.
    """
    solid = mask >= 128
    if np.count_nonzero(solid) < 2000:
        raise GarmentMaskError("The garment's mask is empty: use a photograph that shows a garment.")
    axis, overlap = _mirror_axis(solid)
    # In the upright picture the axis is vertical and at x = centre.
    height, width = solid.shape
    diagonal = int(np.ceil(np.hypot(height, width)))
    turn = cv2.getRotationMatrix2D((axis.x, axis.y), axis.degrees, 1.0)
    turn[:, 2] += np.array([diagonal / 2 - axis.x, diagonal / 2 - axis.y])
    upright = cv2.warpAffine(solid.astype(np.uint8) * 255, turn, (diagonal, diagonal)) >= 128
    back = cv2.invertAffineTransform(turn)

    found = _upright_landmarks(_largest(upright), diagonal // 2)
    points = {
        name: (back[:, :2] @ found.points[name] + back[:, 2] + 0.5).astype(np.float32) for name in NAMES
    }
    # A shape that is not its own mirror image is not a garment from the front, or is folded.
    symmetric = float(np.clip((overlap - 0.6) / 0.3, 0.2, 1.0))
    confidence = {name: round(found.confidence[name] * symmetric, 3) for name in NAMES}
    return GarmentLandmarks(points, confidence, found.sleeve)


@dataclass(frozen=True)
class _Axis:
    x: float
    y: float
    degrees: float  # how far the garment is turned clockwise, as the picture is seen


def _mirror_axis(solid: np.ndarray) -> tuple[_Axis, float]:
    """Return the axis about which the shape mirrors best, and that overlap (intersection over union)."""
    step = 6
    small = cv2.resize(solid.astype(np.float32), None, fx=1 / step, fy=1 / step, interpolation=cv2.INTER_AREA)
    ys, xs = np.mgrid[: small.shape[0], : small.shape[1]]
    cx, cy = float((xs * small).sum() / small.sum()), float((ys * small).sum() / small.sum())

    def score(degrees: float, shift: float) -> float:
        # Mirror about the line through the centroid, moved sideways by `shift`, leaning by `degrees`.
        angle = np.deg2rad(degrees)
        normal = np.array([np.cos(angle), np.sin(angle)])
        reflect = np.eye(2) - 2 * np.outer(normal, normal)
        through = np.array([cx, cy]) + shift * normal
        offset = through - reflect @ through
        mirrored = cv2.warpAffine(
            small, np.column_stack([reflect, offset]), small.shape[::-1], flags=cv2.INTER_LINEAR
        )
        return float(np.minimum(small, mirrored).sum() / np.maximum(small, mirrored).sum())

    best = (score(0, 0), 0.0, 0.0)
    for degrees_step, shift_step in ((3.0, 2.0), (1.0, 0.7), (0.35, 0.25)):
        _, degrees, shift = best
        grid = [
            (degrees + a * degrees_step, shift + b * shift_step) for a in range(-4, 5) for b in range(-3, 4)
        ]
        best = max([best, *((score(d, t), d, t) for d, t in grid if abs(d) <= 15)])
    overlap, degrees, shift = best
    angle = np.deg2rad(degrees)
    x = (cx + shift * np.cos(angle) + 0.5) * step - 0.5
    y = (cy + shift * np.sin(angle) + 0.5) * step - 0.5
    return _Axis(x, y, degrees), overlap


@dataclass
class _Found:
    points: dict[str, np.ndarray]
    confidence: dict[str, float]
    sleeve: Sleeve


def _upright_landmarks(solid: np.ndarray, centre: int) -> _Found:
    """Return the landmarks of an upright garment whose axis is the column `centre`."""
    rows = np.nonzero(solid[:, centre - 3 : centre + 4].any(1))[0]
    every_row = np.nonzero(solid.any(1))[0]
    if len(rows) == 0:
        raise GarmentMaskError("The garment's middle is empty: use a photograph of one whole garment.")
    hem_y = int(np.median([np.nonzero(solid[:, x])[0].max() for x in _inside_columns(solid, centre)]))
    top_y = int(every_row[0])
    body = hem_y - top_y
    if body < 0.15 * np.ptp(np.nonzero(solid.any(0))[0]):
        raise GarmentMaskError(
            "The garment is wider than an upper-body garment is: use a photograph of one garment, spread "
            "out and seen from the front."
        )

    points: dict[str, np.ndarray] = {}
    confidence: dict[str, float] = {}
    halves = {side: _Half(solid, centre, side, top_y, hem_y) for side in ("r", "l")}
    pits = {side: half.gap_top() for side, half in halves.items()}
    # A sleeve that lies on the body shows no gap: the other side's tells where it would be.
    for side, other in (("r", "l"), ("l", "r")):
        if pits[side] is None and pits[other] is not None and halves[side].reaches_as(halves[other]):
            pits[side] = (pits[other][0].copy(), _UNSURE)  # type: ignore[index]
    sleeved = all(pit is not None for pit in pits.values())

    for side, half in halves.items():
        pit = pits[side]
        found = half.with_sleeve(*pit) if sleeved and pit is not None else half.without_sleeve()
        for name, (point, sure) in found.items():
            points[f"{side}_{name}"] = half.picture(point)
            confidence[f"{side}_{name}"] = sure

    points["neck_front"], confidence["neck_front"] = _neck_front(
        solid, points["r_neck"], points["l_neck"], body
    )
    points["hem_centre"] = np.array([centre, hem_y], float)
    confidence["hem_centre"] = 0.9
    return _Found(points, confidence, _sleeve(points, halves, sleeved, body))


def _sleeve(points: dict[str, np.ndarray], halves: "dict[str, _Half]", sleeved: bool, body: int) -> Sleeve:
    shoulders = float(np.linalg.norm(points["r_shoulder"] - points["l_shoulder"]))
    if sleeved:
        lengths = [
            np.linalg.norm(
                (points[f"{s}_cuff_outer"] + points[f"{s}_cuff_inner"]) / 2 - points[f"{s}_shoulder"]
            )
            for s in halves
        ]
        return "long" if float(np.mean(lengths)) > _LONG * shoulders else "short"
    chest = float(np.linalg.norm(points["r_armpit"] - points["l_armpit"]))
    widths = [half.shoulder_width(round(half.top_y + 0.06 * body)) for half in halves.values()]
    return "straps" if float(np.mean(widths)) < 0.14 * chest else "sleeveless"


def _neck_front(
    solid: np.ndarray, right: np.ndarray, left: np.ndarray, body: int
) -> tuple[np.ndarray, float]:
    """Return the lowest point of the neckline between the neck points, where it shows the background."""
    middle = (right + left) / 2
    x0, x1 = round(right[0]) + 2, round(left[0]) - 2
    if x1 - x0 < 5:
        return middle, _UNSURE
    tops = np.argmax(solid[:, x0:x1], axis=0).astype(float)
    tops = cv2.GaussianBlur(tops[None, :], (0, 0), 3)[0]
    # A slope falls to one side; only the depth below the line from neck to neck counts.
    line = np.linspace(right[1], left[1], len(tops))
    lowest = int(np.argmax(tops - line))
    depth = float(tops[lowest] - line[lowest])
    if depth < 0.05 * body:
        return middle, _UNSURE
    # Of a deep neckline this may be the back's edge, with the front's lower in front of it.
    return np.array([x0 + lowest, tops[lowest]]), 0.6


class _Half:
    """One side of an upright garment, seen so that outward is +x: columns count from the axis."""

    def __init__(self, solid: np.ndarray, centre: int, side: str, top_y: int, hem_y: int) -> None:
        self.sign = -1 if side == "r" else 1
        self.centre, self.top_y, self.hem_y = centre, top_y, hem_y
        half = solid[:, centre::-1] if side == "r" else solid[:, centre:]
        self.solid = np.ascontiguousarray(half)
        columns = np.nonzero(self.solid.any(0))[0]
        self.reach = int(columns[-1]) if len(columns) else 0
        self.body = hem_y - top_y

    def picture(self, point: np.ndarray) -> np.ndarray:
        """Return a point of this half in the upright picture."""
        return np.array([self.centre + self.sign * point[0], point[1]], float)

    def reaches_as(self, other: "_Half") -> bool:
        """Whether this half reaches out about as far as the other: it has a sleeve if that has one."""
        return self.reach > 0.75 * other.reach

    def torso_edge(self, y: int) -> int:
        """Return the column where the body ends in a row: the first gap after the axis."""
        row = self.solid[y]
        inside = np.nonzero(row[: max(3, self.reach // 3)])[0]
        if len(inside) == 0:
            return 0
        gaps = np.nonzero(~row[inside[0] :])[0]
        return int(inside[0] + gaps[0] - 1) if len(gaps) else len(row) - 1

    def gap_top(self) -> tuple[np.ndarray, float] | None:
        """Return the armpit, as the top of the gap between sleeve and body, and how sure; or None."""
        rows = np.arange(self.top_y + int(0.1 * self.body), self.hem_y - int(0.04 * self.body))
        # Background that has body on its inner side, and cloth above it or further out.
        part = self.solid[rows[0] : rows[-1] + 1]
        beyond = np.maximum.accumulate(part[:, ::-1], axis=1)[:, ::-1]
        above = np.maximum.accumulate(self.solid[: rows[-1] + 1], axis=0)[rows[0] :]
        below_shoulder = np.cumsum(self.solid[: rows[-1] + 1], axis=0)[rows[0] :]
        covered = ~part & (beyond | (above & (below_shoulder > 0.02 * self.body)))
        edges = np.array([self.torso_edge(int(y)) for y in rows])
        columns = np.arange(part.shape[1])
        covered &= (columns[None, :] > edges[:, None]) & (edges[:, None] > 0.15 * self.reach)
        count, labels, stats, _ = cv2.connectedComponentsWithStats(covered.astype(np.uint8), connectivity=4)
        best: tuple[float, np.ndarray] | None = None
        for index in range(1, count):
            y, x = np.nonzero(labels == index)
            if stats[index, cv2.CC_STAT_AREA] < 40 or np.ptp(y) < 0.015 * self.body:
                continue
            # The gap's end that lies furthest up and in.
            at = int(np.argmin(0.8 * y + 0.6 * x))
            # A sleeve lies over or outside the gap; a strap's or a ruffle's overhang is small.
            sleeve = self.reach_above(int(rows[0] + y.max())) - x[at]
            if sleeve < 0.12 * self.reach:
                continue
            size = float(stats[index, cv2.CC_STAT_AREA])
            if best is None or size > best[0]:
                best = (size, np.array([x[at], rows[0] + y[at]], float))
        return None if best is None else (best[1], 0.9)

    def reach_above(self, y: int) -> int:
        """Return how far out the garment reaches down to a row, pixels from the axis."""
        columns = np.nonzero(self.solid[self.top_y : y + 1].any(0))[0]
        return int(columns[-1]) if len(columns) else 0

    def with_sleeve(self, pit: np.ndarray, sure: float) -> dict[str, tuple[np.ndarray, float]]:
        """Return this half's landmarks, given its armpit."""
        neck, neck_sure = self.neck(pit[0])
        hem, hem_sure = self.hem(pit)
        sleeve = self.sleeve_pixels(pit, hem)
        rough = np.array([0.92 * pit[0], self.top_at(0.92 * pit[0])])
        if len(sleeve) < 30:
            outer, inner, cuff_sure = rough, pit, _UNSURE
        else:
            outer, inner = _cuff(sleeve, (rough + pit) / 2)
            cuff_sure = 0.9 if sure > _UNSURE else 0.6
        shoulder, shoulder_sure = self.shoulder(pit)
        return {
            "neck": (neck, neck_sure),
            "shoulder": (shoulder, shoulder_sure),
            "armpit": (pit, sure),
            "cuff_outer": (outer, cuff_sure),
            "cuff_inner": (inner, cuff_sure),
            "hem": (hem, hem_sure),
        }

    def without_sleeve(self) -> dict[str, tuple[np.ndarray, float]]:
        """Return this half's landmarks where it has no sleeve."""
        upper = self.outline(self.top_y, self.top_y + int(0.5 * self.body))
        # Shoulder: the outer end of the top; armpit: where the arm's opening ends and the side begins.
        top = self.outline(self.top_y, self.top_y + int(0.12 * self.body))
        shoulder = top[np.argmax(0.75 * top[:, 0] - 0.66 * top[:, 1])]
        pit, depth = _opening_end(upper[upper[:, 1] >= shoulder[1]], self.body)
        neck, neck_sure = self.neck(shoulder[0])
        row = min(round(self.top_y + 0.06 * self.body), self.solid.shape[0] - 1)
        if neck[0] > 0.8 * shoulder[0] and self.shoulder_width(row) > 0.5 * shoulder[0]:
            # A level top hides the neckline in front of the inner back: a rule of thumb.
            x = 0.55 * shoulder[0]
            neck, neck_sure = np.array([x, self.top_at(x)]), _UNSURE
        hem, hem_sure = self.hem(pit)
        sure = 0.8 if depth > 0.01 * self.body else _UNSURE
        return {
            "neck": (neck, neck_sure),
            "shoulder": (shoulder, 0.8),
            "armpit": (pit, sure),
            "cuff_outer": (shoulder, 0.8),
            "cuff_inner": (pit, sure),
            "hem": (hem, hem_sure),
        }

    def outline(self, y0: int, y1: int) -> np.ndarray:
        """Return the outermost point of each row, float (n, 2)."""
        rows = [y for y in range(y0, y1) if self.solid[y].any()]
        return np.array([(np.nonzero(self.solid[y])[0][-1], y) for y in rows], float)

    def top_at(self, x: float) -> float:
        """Return the topmost row of a column."""
        column = self.solid[:, round(x)]
        return float(np.argmax(column)) if column.any() else float(self.top_y)

    def neck(self, limit: float) -> tuple[np.ndarray, float]:
        """Return the neck point: the top outline's corner between collar and shoulder."""
        columns = np.arange(1, max(8, round(limit)))
        columns = columns[self.solid[:, columns].any(0)]
        top = np.column_stack([columns, np.argmax(self.solid[:, columns], axis=0)]).astype(float)
        # Halfway between a level collar and a shoulder's slope of some 22 degrees.
        corner = int(np.argmax(0.19 * top[:, 0] - 0.98 * top[:, 1]))
        neck = top[corner]
        # A high collar stands on the shoulder: its foot, where the outline turns outward, is the neck point.
        rest = top[corner:]
        if len(rest) > 10:
            deep = _below_chord(rest)
            foot = int(np.argmax(deep))
            if deep[foot] > 0.02 * self.body and rest[foot, 0] < neck[0] + 0.35 * self.reach:
                return rest[foot], 0.7
        return neck, 0.8

    def shoulder(self, pit: np.ndarray) -> tuple[np.ndarray, float]:
        """Return the shoulder tip: the outline does not show the seam, which runs up from the armpit
        and a little inward.
        """
        x = 0.96 * pit[0]
        return np.array([x, self.top_at(x)]), 0.5

    def hem(self, pit: np.ndarray) -> tuple[np.ndarray, float]:
        """Return the hem's corner: the body's point furthest down and out."""
        y0 = round(self.hem_y - 0.2 * (self.hem_y - pit[1]))
        last = self.solid.shape[0] - 1
        rows = range(y0, min(last, round(self.hem_y + 0.08 * self.body)))
        edges = {y: self.torso_edge(y) for y in rows if self.solid[y, : max(3, round(0.8 * pit[0]))].any()}
        # A sleeve that lies on the body widens it: below the hem the sleeve's inner side is to be seen.
        below = self.solid[min(last, self.hem_y + max(4, round(0.015 * self.body)))]
        hanging = np.nonzero(below[round(0.5 * pit[0]) :])[0]
        merged = 0.0
        if len(hanging) and not below[: round(0.4 * pit[0])].any():
            merged = float(round(0.5 * pit[0]) + hanging[0])
        points = np.array(
            [(min(x, merged) if merged and x > merged else x, y) for y, x in edges.items()], float
        )
        if len(points) == 0:
            return np.array([pit[0], self.hem_y], float), _UNSURE
        best = points[int(np.argmax(0.6 * points[:, 0] + 0.8 * points[:, 1]))]
        return best, 0.5 if merged and best[0] == merged else 0.85

    def sleeve_pixels(self, pit: np.ndarray, hem: np.ndarray) -> np.ndarray:
        """Return the sleeve's pixels (n, 2): outside the body's side, and above it outside the armpit."""
        y, x = np.nonzero(self.solid)
        slope = (hem[0] - pit[0]) / max(hem[1] - pit[1], 1.0)
        side = np.where(y < pit[1], pit[0], pit[0] + slope * (y - pit[1]))
        # The body may bulge between armpit and hem: in rows with a gap, beyond the gap is sleeve.
        edges = np.array([self.torso_edge(row) for row in range(self.solid.shape[0])])
        gap = (y > pit[1]) & (y < hem[1]) & (edges[y] < self.reach_above(self.hem_y)) & (x <= edges[y])
        outside = np.zeros_like(self.solid)
        keep = (x > side + 2) & ~(gap & (edges[y] < side + 0.25 * self.reach))
        outside[y[keep], x[keep]] = True
        sleeve = _largest(outside) if outside.any() else outside
        sy, sx = np.nonzero(sleeve)
        return np.column_stack([sx, sy]).astype(float)

    def shoulder_width(self, y: int) -> int:
        """Return how many pixels of a row are garment."""
        return int(np.count_nonzero(self.solid[y]))


def _cuff(sleeve: np.ndarray, root: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a sleeve's outer and inner corner at its end; `root` is the middle of its beginning."""
    along = sleeve.mean(0) - root
    along /= max(float(np.linalg.norm(along)), 1e-6)
    for _ in range(3):
        far = (sleeve - root) @ along
        # A sleeve bends: its end's own direction counts.
        end = sleeve[far > np.quantile(far, 0.5)]
        begin = sleeve[far <= np.quantile(far, 0.5)]
        along = end.mean(0) - begin.mean(0)
        along /= max(float(np.linalg.norm(along)), 1e-6)
    out = np.array([along[1], -along[0]])  # away from the body: to the right of a sleeve that hangs
    far, aside = (sleeve - root) @ along, (sleeve - root) @ out
    outer = sleeve[int(np.argmax(far + 0.8 * aside))]
    inner = sleeve[int(np.argmax(far - 0.8 * aside))]
    return outer, inner


def _opening_end(outline: np.ndarray, body: int) -> tuple[np.ndarray, float]:
    """Return where the arm's opening ends in a side's outline, (n, 2) downwards, and how clear that is.

    The opening is where the outline lies inside of its own convex hull near the top; its end is the
    corner that the hull touches next.
    """
    if len(outline) < 5:
        raise GarmentMaskError(
            "No shoulder is to be seen: use a photograph of an upper-body garment from the front."
        )
    y = outline[:, 1]
    x = cv2.GaussianBlur(outline[:, 0][None, :], (0, 0), max(1.0, 0.006 * body))[0]
    reach = int(np.searchsorted(y, y[0] + 0.42 * body))
    x, y = x[: max(reach, 5)], y[: max(reach, 5)]
    # The corner that stands out furthest over the chord from the shoulder to the middle of the side.
    below = np.linspace(x[0], x[-1], len(x))
    out = x - below
    skip = int(0.12 * body)
    at = skip + int(np.argmax(out[skip:])) if len(out) > skip + 3 else len(out) - 1
    if out[at] < 0.01 * body:
        # A straight side shows no corner; an arm's opening is about a third of the body.
        at = int(np.searchsorted(y, y[0] + 0.3 * body))
        at = min(at, len(y) - 1)
        return np.array([x[at], y[at]]), 0.0
    return np.array([x[at], y[at]]), float(out[at])


def _below_chord(points: np.ndarray) -> np.ndarray:
    """Return how far points lie below the line from the first to the last, pixels."""
    chord = points[-1] - points[0]
    normal = np.array([-chord[1], chord[0]]) / max(float(np.linalg.norm(chord)), 1e-6)
    return np.asarray((points - points[0]) @ normal, float)


def _inside_columns(solid: np.ndarray, centre: int) -> list[int]:
    return [x for x in range(centre - 12, centre + 13, 3) if solid[:, x].any()]


def _largest(solid: np.ndarray) -> np.ndarray:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(solid.astype(np.uint8), connectivity=8)
    if count < 2:
        return solid
    return np.asarray(labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA])))
