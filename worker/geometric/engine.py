"""The engine `geometric`: warps the garment by its landmarks; it needs no download."""

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from worker.contract import Bundle, Engine, Host, StageInput

if TYPE_CHECKING:
    from worker.geometric.dress import TryOn


class GeometricEngine(Engine):
    """Warps the garment with thin-plate splines and composites it on the photograph."""

    name: ClassVar[str] = "geometric"
    categories: ClassVar[tuple[str, ...]] = ("upper_body",)
    options: ClassVar[tuple[str, ...]] = ("minimum_score",)

    def load(self, host: Host) -> "Callable[..., TryOn]":
        """Return the function that puts the garment on the person."""
        from worker.geometric.dress import try_on

        return try_on

    def draw(self, model: "Callable[..., TryOn]", inputs: StageInput) -> Bundle:
        """Return one job's bundle. Raises PoseError, SynthesisError."""
        from worker.cloth.garment import Garment
        from worker.images.frame import FILL, Frame
        from worker.images.inputs import person_photo
        from worker.images.openpose import from_openpose_json
        from worker.images.paste import paste_back
        from worker.verdict import require_score

        pose, parse, cloth = (inputs.artifacts[name] for name in ("pose", "parse", "cloth"))
        photo, frame = person_photo(inputs), Frame(**pose["frame.json"])
        worn = model(
            frame.to_canvas(photo, fill=FILL),
            from_openpose_json(pose["pose.json"]),
            parse["parse.png"],
            pose["mask.png"],
            Garment.from_bundle(cloth),
            seed=inputs.options["seed"],
        )
        require_score(worn.verdict, inputs.options["minimum_score"])
        return {
            "result.png": paste_back(photo, frame, worn.image, worn.region),
            "region.png": worn.region,
            "warped.jpg": worn.warped,
            "details.json": worn.verdict.record(),
        }
