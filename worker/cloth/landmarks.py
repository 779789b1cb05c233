"""Finds the landmarks of an upper-body garment, seen from the front, in its mask."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np

from config.errors import GarmentMaskError
from worker.cloth.garment_half import GUESS, GarmentHalf, Located, Side
from worker.cloth.mirror_axis import mirror_axis
from worker.images.arrays import Flags, Mask, Points
from worker.images.regions import largest_region

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

MIN_AREA = 2000
"""A mask of fewer pixels is empty."""

ASYMMETRY, SYMMETRY_RANGE, MIN_SYMMETRY = 0.6, 0.3, 0.2
"""All confidences have a factor that rises to 1 while the overlap with the mirror image rises from ASYMMETRY
by SYMMETRY_RANGE: a garment that is not symmetric is folded, or not seen from the front."""

LONG_SLEEVE = 1.5
"""A longer sleeve is long, shoulder widths."""

STRAP_WIDTH = 0.14
"""A top with narrower shoulders has straps, chest widths."""

STRAP_ROW = 0.06
"""Row in which the width of a strap is measured, heights of the body below the top."""

MIN_HEIGHT = 0.15
"""Lowest height of a garment, its widths."""

MIN_NECKLINE_DEPTH = 0.05
"""A shallower neckline does not show the front collar, heights of the body."""

NECKLINE_MARGIN, MIN_NECKLINE_WIDTH, NECKLINE_SMOOTHING = 2, 5, 3
"""Pixels next to the neck points that are ignored, least number of columns, and sigma of the blur."""

AXIS_HALF_WIDTH, HEM_HALF_WIDTH, HEM_STEP = 3, 12, 3
"""Columns around the axis that must have cloth, and columns whose lowest pixels give the hem, pixels."""

NECK_FRONT_CONFIDENCE = 0.6
"""Of a deep neckline, the lowest visible point may be on the back's edge, with the front's edge below it."""

HEM_CENTRE_CONFIDENCE = 0.9


@dataclass(frozen=True)
class GarmentLandmarks:
    """The positions of the parts of an upper-body garment on its canvas.

    Attributes:
        points: each of NAMES -> float32 (2,): x, y in canvas pixels, with pixel centres at whole
            numbers plus one half. ``neck_front`` is the lowest point of the front collar opening if it is
            visible, else the middle of the collar line. A sleeveless garment's ``cuff_outer`` is its
            shoulder and its ``cuff_inner`` its armpit.
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


