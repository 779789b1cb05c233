"""The landmarks of one half of an upright garment, from its outline."""

from typing import Literal, NamedTuple

import cv2
import numpy as np

from config.errors import GarmentMaskError
from worker.images.arrays import Flags, Floats, Indices, Points
from worker.images.regions import largest_region

Side = Literal["r", "l"]
"""The wearer's own side: r is on the image's left."""

# --- Confidence of a landmark ---

GUESS = 0.3
"""A rule of thumb: the outline does not show the landmark."""

ARMPIT, CUFF, CUFF_BELOW_GUESSED_ARMPIT = 0.9, 0.9, 0.6
SEAM_SHOULDER, TOP_SHOULDER, OPENING_ARMPIT = 0.5, 0.8, 0.8
NECK, COLLAR_FOOT = 0.8, 0.7
HEM, HEM_AT_SLEEVE = 0.85, 0.5

# --- Lengths: shares of the body's height (top to hem), unless the comment names the reach, which is the
# largest distance of the half's outline from the axis. ---

GAP_TOP, GAP_BOTTOM = 0.1, 0.04
"""The gap between sleeve and body is searched from the first below the top to the second above the hem."""

MIN_CLOTH_ABOVE = 0.02
"""Height of cloth above a gap: that of a sleeve or a shoulder."""

MIN_TORSO_EDGE = 0.15
"""Lowest distance of the body's side from the axis in a row of the gap, of the reach."""

MIN_GAP_AREA, MIN_GAP_HEIGHT = 40, 0.015
"""Smallest gap: pixels, and height."""

MIN_SLEEVE_OVERHANG = 0.12
"""Distance by which a sleeve extends beyond the armpit, of the reach: a strap or a ruffle extends less."""

SAME_REACH = 0.75
"""A half has a sleeve like the other half if its reach is at least this share of the other's."""

TORSO_SEARCH = 3
"""The body's row starts within this fraction (1/3) of the reach from the axis."""

MIN_SLEEVE_PIXELS = 30

UPPER_HALF, TOP_PART = 0.5, 0.12
"""Parts of the body in which the arm's opening, and the outer end of the shoulder, are searched."""

COLLAR_ROW = 0.06
"""Row, below the top, in which the width of the shoulder is measured."""

LEVEL_NECK, LEVEL_WIDTH, LEVEL_NECK_POSITION = 0.8, 0.5, 0.55
"""A top is level if its neck corner is beyond the first, and its shoulder wider than the second, share of the
shoulder's x; the neck is then guessed at the third."""

MIN_COLLAR_DEPTH, MAX_COLLAR_WIDTH = 0.02, 0.35
"""A collar's foot is at least this far below the line to the shoulder, and at most this far (of the reach)
from the neck."""

MIN_COLLAR_POINTS = 10

SEAM_X, ROUGH_CUFF_X = 0.96, 0.92
"""Position of the shoulder's seam, and of a cuff without a visible sleeve, shares of the armpit's x."""

HEM_SEARCH_ABOVE, HEM_SEARCH_BELOW = 0.2, 0.08
"""Rows of the hem's corner: above the hem, share of the way to the armpit; and below it."""

MERGED_ROW, MIN_MERGED_PIXELS = 0.015, 4
"""Distance below the hem of the row in which a sleeve on the body is visible, and its minimum in pixels."""

SIDE_BULGE = 0.25
"""Distance by which the body may bulge beyond its side between armpit and hem, of the reach."""

SIDE_TOLERANCE = 2
"""Distance by which a sleeve is outside the body's side, pixels."""

# --- Directions: weights of x (outward) and y (down); a corner is the point furthest in one of them. ---

GAP_END = (0.6, 0.8)
"""Away from the end of a gap that is furthest up and in."""

SHOULDER_TIP = (0.75, -0.66)
NECK_CORNER = (0.19, -0.98)
"""Half-way between a level collar and a shoulder's slope of about 22 degrees."""

HEM_CORNER = (0.6, 0.8)
CUFF_ASPECT = 0.8
"""Weight of the distance to the side, against 1 along the sleeve, for the corners of its end."""

HEM_BODY, BELOW_HEM_SLEEVE, BELOW_HEM_BODY = 0.8, 0.5, 0.4
"""Shares of the armpit's x: in a row of the hem the body has cloth before the first; below the hem, a sleeve
is beyond the second, and there is no body before the third."""

OPENING_SEARCH, OPENING_SKIP, OPENING_GUESS = 0.42, 0.12, 0.3
"""Arm opening: length in which its end is searched, length below the shoulder that is skipped, and the length
that is assumed for a straight side."""

MIN_OPENING_DEPTH = 0.01
"""Depth of the corner at the end of an arm's opening."""

OUTLINE_SMOOTHING = 0.006
"""Standard deviation of the blur of a side's outline, at least 1 pixel."""


