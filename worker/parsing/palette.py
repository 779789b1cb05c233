"""CIHP labels in colours, for people to look at."""

import numpy as np

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
"""One colour a label, in label order: the palette that CIHP and LIP label maps are published with."""


def colourise(labels: np.ndarray) -> np.ndarray:
    """Return CIHP labels, uint8 (h, w), as an RGB picture, uint8 (h, w, 3)."""
    return _COLOURS[labels]
