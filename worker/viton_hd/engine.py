"""The engine `viton_hd`: VITON-HD's cascade (arXiv 2103.16874) with the published or the user's weights."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from config.errors import TryonError
from config.settings import settings
from worker.contract import Bundle, Engine, Host, StageInput
from worker.viton_hd import files

if TYPE_CHECKING:
    from worker.images.arrays import Image
    from worker.images.frame import Frame
    from worker.viton_hd.cascade import Cascade, TryOnOutput
    from worker.viton_hd.inputs import TryOnInput


class VitonHdEngine(Engine):
    """Generates the whole canvas with three networks."""

    name: ClassVar[str] = "viton_hd"
    categories: ClassVar[tuple[str, ...]] = ("upper_body",)
    commercial_use: ClassVar[bool] = False
    packages: ClassVar[tuple[str, ...]] = ("torch",)
    libraries: ClassVar[tuple[str, ...]] = (*Engine.libraries, "torch")
    uses_device: ClassVar[bool] = True
    batches: ClassVar[bool] = True

    def available(self) -> bool:
        """Return whether the weights are there. Raises WeightsMissingError when a file is damaged."""
        return files.available(settings().models_dir, settings().viton_hd_weights)

    def check(self) -> None:
        """Raise WeightsMissingError unless the three files are there."""
        files.weight_files(settings().models_dir, settings().viton_hd_weights)

    def digests(self) -> Mapping[str, str]:
        """Return the sha256 of the three files. Raises WeightsMissingError."""
        return files.digests(settings().models_dir, settings().viton_hd_weights)

    def load(self, host: Host) -> "Cascade":
        """Return the cascade, on a CUDA device compiled for all batch sizes. Raises WeightsMissingError."""
        # torch keeps what it compiles for the cascade next to the models: the next worker starts sooner.
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(host.models_dir.absolute() / "compiled"))
        from worker.viton_hd.cascade import Cascade

        weight_files = files.weight_files(host.models_dir, settings().viton_hd_weights)
        cascade = Cascade.load(*weight_files, device=host.device, batch=host.batch)
        if cascade.device.type == "cuda":
            cascade.warm_up()  # compiles for minutes the first time: not during a job
        return cascade

    def draw(self, model: "Cascade", inputs: StageInput) -> Bundle:
        """Generate one job's picture. Raises PoseError."""
        job = _prepare(inputs)
        (output,) = model([job.item])
        return job.bundle(output)

    def draw_batch(self, model: "Cascade", batch: Sequence[StageInput]) -> list[Bundle | Exception]:
        """Generate several jobs' pictures at once; an input at fault gives its PoseError instead."""
        jobs = [_prepare_or_error(inputs) for inputs in batch]
        outputs = iter(model([job.item for job in jobs if isinstance(job, _PreparedJob)]))
        return [job.bundle(next(outputs)) if isinstance(job, _PreparedJob) else job for job in jobs]


@dataclass(frozen=True)
class _PreparedJob:
    """A job whose inputs are read.

    Attributes:
        photo: the person's photograph.
        frame: from the photograph to the canvas.
        item: the input of the cascade.
        weights: catalogue name -> sha256 of the weight file.
    """

    photo: "Image"
    frame: "Frame"
    item: "TryOnInput"
    weights: Mapping[str, str]

    def bundle(self, output: "TryOnOutput") -> Bundle:
        """Return the stage's bundle; the region is the whole canvas, because all of it is generated."""
        import numpy as np

        from worker.images.paste import paste_back

        region = np.full(output.image.shape[:2], 255, np.uint8)
        return {
            "result.png": paste_back(self.photo, self.frame, output.image, region),
            "region.png": region,
            "warped.jpg": output.warped,
            "details.json": {"weights": self.weights},
        }


def _prepare(inputs: StageInput) -> _PreparedJob:
    from worker.images.frame import FILL, Frame
    from worker.images.inputs import errors_name, person_photo
    from worker.images.openpose import from_openpose_json
    from worker.viton_hd.inputs import TryOnInput

    pose, parse, cloth = (inputs.artifacts[name] for name in ("pose", "parse", "cloth"))
    photo, frame = person_photo(inputs), Frame(**pose["frame.json"])
    with errors_name(inputs, "person"):
        item = TryOnInput.of_person(
            frame.to_canvas(photo, fill=FILL),
            from_openpose_json(pose["pose.json"]).body,
            parse["parse.png"],
            pose["pose.png"],
            cloth["cloth.png"],
            cloth["mask.png"],
            seed=inputs.options["seed"],
        )
    return _PreparedJob(photo, frame, item, inputs.options["weights"])


def _prepare_or_error(inputs: StageInput) -> _PreparedJob | TryonError:
    try:
        return _prepare(inputs)
    except TryonError as error:
        return error
