"""The proportions of an upper-body garment, in units of the wearer's body: all that a layout needs of it."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np

from config.errors import GarmentMaskError
from worker.cloth.landmarks import GarmentLandmarks
from worker.images.arrays import Floats, Points


@dataclass(frozen=True)
class ProportionRules:
    """How a garment's landmarks become proportions.

    Attributes:
        chest: width from armpit to armpit of a regular garment, body sizes; catalogue photographs.
        shoulders: width from shoulder to shoulder of a garment with sleeves, body sizes; the same.
        rise: height of the garment's shoulder above the shoulder joints, body sizes; catalogue photographs.
        upper_arm: length from shoulder to elbow, body sizes; anatomy of a standing adult.
        forearm: length from elbow to wrist, body sizes; anatomy of a standing adult.
        slack: cloth of a sleeve that folds instead of reaching further, share of its length; a rule of thumb.
        no_sleeve: a shorter sleeve is none, positions along the arm: less than the shoulder's own curve.
    """

    chest: float = 0.82
    shoulders: float = 0.92
    rise: float = 0.15
    upper_arm: float = 0.80
    forearm: float = 0.70
    slack: float = 0.05
    no_sleeve: float = 0.08


RULES = ProportionRules()

LONGEST_SLEEVE = 2.0
"""A sleeve ends at the wrist at the latest."""


@dataclass(frozen=True)
class Proportions:
    """What a garment covers. Lengths are in body sizes (about the distance of the shoulder joints).

    Attributes:
        right_sleeve, left_sleeve: where the wearer's sleeve ends: 0 shoulder (none), 1 elbow, 2 wrist.
        hem: row of the hem's middle, below the line of the shoulder joints.
        neck_depth: row of the neckline's lowest point, below the line of the joints; negative is above it.
        neck_width: width of the neckline.
        shoulder_width: width of the cloth over the shoulders; 1 for a garment with sleeves.
        chest_width: width of the trunk at the chest.
        hem_width: width of the trunk at the hem.
        v_neck: 0 a round neckline, 1 a V.
    """

    right_sleeve: float
    left_sleeve: float
    hem: float
    neck_depth: float
    neck_width: float
    shoulder_width: float
    chest_width: float
    hem_width: float
    v_neck: float

    def values(self) -> Floats:
        """Return all values in the order of the fields, float64 (9,)."""
        return np.array([getattr(self, field.name) for field in fields(self)], float)

    @classmethod
    def of(cls, values: Floats) -> "Proportions":
        """Return the proportions whose `values` these are."""
        return cls(*(float(value) for value in values))

    def mirrored(self) -> "Proportions":
        """Return the proportions of the mirrored garment."""
        return replace(self, right_sleeve=self.left_sleeve, left_sleeve=self.right_sleeve)

    def record(self) -> Mapping[str, float]:
        """Return the proportions as JSON values."""
        return {field.name: round(float(getattr(self, field.name)), 3) for field in fields(self)}


def garment_proportions(
    landmarks: GarmentLandmarks, *, v_neck: bool, rules: ProportionRules = RULES
) -> Proportions:
    """Return the proportions of a garment from its landmarks on its canvas.

    Args:
        landmarks: the garment's landmarks.
        v_neck: whether the neckline is a V; the landmarks do not tell.
        rules: how landmarks become proportions.

    Raises GarmentMaskError when the armpits coincide.
    """
    points = {name: point.astype(float) for name, point in landmarks.points.items()}
    chest, shoulders = (_distance(points, name) for name in ("armpit", "shoulder"))
    if chest <= 1:
        raise GarmentMaskError("The garment's armpits coincide: use a photograph of a garment spread out.")
    sleeved = landmarks.sleeve in ("long", "short")
    unit = chest / rules.chest
    if sleeved:
        # A loose garment has a wide chest: its shoulders tell as much about the wearer's size.
        unit = (unit + shoulders / rules.shoulders) / 2
    top = (points["r_shoulder"][1] + points["l_shoulder"][1]) / 2
    sleeves = [_sleeve_end(points, side, unit, rules) if sleeved else 0.0 for side in ("r", "l")]
    return Proportions(
        right_sleeve=sleeves[0],
        left_sleeve=sleeves[1],
        hem=float(points["hem_centre"][1] - top) / unit - rules.rise,
        neck_depth=float(points["neck_front"][1] - top) / unit - rules.rise,
        neck_width=_distance(points, "neck") / unit,
        shoulder_width=1.0 if sleeved else shoulders / unit,
        chest_width=chest / unit,
        hem_width=_distance(points, "hem") / unit,
        v_neck=float(v_neck),
    )


def _distance(points: Mapping[str, Points], name: str) -> float:
    return float(np.linalg.norm(points[f"l_{name}"] - points[f"r_{name}"]))


def _sleeve_end(points: Mapping[str, Points], side: str, unit: float, rules: ProportionRules) -> float:
    """Return where a sleeve ends, 0 shoulder, 1 elbow, 2 wrist."""
    cuff = (points[f"{side}_cuff_outer"] + points[f"{side}_cuff_inner"]) / 2
    length = float(np.linalg.norm(cuff - points[f"{side}_shoulder"])) / unit * (1 - rules.slack)
    upper = length / rules.upper_arm
    end = upper if upper <= 1 else 1 + (length - rules.upper_arm) / rules.forearm
    return 0.0 if end < rules.no_sleeve else min(end, LONGEST_SLEEVE)
