"""A colour for each CIHP label, to show label maps as pictures."""

import numpy as np

from worker.images.arrays import Image, Labels
from worker.parsing.colours import COLOURS

_COLOURS = np.array(COLOURS, np.uint8)


def colourise(labels: Labels) -> Image:
    """Return CIHP labels, uint8 (h, w), as an RGB picture, uint8 (h, w, 3)."""
    return np.asarray(_COLOURS[labels])
