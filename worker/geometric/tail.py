"""Finds the parts of the old garment that stay on: a long dress or coat below the new hem, a hood."""

import cv2
import numpy as np

from config.errors import SynthesisError
from worker.geometric.body import CLOTHES, SIDES, Body
from worker.geometric.fit import within
from worker.geometric.place import Placement
from worker.images.arrays import Flags, Labels
from worker.images.maps import Part, has_label

# A part of the old garment that extends less far below the new hem is removed with the rest. In units of
# Body.size: for a dress or a coat, and for a shirt over trousers or a skirt, which can be extended upwards.
_MIN_LENGTH, _MIN_LENGTH_OVER_TROUSERS = 0.2, 0.45
_FLARE = 0.6  # how much it may widen on either side per pixel further down
_HEAD = 0.42  # clothes this far above the shoulders' middle are on the head and not a collar
_COLLAR = 0.1  # a hood is kept down to this distance above the shoulders' middle
_MAX_COAT = 0.25  # area of a coat below the new hem from which that is refused, units of Body.size squared
_MIN_HOOD = 0.2  # side of a square: a smaller area is not a hood


def tail(parse: Labels, body: Body, placement: Placement) -> Flags:
    """Return where the old garment stays on below the new hem, like a skirt: bool (1024, 768).

    Args:
        parse: CIHP labels, uint8 (1024, 768).
        body: the body's measures.
        placement: where the new garment is placed.

    An upper garment replaces a dress or a coat down to its own hem: what was under the rest is unknown, and
    a shirt over a skirt is commonly worn. Sleeves that hang below the hem do not count. Labels may call a
    coat a shirt: a garment that extends very far down is treated as a coat.
    """
    rows = np.arange(parse.shape[0])[:, None] + 0.5
    below = rows > placement.hem[None, :] + 1
    long = has_label(parse, CLOTHES) & below & _flared(body, placement)
    for side in SIDES:
        arm = body.arms[side]
        if arm is not None:
            band = arm.band((parse.shape[0], parse.shape[1]), skin=False, first=0.3)
            long &= ~within(band / 255, 0.04 * body.size)
            # A cuff extends beyond the wrist.
            root = arm.band((parse.shape[0], parse.shape[1]), skin=True, first=1.7)
            long &= ~within(root / 255, 0.1 * body.size)
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(long.astype(np.uint8))
    over_trousers = has_label(parse, (Part.PANTS, Part.SKIRT)).sum() > (0.2 * body.size) ** 2
    long_pixels = np.bincount(pieces[has_label(parse, (Part.DRESS, Part.COAT))], minlength=len(stats))
    is_long = 2 * long_pixels > stats[:, cv2.CC_STAT_AREA]
    min_length = np.where(is_long | (not over_trousers), _MIN_LENGTH, _MIN_LENGTH_OVER_TROUSERS) * body.size
    tall = stats[:, cv2.CC_STAT_HEIGHT] > min_length
    tall[0] = False
    return np.asarray(tall[pieces])


def refuse_coat(parse: Labels, kept: Flags, body: Body) -> None:
    """Raise SynthesisError when a coat would stay on below the new garment.

    A dress that stays on looks like a skirt; the lower half of a coat looks like nothing that is worn.

    Args:
        parse: CIHP labels, uint8 (1024, 768).
        kept: what stays on, see `tail`.
        body: the body's measures.
    """
    coat = np.count_nonzero(kept & (parse == Part.COAT))
    if coat > _MAX_COAT * body.size**2:
        raise SynthesisError(
            "The person wears a long coat, and what is under it is unknown. Use a photograph of the person "
            "without the coat."
        )


def _flared(body: Body, placement: Placement) -> Flags:
    """Return where a skirt may be that starts at the hem, as wide as the hem there, bool (1024, 768)."""
    height = len(body.side_x["r"])
    rows = np.arange(height, dtype=np.float32)[:, None] + 0.5
    columns = np.arange(len(placement.hem), dtype=np.float32)[None, :] + 0.5
    at = int(np.clip(np.median(placement.hem), 0, height - 1))
    wider = 0.03 * body.size + _FLARE * np.maximum(rows - placement.hem[None, :].astype(np.float32), 0)
    right, left = float(body.side_x["r"][at]), float(body.side_x["l"][at])
    return np.asarray((columns > right - wider) & (columns < left + wider))


def hood(parse: Labels, body: Body) -> Flags:
    """Return where the old garment is worn on the head, bool (1024, 768): what it hides is unknown."""
    rows = np.arange(parse.shape[0])[:, None]
    cloth = has_label(parse, CLOTHES)
    on_head = cloth & (rows < body.neck[1] - _HEAD * body.size)
    if np.count_nonzero(on_head) < (_MIN_HOOD * body.size) ** 2:
        return np.zeros_like(cloth)
    return np.asarray(cloth & (rows < body.neck[1] - _COLLAR * body.size))
