"""Rates a picture that the network drew."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from worker import verdict
from worker.images.arrays import Canvas, Image, Labels, Mask
from worker.images.maps import Part, Pose
from worker.verdict import Verdict

OLD_CLOTHES: Mapping[str, tuple[Part, ...]] = {
    "upper_body": (Part.UPPER_CLOTHES, Part.DRESS, Part.COAT),
    "lower_body": (Part.PANTS, Part.SKIRT),
    "dresses": (Part.UPPER_CLOTHES, Part.DRESS, Part.COAT, Part.PANTS, Part.SKIRT),
}
"""Category -> labels of what the new garment takes the place of."""

_LOWER = (Part.PANTS, Part.SKIRT)
_FULL = 255

SAME_COLOURS = 5.0
"""Distance of the old clothes' colours from the garment's, ΔE2000, up to which the new garment may look like
the old: then it is no fault that little changed."""


@dataclass(frozen=True)
class Drawn:
    """A try-on on the canvas, (1024, 768).

    Attributes:
        before, after: the person and the person in the garment, RGB uint8.
        region: the alpha of the change, uint8.
        parse: CIHP labels of the person before.
        pose: the joints.
        garment, garment_mask: of the stage `cloth`.
        category: of the job.
    """

    before: Canvas
    after: Canvas
    region: Mask
    parse: Labels
    pose: Pose
    garment: Image
    garment_mask: Mask
    category: str


def rated(drawn: Drawn) -> Verdict:
    """Return the verdict: what changed, the garment's colours on the body, the hands, the pose.

    What geometry alone can get wrong (folds, landmarks, guessed ground) is not judged. Whether old cloth is
    left over is not, either: without a layout a network's unchanged pixels may be the new garment.
    """
    old = np.isin(drawn.parse, OLD_CLOTHES[drawn.category])
    where = old if old.any() else drawn.region == _FULL

    def distance(picture: Canvas) -> float:
        return verdict.colour_distance(drawn.garment, drawn.garment_mask, picture, where)

    values = {
        "colour": distance(drawn.after),
        "hands": verdict.hands_covered(drawn.before, drawn.after, drawn.pose, np.isin(drawn.parse, _LOWER)),
        "pose": verdict.pose_confidence(drawn.pose),
    }
    if distance(drawn.before) > SAME_COLOURS:
        region = np.where(where, np.uint8(_FULL), np.uint8(0))
        values["changed"] = verdict.changed_share(drawn.before, drawn.after, region)
    return verdict.judge(values, [])
