"""Lets the bent garment reach the old one's silhouette where only a narrow rim is missing."""

import cv2
import numpy as np

from worker.geometric.body import SIDES, Body
from worker.geometric.place import Placement

_RIM = 0.055  # how wide a rim of the old garment the new one takes over, in units of Body.size
_ARM = 0.16  # the same for a bare arm beside its own sleeve
_SHOULDER = 0.12  # the same for a bare shoulder
_HIPS = 0.10  # the same for hips beside it
_GAP = 0.22  # the same for the gap between trunk and arm


def rims(
    trunk: np.ndarray,
    sleeves: dict[str, np.ndarray],
    cloth: np.ndarray,
    bare: np.ndarray,
    lower: np.ndarray,
    neck: np.ndarray,
    coat: np.ndarray,
    body: Body,
    placement: Placement,
) -> dict[str, np.ndarray]:
    """Return what each part of the garment takes over of the old one: "trunk", "r", "l" -> bool (1024, 768).

    Args:
        trunk: the bent trunk's alpha, float32 (1024, 768).
        sleeves: side -> the bent sleeve's alpha.
        cloth: where the old garment is, bool.
        bare: where bare arms are, bool; a sleeve covers them.
        lower: where trousers or a skirt are, bool; what hangs over them covers the hips.
        neck: where the neck's skin is, bool; bare shoulders may be called so too, and a shirt covers them.
        coat: where the old garment is a coat, bool: it stands off the body, and the new one does not.
        body: the body's measures.
        placement: where the garment goes.

    The silhouette of what the person wears is the best there is: a rim of it beside the new garment would
    have to be painted as skin or background, and stands out. Left free are the opening of the collar, what
    is below hem and cuffs, and the shoulders of a garment without sleeves.
    """
    height, width = cloth.shape
    rows, columns = np.arange(height)[:, None] + 0.5, np.arange(width)[None, :] + 0.5
    below = rows > placement.hem[None, :] + 1
    free = below.copy()
    line = placement.neckline
    free |= (
        (columns > line[0, 0]) & (columns < line[-1, 0]) & (rows < np.interp(columns, line[:, 0], line[:, 1]))
    )
    for side in SIDES:
        arm = body.arms[side]
        if arm is not None and not (arm.hidden and sleeves):
            beyond = arm.band((height, width), skin=bool(not sleeves), first=placement.cuff.get(side, 0.0))
            free |= beyond > 0
    if not sleeves:
        free |= rows < placement.pit
    between = (rows > placement.pit) & (columns > _axis(body, "r", rows)) & (columns < _axis(body, "l", rows))
    # Beside the collar and above the armpits a garment with sleeves covers what skin there is.
    beside = (columns < line[0, 0] - 0.02 * body.size) | (columns > line[-1, 0] + 0.02 * body.size)
    shoulders = (neck | bare) & beside & (rows < placement.pit) & (rows > placement.top - 0.05 * body.size)
    parts = {"trunk": trunk, **sleeves}
    distance = {name: _distance(alpha) for name, alpha in parts.items()}
    taken: dict[str, np.ndarray] = {}
    for name in parts:
        others = [distance[other] for other in parts if other != name]
        nearest = np.logical_and.reduce([distance[name] <= d for d in others]) if others else True
        rim = (distance[name] < _RIM * body.size) & nearest
        if name == "trunk":
            rim |= between & (distance[name] < _GAP * body.size) & ~coat
        area = cloth & rim & ~free
        if sleeves:
            area |= shoulders & nearest & (distance[name] < _SHOULDER * body.size)
        if name == "trunk":
            # Arms before the hips are laid over it afterwards.
            area |= lower & nearest & (distance[name] < _HIPS * body.size) & ~below
        else:
            # A bare arm beside its own sleeve is a sleeve drawn too narrow.
            own = np.logical_and.reduce([distance[name] <= distance[other] for other in sleeves])
            arm = body.arms[name]
            if not placement.longer[name]:
                own &= False
            elif arm is not None:
                upper = arm.band((height, width), skin=False, last=placement.cuff[name])
                own &= near(upper / 255, 0.1 * body.size)
            area |= bare & own & (distance[name] < _ARM * body.size) & ~free
        taken[name] = area
    return taken


def _axis(body: Body, side: str, rows: np.ndarray) -> np.ndarray:
    """Return the arm's middle in each row; the trunk's side where there is no arm."""
    arm = body.arms[side]
    beside = body.side_x[side][:, None]
    if arm is not None and arm.hidden:
        return np.full(rows.shape, -np.inf if side == "r" else np.inf)
    if arm is None or np.any(np.diff(arm.centre[:, 1]) <= 0):
        return np.asarray(beside)
    x = np.interp(rows, arm.centre[:, 1], arm.centre[:, 0], right=np.nan)
    outer = np.fmin if side == "r" else np.fmax
    return np.asarray(outer(x, beside))


def near(alpha: np.ndarray, pixels: float) -> np.ndarray:
    """Return where a part of the garment is or is nearer than some pixels, bool."""
    return np.asarray(_distance(alpha) < pixels)


def _distance(alpha: np.ndarray) -> np.ndarray:
    if not (alpha > 0.5).any():
        return np.full(alpha.shape, np.inf, np.float32)
    return np.asarray(cv2.distanceTransform((alpha <= 0.5).astype(np.uint8), cv2.DIST_L2, 5))
