"""A colour for each CIHP label, to show label maps as pictures."""

import numpy as np

from worker.images.arrays import Image, Labels

_COLOURS = np.array(
    [
        (0, 0, 0),
        (128, 0, 0),
        (254, 0, 0),
        (0, 85, 0),
        (169, 0, 51),
        (254, 85, 0),
        (0, 0, 85),
        (0, 119, 220),
        (85, 85, 0),
        (0, 85, 85),
        (85, 51, 0),
        (52, 86, 128),
        (0, 128, 0),
        (0, 0, 254),
        (51, 169, 220),
        (0, 254, 254),
        (85, 254, 169),
        (169, 254, 85),
        (254, 254, 0),
        (254, 169, 0),
    ],
    np.uint8,
)
"""RGB by label: the palette of the published CIHP and LIP label maps."""


def colourise(labels: Labels) -> Image:
    """Return CIHP labels, uint8 (h, w), as an RGB picture, uint8 (h, w, 3)."""
    return np.asarray(_COLOURS[labels])
