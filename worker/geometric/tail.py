"""Says what of a long dress or coat stays on below the new garment's hem."""

import cv2
import numpy as np

from worker.geometric.body import SIDES, Body
from worker.geometric.fit import near
from worker.geometric.place import Placement
from worker.maps import Part

_LEAST = 0.2  # what goes less far below the hem is taken off with the rest, in units of Body.size


def tail(parse: np.ndarray, body: Body, placement: Placement) -> np.ndarray:
    """Return where the old garment stays as it is, like a skirt: bool (1024, 768).

    Args:
        parse: CIHP labels, uint8 (1024, 768).
        body: the body's measures.
        placement: where the new garment goes.

    An upper garment replaces a dress or a coat down to its own hem; nobody knows what was under the rest,
    and a shirt over a skirt is how it is worn. Sleeves that hang so low are no tail. A shirt is one only
    where it is all there is: below it neither trousers nor a skirt are seen that could be continued upwards.
    """
    rows = np.arange(parse.shape[0])[:, None] + 0.5
    below = rows > placement.hem[None, :] + 1
    long = np.isin(parse, (Part.DRESS, Part.COAT))
    if np.isin(parse, (Part.PANTS, Part.SKIRT)).sum() < (0.2 * body.size) ** 2:
        long |= parse == Part.UPPER_CLOTHES
    long &= below
    for side in SIDES:
        arm = body.arms[side]
        if arm is not None:
            band = arm.band((parse.shape[0], parse.shape[1]), skin=False, first=0.3)
            long &= ~near(band / 255, 0.04 * body.size)
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(long.astype(np.uint8))
    tall = stats[:, cv2.CC_STAT_HEIGHT] > _LEAST * body.size
    tall[0] = False
    return np.asarray(tall[pieces])