class Located(NamedTuple):
    """A landmark: its point, float (2,), and its confidence, 0..1."""

    point: Points
    confidence: float


class GarmentHalf:
    """One half of an upright garment, mirrored so that outward is +x: columns count from the axis."""

    def __init__(self, solid: Flags, centre: int, side: Side, top_y: int, hem_y: int) -> None:
        """Take the half of a garment.

        Args:
            solid: the upright garment, bool (h, w).
            centre: the column of its axis.
            side: the wearer's side.
            top_y, hem_y: its first row, and the row of its hem.
        """
        self.sign = -1 if side == "r" else 1
        self.centre, self.top_y, self.hem_y = centre, top_y, hem_y
        half = solid[:, centre::-1] if side == "r" else solid[:, centre:]
        self.solid = np.ascontiguousarray(half)
        columns = np.nonzero(self.solid.any(0))[0]
        self.reach = int(columns[-1]) if len(columns) else 0
        self.body = hem_y - top_y

    def to_picture(self, point: Points) -> Points:
        """Return a point of this half in the coordinates of the upright picture."""
        return np.array([self.centre + self.sign * point[0], point[1]], float)

    def reaches_like(self, other: "GarmentHalf") -> bool:
        """Return whether this half has a sleeve if the other has one: it reaches about as far."""
        return self.reach > SAME_REACH * other.reach

    def armpit(self) -> Located | None:
        """Return the armpit, the top of the gap between sleeve and body; None if there is no gap."""
        first_row = self.top_y + int(GAP_TOP * self.body)
        gaps = self._covered_background(first_row, self.hem_y - int(GAP_BOTTOM * self.body))
        count, labels, stats, _ = cv2.connectedComponentsWithStats(gaps.astype(np.uint8), connectivity=4)
        best: tuple[int, Points] | None = None
        for index in range(1, count):
            area = int(stats[index, cv2.CC_STAT_AREA])
            y, x = np.nonzero(labels == index)
            if area < MIN_GAP_AREA or np.ptp(y) < MIN_GAP_HEIGHT * self.body:
                continue
            top = int(np.argmin(GAP_END[1] * y + GAP_END[0] * x))
            overhang = self._reach_above(int(first_row + y.max())) - x[top]
            if overhang < MIN_SLEEVE_OVERHANG * self.reach:
                continue
            if best is None or area > best[0]:
                best = (area, np.array([x[top], first_row + y[top]], float))
        return None if best is None else Located(best[1], ARMPIT)

    def with_sleeve(self, armpit: Located) -> dict[str, Located]:
        """Return the landmarks of a half with a sleeve, by their names without the side."""
        pit = armpit.point
        hem = self._hem(pit)
        sleeve = self._sleeve_pixels(pit, hem.point)
        rough_cuff = np.array([ROUGH_CUFF_X * pit[0], self._top_at(ROUGH_CUFF_X * pit[0])])
        if len(sleeve) < MIN_SLEEVE_PIXELS:
            outer, inner, cuff_confidence = rough_cuff, pit, GUESS
        else:
            outer, inner = _cuff(sleeve, (rough_cuff + pit) / 2)
            cuff_confidence = CUFF if armpit.confidence > GUESS else CUFF_BELOW_GUESSED_ARMPIT
        # The outline does not show the shoulder's seam, which runs up from the armpit and a little inward.
        seam = np.array([SEAM_X * pit[0], self._top_at(SEAM_X * pit[0])])
        return {
            "neck": self._neck(pit[0]),
            "shoulder": Located(seam, SEAM_SHOULDER),
            "armpit": armpit,
            "cuff_outer": Located(outer, cuff_confidence),
            "cuff_inner": Located(inner, cuff_confidence),
            "hem": hem,
        }

    def without_sleeve(self) -> dict[str, Located]:
        """Return the landmarks of a half without a sleeve, by their names without the side.

        The shoulder is the outer end of the top. The armpit is where the arm's opening ends and the side
        begins.
        """
        upper = self._outline(self.top_y, self.top_y + int(UPPER_HALF * self.body))
        top = self._outline(self.top_y, self.top_y + int(TOP_PART * self.body))
        tip = top[np.argmax(_along(SHOULDER_TIP, top))]
        pit, opening_depth = _opening_end(upper[upper[:, 1] >= tip[1]], self.body)
        neck = self._neck(tip[0])
        row = min(round(self.top_y + COLLAR_ROW * self.body), self.solid.shape[0] - 1)
        if neck.point[0] > LEVEL_NECK * tip[0] and self.width_at(row) > LEVEL_WIDTH * tip[0]:
            # A level top: the inner back hides the neckline.
            x = LEVEL_NECK_POSITION * tip[0]
            neck = Located(np.array([x, self._top_at(x)]), GUESS)
        is_clear = opening_depth > MIN_OPENING_DEPTH * self.body
        shoulder = Located(tip, TOP_SHOULDER)
        armpit = Located(pit, OPENING_ARMPIT if is_clear else GUESS)
        return {
            "neck": neck,
            "shoulder": shoulder,
            "armpit": armpit,
            "cuff_outer": shoulder,
            "cuff_inner": armpit,
            "hem": self._hem(pit),
        }

    def width_at(self, y: int) -> int:
        """Return how many pixels of a row are garment."""
        return int(np.count_nonzero(self.solid[y]))

    def _covered_background(self, first_row: int, end_row: int) -> Flags:
        """Return the background that has body on its inner side, and cloth above it or further out.

        The result has the rows from `first_row` up to `end_row`, without the latter.
        """
        part = self.solid[first_row:end_row]
        beyond = np.maximum.accumulate(part[:, ::-1], axis=1)[:, ::-1]
        above = np.maximum.accumulate(self.solid[:end_row], axis=0)[first_row:]
        cloth_above = np.cumsum(self.solid[:end_row], axis=0)[first_row:]
        covered = ~part & (beyond | (above & (cloth_above > MIN_CLOTH_ABOVE * self.body)))
        edges = np.array([self._torso_edge(row) for row in range(first_row, end_row)])
        columns = np.arange(part.shape[1])
        is_outside = (columns[None, :] > edges[:, None]) & (edges[:, None] > MIN_TORSO_EDGE * self.reach)
        return np.asarray(covered & is_outside, np.bool_)

    def _torso_edge(self, y: int) -> int:
        """Return the column at which the body ends in a row: before the first gap from the axis."""
        row = self.solid[y]
        inside = np.nonzero(row[: max(3, self.reach // TORSO_SEARCH)])[0]
        if len(inside) == 0:
            return 0
        gaps = np.nonzero(~row[inside[0] :])[0]
        return int(inside[0] + gaps[0] - 1) if len(gaps) else len(row) - 1

    def _reach_above(self, y: int) -> int:
        """Return the largest distance of the garment from the axis down to a row, pixels."""
        columns = np.nonzero(self.solid[self.top_y : y + 1].any(0))[0]
        return int(columns[-1]) if len(columns) else 0

    def _outline(self, y0: int, y1: int) -> Points:
        """Return the outermost point of each row, float (n, 2)."""
        rows = [y for y in range(y0, y1) if self.solid[y].any()]
        return np.array([(np.nonzero(self.solid[y])[0][-1], y) for y in rows], float)

    def _top_at(self, x: float) -> float:
        """Return the topmost row of a column."""
        column = self.solid[:, round(x)]
        return float(np.argmax(column)) if column.any() else float(self.top_y)

    def _neck(self, limit: float) -> Located:
        """Return the neck point: the corner of the top outline between collar and shoulder.

        limit: the largest x.
        """
        columns = np.arange(1, max(8, round(limit)))
        columns = columns[self.solid[:, columns].any(0)]
        top = np.column_stack([columns, np.argmax(self.solid[:, columns], axis=0)]).astype(float)
        corner = int(np.argmax(_along(NECK_CORNER, top)))
        # A high collar stands on the shoulder: the neck point is its foot, where the outline turns outward.
        rest = top[corner:]
        if len(rest) > MIN_COLLAR_POINTS:
            depths = _below_chord(rest)
            foot = int(np.argmax(depths))
            is_collar = depths[foot] > MIN_COLLAR_DEPTH * self.body
            if is_collar and rest[foot, 0] < top[corner, 0] + MAX_COLLAR_WIDTH * self.reach:
                return Located(rest[foot], COLLAR_FOOT)
        return Located(top[corner], NECK)

    def _hem(self, pit: Points) -> Located:
        """Return the corner of the hem: the body's point that is furthest down and out."""
        first_row = round(self.hem_y - HEM_SEARCH_ABOVE * (self.hem_y - pit[1]))
        last_row = min(self.solid.shape[0] - 1, round(self.hem_y + HEM_SEARCH_BELOW * self.body))
        body_columns = max(3, round(HEM_BODY * pit[0]))
        edges = {
            y: self._torso_edge(y) for y in range(first_row, last_row) if self.solid[y, :body_columns].any()
        }
        limit = self._sleeve_below_hem(pit)
        points = np.array([(min(x, limit) if limit else x, y) for y, x in edges.items()], float)
        if len(points) == 0:
            return Located(np.array([pit[0], self.hem_y], float), GUESS)
        corner = points[int(np.argmax(_along(HEM_CORNER, points)))]
        return Located(corner, HEM_AT_SLEEVE if limit and corner[0] == limit else HEM)

    def _sleeve_below_hem(self, pit: Points) -> float:
        """Return the x of the inner side of a sleeve that lies on the body and ends below the hem, or 0."""
        row = self.hem_y + max(MIN_MERGED_PIXELS, round(MERGED_ROW * self.body))
        below = self.solid[min(self.solid.shape[0] - 1, row)]
        start = round(BELOW_HEM_SLEEVE * pit[0])
        hanging = np.nonzero(below[start:])[0]
        if len(hanging) and not below[: round(BELOW_HEM_BODY * pit[0])].any():
            return float(start + hanging[0])
        return 0.0

    def _sleeve_pixels(self, pit: Points, hem: Points) -> Points:
        """Return the sleeve's pixels, (n, 2): outside the body's side, and above the armpit outside of it."""
        y, x = np.nonzero(self.solid)
        slope = (hem[0] - pit[0]) / max(hem[1] - pit[1], 1.0)
        side = np.where(y < pit[1], pit[0], pit[0] + slope * (y - pit[1]))
        # The body may bulge between armpit and hem: in a row with a gap, the sleeve is beyond the gap.
        edges: Indices = np.array([self._torso_edge(row) for row in range(self.solid.shape[0])], np.intp)
        before_gap = (
            (y > pit[1]) & (y < hem[1]) & (edges[y] < self._reach_above(self.hem_y)) & (x <= edges[y])
        )
        is_bulge = before_gap & (edges[y] < side + SIDE_BULGE * self.reach)
        is_sleeve = (x > side + SIDE_TOLERANCE) & ~is_bulge
        outside = np.zeros_like(self.solid)
        outside[y[is_sleeve], x[is_sleeve]] = True
        sleeve_y, sleeve_x = np.nonzero(largest_region(outside))
        return np.column_stack([sleeve_x, sleeve_y]).astype(float)


def _cuff(sleeve: Points, root: Points) -> tuple[Points, Points]:
    """Return the outer and inner corner of a sleeve's end.

    Args:
        sleeve: float (n, 2), its pixels.
        root: the middle of its beginning.
    """
    along = _unit(sleeve.mean(0) - root)
    for _ in range(3):
        distance = (sleeve - root) @ along
        # A sleeve may be bent: the direction of its outer half counts.
        middle = np.quantile(distance, 0.5)
        along = _unit(sleeve[distance > middle].mean(0) - sleeve[distance <= middle].mean(0))
    outward = np.array([along[1], -along[0]])  # away from the body: to the right of a sleeve that hangs
    distance, aside = (sleeve - root) @ along, (sleeve - root) @ outward
    outer = sleeve[int(np.argmax(distance + CUFF_ASPECT * aside))]
    inner = sleeve[int(np.argmax(distance - CUFF_ASPECT * aside))]
    return outer, inner


def _along(direction: tuple[float, float], points: Points) -> Floats:
    """Return how far points (n, 2) are in a direction, (n,)."""
    return np.asarray(direction[0] * points[:, 0] + direction[1] * points[:, 1])


def _unit(vector: Points) -> Points:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-6))


def _opening_end(outline: Points, body: int) -> tuple[Points, float]:
    """Return the end of the arm's opening in a side's outline, and the depth of the opening, pixels.

    The end is the corner that is furthest outside the chord from the shoulder to the middle of the side. A
    straight side has no corner: then the end is guessed, and the depth is 0.

    Args:
        outline: float (n, 2), from the shoulder down.
        body: the body's height.

    Raises GarmentMaskError when there is no outline.
    """
    if len(outline) < 5:
        raise GarmentMaskError(
            "No shoulder was found: use a photograph of an upper-body garment from the front."
        )
    y = outline[:, 1]
    sigma = max(1.0, OUTLINE_SMOOTHING * body)
    x = np.asarray(cv2.GaussianBlur(outline[:, 0][None, :], (0, 0), sigma))[0]
    length = max(int(np.searchsorted(y, y[0] + OPENING_SEARCH * body)), 5)
    x, y = x[:length], y[:length]
    outside_chord = x - np.linspace(x[0], x[-1], len(x))
    skip = int(OPENING_SKIP * body)
    end = skip + int(np.argmax(outside_chord[skip:])) if len(x) > skip + 3 else len(x) - 1
    if outside_chord[end] < MIN_OPENING_DEPTH * body:
        end = min(int(np.searchsorted(y, y[0] + OPENING_GUESS * body)), len(y) - 1)
        return np.array([x[end], y[end]]), 0.0
    return np.array([x[end], y[end]]), float(outside_chord[end])


def _below_chord(points: Points) -> Floats:
    """Return how far points are below the line from the first to the last, pixels."""
    chord = points[-1] - points[0]
    normal = np.array([-chord[1], chord[0]]) / max(float(np.linalg.norm(chord)), 1e-6)
    return np.asarray((points - points[0]) @ normal, float)