def find_landmarks(mask: Mask) -> GarmentLandmarks:
    """Return the landmarks of the upper-body garment in a canvas mask, uint8 (1024, 768), 128+ garment.

    The garment is seen from the front, hanging or lying flat, turned by at most about 10 degrees. The axis
    is the one of the best overlap with the mirror image; an armpit is the top of the gap between sleeve and
    body; cuffs and hem are the corners furthest out; the neck points are the corners of the top outline. A
    landmark that the outline does not show has a confidence of at most 0.3: the armpit of a sleeve that
    lies on the body is placed where the other side has it.

    Raises GarmentMaskError when the mask is empty, or the shape does not hang from shoulders.
    """
    solid = mask >= 128
    if np.count_nonzero(solid) < MIN_AREA:
        raise GarmentMaskError("The garment's mask is empty: use a photograph that shows a garment.")
    axis = mirror_axis(solid)
    # In the upright picture the axis is vertical, in the middle.
    height, width = solid.shape
    diagonal = int(np.ceil(np.hypot(height, width)))
    turn = cv2.getRotationMatrix2D((axis.x, axis.y), axis.degrees, 1.0)
    turn[:, 2] += np.array([diagonal / 2 - axis.x, diagonal / 2 - axis.y])
    upright = cv2.warpAffine(solid.astype(np.uint8) * 255, turn, (diagonal, diagonal)) >= 128
    back = np.asarray(cv2.invertAffineTransform(turn), np.float64)

    located, sleeve = _upright_landmarks(largest_region(np.asarray(upright)), diagonal // 2)
    points: dict[str, Points] = {
        name: (back[:, :2] @ located[name].point + back[:, 2] + 0.5).astype(np.float32) for name in NAMES
    }
    symmetry = float(np.clip((axis.overlap - ASYMMETRY) / SYMMETRY_RANGE, MIN_SYMMETRY, 1.0))
    confidence = {name: round(located[name].confidence * symmetry, 3) for name in NAMES}
    return GarmentLandmarks(points, confidence, sleeve)


def _upright_landmarks(solid: Flags, centre: int) -> tuple[dict[str, Located], Sleeve]:
    """Return the landmarks and the sleeves of an upright garment whose axis is the column `centre`."""
    top_y, hem_y = _vertical_extent(solid, centre)
    body = hem_y - top_y
    halves: dict[Side, GarmentHalf] = {
        "r": GarmentHalf(solid, centre, "r", top_y, hem_y),
        "l": GarmentHalf(solid, centre, "l", top_y, hem_y),
    }
    armpits = _armpits(halves)
    located: dict[str, Located] = {}
    for side, half in halves.items():
        half_landmarks = half.with_sleeve(armpits[side]) if armpits else half.without_sleeve()
        for name, (point, confidence) in half_landmarks.items():
            located[f"{side}_{name}"] = Located(half.to_picture(point), confidence)
    located["neck_front"] = _neck_front(solid, located["r_neck"].point, located["l_neck"].point, body)
    located["hem_centre"] = Located(np.array([centre, hem_y], float), HEM_CENTRE_CONFIDENCE)
    if armpits:
        return located, _sleeve_length(located)
    return located, _shoulder_kind(located, halves)


def _vertical_extent(solid: Flags, centre: int) -> tuple[int, int]:
    """Return the first row of the garment, and the row of its hem. Raises GarmentMaskError."""
    if not solid[:, centre - AXIS_HALF_WIDTH : centre + AXIS_HALF_WIDTH + 1].any():
        raise GarmentMaskError("The garment's middle is empty: use a photograph of one whole garment.")
    hem_columns = range(centre - HEM_HALF_WIDTH, centre + HEM_HALF_WIDTH + 1, HEM_STEP)
    hem_y = int(np.median([np.nonzero(solid[:, x])[0].max() for x in hem_columns if solid[:, x].any()]))
    top_y = int(np.nonzero(solid.any(1))[0][0])
    if hem_y - top_y < MIN_HEIGHT * np.ptp(np.nonzero(solid.any(0))[0]):
        raise GarmentMaskError(
            "The garment is wider than an upper-body garment: use a photograph of one garment, spread out "
            "and seen from the front."
        )
    return top_y, hem_y


def _armpits(halves: Mapping[Side, GarmentHalf]) -> dict[Side, Located]:
    """Return both armpits of a garment with sleeves; nothing for a garment without.

    A sleeve that lies on the body has no gap: the other side's gap gives its position.
    """
    right, left = halves["r"].armpit(), halves["l"].armpit()
    if right is None and left is not None and halves["r"].reaches_like(halves["l"]):
        right = Located(left.point.copy(), GUESS)
    elif left is None and right is not None and halves["l"].reaches_like(halves["r"]):
        left = Located(right.point.copy(), GUESS)
    return {} if right is None or left is None else {"r": right, "l": left}


def _sleeve_length(located: Mapping[str, Located]) -> Sleeve:
    shoulders = np.linalg.norm(located["r_shoulder"].point - located["l_shoulder"].point)
    lengths = []
    for side in ("r", "l"):
        outer, inner = located[f"{side}_cuff_outer"].point, located[f"{side}_cuff_inner"].point
        lengths.append(np.linalg.norm((outer + inner) / 2 - located[f"{side}_shoulder"].point))
    return "long" if float(np.mean(lengths)) > LONG_SLEEVE * float(shoulders) else "short"


def _shoulder_kind(located: Mapping[str, Located], halves: Mapping[Side, GarmentHalf]) -> Sleeve:
    chest = float(np.linalg.norm(located["r_armpit"].point - located["l_armpit"].point))
    widths = [half.width_at(round(half.top_y + STRAP_ROW * half.body)) for half in halves.values()]
    return "straps" if float(np.mean(widths)) < STRAP_WIDTH * chest else "sleeveless"


def _neck_front(solid: Flags, right: Points, left: Points, body: int) -> Located:
    """Return the lowest point of the neckline between the neck points, if it shows the background."""
    middle = Located((right + left) / 2, GUESS)
    x0, x1 = round(right[0]) + NECKLINE_MARGIN, round(left[0]) - NECKLINE_MARGIN
    if x1 - x0 < MIN_NECKLINE_WIDTH:
        return middle
    tops = np.argmax(solid[:, x0:x1], axis=0).astype(float)
    tops = np.asarray(cv2.GaussianBlur(tops[None, :], (0, 0), NECKLINE_SMOOTHING), float)[0]
    # A sloping neckline is lower at one side; only the depth below the line from neck to neck counts.
    line = np.linspace(right[1], left[1], len(tops))
    lowest = int(np.argmax(tops - line))
    if float(tops[lowest] - line[lowest]) < MIN_NECKLINE_DEPTH * body:
        return middle
    return Located(np.array([x0 + lowest, tops[lowest]]), NECK_FRONT_CONFIDENCE)
