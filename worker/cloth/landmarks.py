"""Finds the landmarks of an upper-body garment, seen from the front, in its mask."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

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
