"""Says what of the old garment stays on: a long dress or coat below the new hem, a hood over the head."""

import cv2
import numpy as np

from worker.geometric.body import CLOTHES, SIDES, Body
from worker.geometric.fit import near
from worker.geometric.place import Placement
from worker.images.maps import Part

# What goes less far below the hem is taken off with the rest, in units of Body.size: a dress or a coat, and
# a shirt over trousers or a skirt that can be continued upwards.
_LEAST, _LEAST_OVER = 0.2, 0.45
_FLARE = 0.6  # how far it may widen on either side for each pixel further down
_HEAD = 0.42  # what lies this far above the shoulders' middle is on the head and no collar
_COLLAR = 0.1  # down to here a hood is kept where there is one
_SPECK = 0.2  # less than a square of this side is none


def tail(parse: np.ndarray, body: Body, placement: Placement) -> np.ndarray:
    """Return where the old garment stays as it is, like a skirt: bool (1024, 768).

    Args:
        parse: CIHP labels, uint8 (1024, 768).
        body: the body's measures.
        placement: where the new garment goes.

    An upper garment replaces a dress or a coat down to its own hem; nobody knows what was under the rest,
    and a shirt over a skirt is how it is worn. Sleeves that hang so low are no tail. Labels
    may call a coat a shirt: what goes very far down is one whatever its name.
    """
    rows = np.arange(parse.shape[0])[:, None] + 0.5
    below = rows > placement.hem[None, :] + 1
    long = np.isin(parse, CLOTHES) & below & _flared(body, placement)
    for side in SIDES:
        arm = body.arms[side]
        if arm is not None:
            band = arm.band((parse.shape[0], parse.shape[1]), skin=False, first=0.3)
            long &= ~near(band / 255, 0.04 * body.size)
            # A cuff goes on beyond the wrist.
            root = arm.band((parse.shape[0], parse.shape[1]), skin=True, first=1.7)
            long &= ~near(root / 255, 0.1 * body.size)
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(long.astype(np.uint8))
    covered = np.isin(parse, (Part.PANTS, Part.SKIRT)).sum() > (0.2 * body.size) ** 2
    named = np.bincount(pieces[np.isin(parse, (Part.DRESS, Part.COAT))], minlength=len(stats))
    is_long = 2 * named > stats[:, cv2.CC_STAT_AREA]
    least = np.where(is_long | (not covered), _LEAST, _LEAST_OVER) * body.size
    tall = stats[:, cv2.CC_STAT_HEIGHT] > least
    tall[0] = False
    return np.asarray(tall[pieces])


def _flared(body: Body, placement: Placement) -> np.ndarray:
    """Return where a skirt may be that comes out from under the hem, no wider than the hem there, bool."""
    height = len(body.side_x["r"])
    rows = np.arange(height)[:, None] + 0.5
    columns = np.arange(len(placement.hem))[None, :] + 0.5
    at = int(np.clip(np.median(placement.hem), 0, height - 1))
    wider = 0.03 * body.size + _FLARE * np.maximum(rows - placement.hem[None, :], 0)
    return np.asarray((columns > body.side_x["r"][at] - wider) & (columns < body.side_x["l"][at] + wider))


def hood(parse: np.ndarray, body: Body) -> np.ndarray:
    """Return where the old garment is worn on the head, bool (1024, 768): what it hides nobody knows."""
    rows = np.arange(parse.shape[0])[:, None]
    cloth = np.isin(parse, CLOTHES)
    if np.count_nonzero(cloth & (rows < body.neck[1] - _HEAD * body.size)) < (_SPECK * body.size) ** 2:
        return np.zeros_like(cloth)
    return np.asarray(cloth & (rows < body.neck[1] - _COLLAR * body.size))
