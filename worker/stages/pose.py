"""The stage `pose`: the person's joints, their rendering, the person mask and the frame of the canvas."""

from typing import TYPE_CHECKING, ClassVar

from config.settings import settings
from worker import weights
from worker.contract import Bundle, Host, Method, StageInput

if TYPE_CHECKING:
    from worker.pose.estimator import PoseEstimator

WEIGHTS = ("pose_detection", "pose_landmark", "selfie_segmentation", "palm_detection", "hand_landmark")
"""MediaPipe's models in the weights catalogue."""


class MediaPipePose(Method):
    """MediaPipe's pose and hand landmarks, converted to OpenPose's Body25 and hands."""

    name: ClassVar[str] = "mediapipe"
    libraries: ClassVar[tuple[str, ...]] = (*Method.libraries, "mediapipe")

    def digests(self) -> dict[str, str]:
        """Return the sha256 of MediaPipe's model files."""
        return {name: weights.sha256(name, settings().models_dir) for name in WEIGHTS}

    def load(self, host: Host) -> "PoseEstimator":
        """Return the landmarkers. Raises WeightsMissingError."""
        from worker.pose.estimator import PoseEstimator

        return PoseEstimator(host.models_dir)

    def unload(self, model: "PoseEstimator") -> None:
        """Close MediaPipe's graphs."""
        model.close()

    def run(self, model: "PoseEstimator", inputs: StageInput) -> Bundle:
        """Find the person. Raises NoPersonError, MultiplePeopleError, PoseError."""
        import numpy as np

        from worker.images.inputs import errors_name, person_photo
        from worker.images.openpose import to_openpose_json
        from worker.pose.render import render

        photo = person_photo(inputs)
        with errors_name(inputs, "person"):
            person = model.estimate(photo)
        return {
            "pose.json": to_openpose_json(person.pose),
            "pose.png": render(person.pose),
            "mask.png": person.mask,
            "frame.json": person.frame.record(),
            # Also those outside of the canvas, which `pose.json` leaves out: x, y on the canvas, visibility.
            "landmarks.json": np.round(person.landmarks[:, [0, 1, 3]].astype(float), 2).tolist(),
        }


METHODS = (MediaPipePose(),)
