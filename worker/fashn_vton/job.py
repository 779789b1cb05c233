"""One job of the engine: its inputs as the network takes them, and its bundle from the network's picture."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from config.errors import PoseError
from worker.contract import Bundle, StageInput
from worker.fashn_vton.blend import changed_region, laid_back
from worker.fashn_vton.poses import MIN_CONFIDENCE, person_drawing, with_whole_legs
from worker.fashn_vton.preparation import Prepared, fitted, shrunk
from worker.fashn_vton.rating import Drawn, rated
from worker.images.arrays import Image
from worker.images.frame import FILL, Frame, affine_matrix
from worker.images.inputs import errors_name, person_photo
from worker.images.maps import Body25 as J
from worker.images.maps import Part, Pose
from worker.images.openpose import from_openpose_json

CATEGORIES = {"upper_body": 1, "lower_body": 2, "dresses": 3}
"""Category of a job -> the network's number of tops, bottoms, one-pieces."""

NEEDED_JOINTS: Mapping[str, tuple[J, ...]] = {
    "lower_body": (J.R_HIP, J.L_HIP, J.R_KNEE, J.L_KNEE),
    "dresses": (J.R_SHOULDER, J.L_SHOULDER, J.R_HIP, J.L_HIP),
}
"""Category -> the joints that the photograph must show; the stage `pose` requires those of the upper body."""

KEPT = (Part.FACE, Part.SUNGLASSES)
"""What never changes. Hair does: it may lie on the garment."""

_SOLID = 128
"""A mask is inside from this level up."""


@dataclass(frozen=True)
class Job:
    """A job whose inputs are read.

    Attributes:
        inputs: of the stage.
        photo: the person's photograph, RGB uint8 (h, w, 3).
        frame: from the photograph to the canvas.
        pose: the joints in canvas pixels; knees and ankles may be below the canvas.
        prepared: what the network takes.
    """

    inputs: StageInput
    photo: Image
    frame: Frame
    pose: Pose
    prepared: Prepared

    @classmethod
    def of(cls, inputs: StageInput, shape: tuple[int, int]) -> "Job":
        """Return the job of a stage's inputs for a network with pictures of this shape. Raises PoseError."""
        photo, posed = person_photo(inputs), inputs.artifacts["pose"]
        frame, landmarks = Frame(**posed["frame.json"]), np.array(posed["landmarks.json"])
        pose = with_whole_legs(from_openpose_json(posed["pose.json"]), landmarks, frame)
        with errors_name(inputs, "person"):
            _require_joints(pose, frame, inputs.options["category"])
        small = shrunk(photo)
        person, padding = fitted(small, shape)
        drawing, _ = fitted(person_drawing(pose, frame, *small.shape[:2]), shape, nearest=True)
        garment, _ = fitted(shrunk(inputs.artifacts["cloth"]["cloth.png"]), shape)
        prepared = Prepared(
            person=person,
            person_pose=drawing,
            garment=garment,
            category=CATEGORIES[inputs.options["category"]],
            seed=inputs.options["seed"],
            padding=padding,
        )
        return cls(inputs, photo, frame, pose, prepared)

    def bundle(self, drawn: Image) -> Bundle:
        """Return the stage's bundle for the network's picture, RGB uint8 of the network's shape."""
        before, after = (self.prepared.padding.removed(part) for part in (self.prepared.person, drawn))
        on_person = self._from_canvas(self.inputs.artifacts["pose"]["mask.png"], before) >= _SOLID
        kept = np.isin(self._from_canvas(self.inputs.artifacts["parse"]["parse.png"], before), KEPT)
        alpha = changed_region(before, after, on_person, kept)
        result, region = laid_back(self.photo, after, alpha), self._to_canvas(alpha)
        verdict = rated(
            Drawn(
                before=self.frame.to_canvas(self.photo, fill=FILL),
                after=self.frame.to_canvas(result, fill=FILL),
                region=region,
                parse=self.inputs.artifacts["parse"]["parse.png"],
                pose=self.pose,
                garment=self.inputs.artifacts["cloth"]["cloth.png"],
                garment_mask=self.inputs.artifacts["cloth"]["mask.png"],
                category=self.inputs.options["category"],
            )
        )
        return {
            "result.png": result,
            "region.png": region,
            "drawn.png": after,
            "details.json": {"weights": self.inputs.options["weights"], **verdict.record()},
        }

    def _from_canvas(self, plane: NDArray[np.uint8], picture: Image) -> NDArray[np.uint8]:
        """Return a map of the canvas, uint8 (1024, 768), at the place and size of the network's picture.

        The canvas may end at the knees of a person whom the photograph shows down to the feet: outside of it
        the values at its edge go on.
        """
        height, width = picture.shape[:2]
        placed = cv2.warpAffine(
            plane,
            self._picture_to_canvas(picture.shape),
            (width, height),
            flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return np.asarray(placed, np.uint8)

    def _to_canvas(self, plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a map of the network's picture on the canvas, uint8 (1024, 768)."""
        canvas = self.inputs.artifacts["parse"]["parse.png"]
        placed = cv2.warpAffine(plane, self._picture_to_canvas(plane.shape), canvas.shape[::-1])
        return np.asarray(placed, np.uint8)

    def _picture_to_canvas(self, shape: tuple[int, ...]) -> NDArray[Any]:
        scale_x = self.frame.scale * self.frame.photo_width / shape[1]
        scale_y = self.frame.scale * self.frame.photo_height / shape[0]
        return affine_matrix(scale_x, scale_y, self.frame.left, self.frame.top)


def _require_joints(pose: Pose, frame: Frame, category: str) -> None:
    """Raise PoseError unless the photograph shows the joints between which the garment will be."""
    joints = NEEDED_JOINTS.get(category, ())
    points = frame.points_to_photo(pose.body[list(joints), :2].astype(np.float64))
    inside = ((points >= 0) & (points < (frame.photo_width, frame.photo_height))).all(1)
    seen = inside & (pose.body[list(joints), 2] >= MIN_CONFIDENCE)
    missing = [joint.name.lower() for joint, found in zip(joints, seen, strict=True) if not found]
    if missing:
        names = {"r": "right", "l": "left"}
        words = ", ".join(f"{names[name[0]]} {name[2:]}" for name in missing)
        raise PoseError(
            f"The photograph does not show the person's {words}, and the category {category} needs them. "
            "Use a photograph that shows more of the person."
        )
