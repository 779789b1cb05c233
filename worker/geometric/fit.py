"""Extends the warped garment to the old one's silhouette where only a narrow rim is missing."""

from dataclasses import dataclass

import cv2
import numpy as np

from worker.geometric.body import SIDES, Body
from worker.geometric.place import Placement
from worker.images.arrays import Flags, Floats
from worker.images.shapes import window

_RIM = 0.055  # width of the rim of the old garment that the new one takes over, in units of Body.size
_ARM = 0.16  # the same for a bare arm beside its own sleeve
_SHOULDER = 0.12  # the same for a bare shoulder
_HIPS = 0.10  # the same for hips beside the trunk
_GAP = 0.22  # the same for the gap between trunk and arm


@dataclass(frozen=True)
class Worn:
    """What the person wears in the photograph, bool (1024, 768) each.

    Attributes:
        cloth: the old garment.
        bare: bare arms; a sleeve covers them.
        lower: trousers or a skirt; a garment that hangs over them covers the hips.
        neck: the neck's skin; bare shoulders may have the same label, and a shirt covers them.
        coat: the old garment where it is a coat: it is wider than the body, the new garment is not.
    """

    cloth: Flags
    bare: Flags
    lower: Flags
    neck: Flags
    coat: Flags


def rims(
    trunk: Floats, sleeves: dict[str, Floats], worn: Worn, body: Body, placement: Placement
) -> dict[str, Flags]:
    """Return the area that each part of the garment takes over: "trunk", "r", "l" -> bool (1024, 768).

    Args:
        trunk: the warped trunk's alpha, float32 (1024, 768).
        sleeves: side -> the warped sleeve's alpha.
        worn: what the person wears in the photograph.
        body: the body's measures.
        placement: where the garment is placed.

    The silhouette of the worn clothes is the best estimate there is: a rim of them beside the new garment
    would have to be filled with skin or background, which is conspicuous. Not taken over are the opening of
    the collar, what is below hem and cuffs, and the shoulders of a garment without sleeves.
    """
    height, width = worn.cloth.shape
    rows, columns = np.arange(height)[:, None] + 0.5, np.arange(width)[None, :] + 0.5
    below = rows > placement.hem[None, :] + 1
    free = _free(rows, columns, below, bool(sleeves), body, placement)
    right_arm, left_arm = _axis(body, "r", rows), _axis(body, "l", rows)
    between = (rows > placement.armpit_row) & (columns > right_arm) & (columns < left_arm)
    shoulders = _bare_shoulders(rows, columns, worn, body, placement)
    parts = {"trunk": trunk, **sleeves}
    farthest = max(_RIM, _ARM, _SHOULDER, _HIPS, _GAP) * body.size
    distance = {name: _distance(alpha, farthest) for name, alpha in parts.items()}
    taken: dict[str, Flags] = {}
    for name in parts:
        others = [distance[other] for other in parts if other != name]
        nearest = np.logical_and.reduce([distance[name] <= d for d in others]) if others else True
        rim = (distance[name] < _RIM * body.size) & nearest
        if name == "trunk":
            rim |= between & (distance[name] < _GAP * body.size) & ~worn.coat
        area = worn.cloth & rim & ~free
        if sleeves:
            area |= shoulders & nearest & (distance[name] < _SHOULDER * body.size)
        if name == "trunk":
            # Arms in front of the hips are composited over it afterwards.
            area |= worn.lower & nearest & (distance[name] < _HIPS * body.size) & ~below
        else:
            # A bare arm beside its own sleeve means that the sleeve is too narrow.
            own = np.logical_and.reduce([distance[name] <= distance[other] for other in sleeves])
            own &= _covered_arm(name, body, placement, worn.cloth.shape)
            area |= worn.bare & own & (distance[name] < _ARM * body.size) & ~free
        taken[name] = area
    return taken


def _free(
    rows: Floats, columns: Floats, below: Flags, has_sleeves: bool, body: Body, placement: Placement
) -> Flags:
    """Return the area that the new garment does not take over, bool (1024, 768)."""
    free = below.copy()
    line = placement.neckline
    above_neckline = rows < np.interp(columns, line[:, 0], line[:, 1])
    free |= (columns > line[0, 0]) & (columns < line[-1, 0]) & above_neckline
    for side in SIDES:
        arm = body.arms[side]
        if arm is not None and not (arm.hidden and has_sleeves):
            first = placement.cuff.get(side, 0.0)
            beyond = arm.band((free.shape[0], free.shape[1]), skin=not has_sleeves, first=first)
            free |= beyond > 0
    if not has_sleeves:
        free |= rows < placement.armpit_row
    return free


def _bare_shoulders(rows: Floats, columns: Floats, worn: Worn, body: Body, placement: Placement) -> Flags:
    """Return the skin beside the collar and above the armpits, which a garment with sleeves covers, bool."""
    line, margin = placement.neckline, 0.02 * body.size
    beside = (columns < line[0, 0] - margin) | (columns > line[-1, 0] + margin)
    high = (rows < placement.armpit_row) & (rows > placement.neck_row - 0.05 * body.size)
    return np.asarray((worn.neck | worn.bare) & beside & high)


def _covered_arm(side: str, body: Body, placement: Placement, shape: tuple[int, ...]) -> Flags:
    """Return where the new sleeve covers an arm that is bare in the photograph, bool (1024, 768)."""
    if not placement.longer[side]:
        return np.zeros(shape, np.bool_)
    arm = body.arms[side]
    if arm is None:
        return np.ones(shape, np.bool_)
    upper = arm.band((shape[0], shape[1]), skin=False, last=placement.cuff[side])
    return within(upper / 255, 0.1 * body.size)


def _axis(body: Body, side: str, rows: Floats) -> Floats:
    """Return the column of the arm's middle in each row, or of the trunk's side where there is no arm."""
    arm = body.arms[side]
    beside = body.side_x[side][:, None]
    if arm is not None and arm.hidden:
        return np.full(rows.shape, -np.inf if side == "r" else np.inf)
    if arm is None or np.any(np.diff(arm.centre[:, 1]) <= 0):
        return np.asarray(beside)
    x = np.interp(rows, arm.centre[:, 1], arm.centre[:, 0], right=np.nan)
    outermost = np.fmin if side == "r" else np.fmax
    return np.asarray(outermost(x, beside))


def within(alpha: Floats | Flags, pixels: float) -> Flags:
    """Return the pixels inside a part of the garment or nearer to it than a distance, bool."""
    return np.asarray(_distance(alpha, pixels) < pixels)


def _distance(alpha: Floats | Flags, limit: float) -> Floats:
    """Return each pixel's distance from a part of the garment, pixels; infinite beyond a limit."""
    part = np.asarray(alpha > 0.5)
    near = window(part, limit + 1)
    distance = np.full(alpha.shape, np.inf, np.float32)
    if part.any():
        distance[near] = cv2.distanceTransform((~part[near]).astype(np.uint8), cv2.DIST_L2, 5)
    return distance
