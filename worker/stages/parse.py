"""The stage `parse`: a label map of the person's parts."""

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from config.settings import settings
from worker import weights
from worker.contract import Bundle, Host, Method, StageInput
from worker.parsing import files

if TYPE_CHECKING:
    from worker.images.arrays import Canvas, Labels, Mask
    from worker.images.maps import Pose
    from worker.parsing.network import ParserNetwork


class TrainedParser(Method):
    """The YOLOv8 segmentation network that this project trains, fused with joints and colours."""

    name: ClassVar[str] = "trained"
    packages: ClassVar[tuple[str, ...]] = ("ultralytics",)
    libraries: ClassVar[tuple[str, ...]] = (*Method.libraries, "torch", "ultralytics")
    uses_device: ClassVar[bool] = True

    def check(self) -> None:
        """Raise WeightsMissingError unless the shipped weights, or the user's own, are there."""
        files.files(settings().models_dir, settings().parser_weights)

    def digests(self) -> dict[str, str]:
        """Return the sha256 of the network's weights and layout. Raises WeightsMissingError."""
        own = settings().parser_weights
        if own:
            return {"own": files.digest(own)}
        return {name: weights.sha256(name, settings().models_dir) for name in ("parser", "parser-layout")}

    def load(self, host: Host) -> "ParserNetwork":
        """Return the network. Raises WeightsMissingError."""
        from worker.parsing.network import ParserNetwork

        return ParserNetwork(*files.files(host.models_dir, settings().parser_weights), host.device)

    def run(self, model: "ParserNetwork", inputs: StageInput) -> Bundle:
        """Parse the person. Raises ParsingError."""
        from worker.images.inputs import errors_name
        from worker.parsing import trained

        canvas, pose, mask = _person(inputs)
        with errors_name(inputs, "person"):
            labels = trained.parse(canvas, pose, mask, model)
        return {"parse.png": labels, "details.json": {"parser": self.name}}


class LandmarkParser(Method):
    """Joints and colours alone, without a trained network."""

    name: ClassVar[str] = "landmark"

    def load(self, host: Host) -> "Callable[[Canvas, Pose, Mask], Labels]":
        """Return the function that parses a person."""
        from worker.parsing import landmark

        return landmark.parse

    def run(self, model: "Callable[[Canvas, Pose, Mask], Labels]", inputs: StageInput) -> Bundle:
        """Parse the person. Raises ParsingError."""
        from worker.images.inputs import errors_name

        canvas, pose, mask = _person(inputs)
        with errors_name(inputs, "person"):
            labels = model(canvas, pose, mask)
        return {"parse.png": labels, "details.json": {"parser": self.name}}


def _person(inputs: StageInput) -> "tuple[Canvas, Pose, Mask]":
    """Return the person on the canvas, their joints and their mask."""
    from worker.images.frame import FILL, Frame
    from worker.images.inputs import person_photo
    from worker.images.openpose import from_openpose_json

    posed = inputs.artifacts["pose"]
    canvas = Frame(**posed["frame.json"]).to_canvas(person_photo(inputs), fill=FILL)
    return canvas, from_openpose_json(posed["pose.json"]), posed["mask.png"]


TRAINED = TrainedParser()
METHODS: tuple[Method, ...] = (TRAINED, LandmarkParser())
