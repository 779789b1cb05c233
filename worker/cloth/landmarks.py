"""The landmarks of an upper-body garment."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from worker.images.arrays import Points

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

_OTHER_SIDE = {"r_": "l_", "l_": "r_"}

MIRROR = tuple(NAMES.index(_OTHER_SIDE.get(name[:2], name[:2]) + name[2:]) for name in NAMES)
"""For each landmark the index of the landmark that takes its place in a mirrored picture."""


@dataclass(frozen=True)
class GarmentLandmarks:
    """The positions of the parts of an upper-body garment on its canvas.

    Attributes:
        points: each of NAMES -> float32 (2,): x, y in canvas pixels, with pixel centres at whole
            numbers plus one half. ``neck_front`` is the lowest point of the front neckline. A sleeveless
            garment's ``cuff_outer`` is its shoulder and its ``cuff_inner`` its armpit.
        confidence: each of NAMES -> 0..1.
        sleeve: the length of the sleeves; ``straps`` is a top without a shoulder's width of cloth.
    """

    points: dict[str, Points]
    confidence: dict[str, float]
    sleeve: Sleeve

    def record(self) -> dict[str, Any]:
        """Return the landmarks as JSON values."""
        points = {name: [float(x) for x in point] for name, point in self.points.items()}
        return {"points": points, "confidence": self.confidence, "sleeve": self.sleeve}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "GarmentLandmarks":
        """Return the landmarks of a record that `record` created."""
        points: dict[str, Points] = {
            name: np.array(point, np.float32) for name, point in record["points"].items()
        }
        return cls(points, dict(record["confidence"]), record["sleeve"])
