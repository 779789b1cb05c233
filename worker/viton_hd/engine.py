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
    from worker.viton_hd.cascade import Cascade, Drawn
    from worker.viton_hd.inputs import TryOnInput


class VitonHdEngine(Engine):
    """Draws the whole canvas with three networks."""

    name: ClassVar[str] = "viton_hd"
    categories: ClassVar[tuple[str, ...]] = ("upper_body",)
    packages: ClassVar[tuple[str, ...]] = ("torch",)
    batches: ClassVar[bool] = True

    def available(self) -> bool:
        """Return whether the weights are there. Raises WeightsMissingError when a file is damaged."""
        return files.available(settings().models_dir, settings().viton_hd_weights)

    def check(self) -> None:
        """Raise WeightsMissingError unless the three files are there."""
        files.files(settings().models_dir, settings().viton_hd_weights)

    def digests(self) -> Mapping[str, str]:
        """Return the sha256 of the three files. Raises WeightsMissingError."""
        return files.digests(settings().models_dir, settings().viton_hd_weights)

    def load(self, host: Host) -> "Cascade":
        """Return the cascade, compiled where it runs on a CUDA device. Raises WeightsMissingError."""
        # What torch compiles for the cascade is kept beside the models: the next worker starts sooner.
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(host.models_dir.absolute() / "compiled"))
        from worker.viton_hd.cascade import Cascade

        networks = files.files(host.models_dir, settings().viton_hd_weights)
        cascade = Cascade.load(*networks, device=host.device, batch=host.batch)
        if cascade.device.type == "cuda":
            cascade.prepare()  # the first time this compiles for minutes: not while a job waits
        return cascade

    def draw(self, model: "Cascade", inputs: StageInput) -> Bundle:
        """Draw one job's picture. Raises PoseError."""
        person = _prepare(inputs)
        (drawn,) = model([person.item])
        return person.bundle(drawn)

    def draw_batch(self, model: "Cascade", batch: Sequence[StageInput]) -> list[Bundle | Exception]:
        """Draw several jobs' pictures at once; an input at fault gives its PoseError instead."""
        people = [_prepare_or_error(inputs) for inputs in batch]
        drawn = iter(model([person.item for person in people if isinstance(person, _Person)]))
        return [person.bundle(next(drawn)) if isinstance(person, _Person) else person for person in people]


@dataclass(frozen=True)
class _Person:
    """A person about to be drawn: the photograph, its frame, and the cascade's input."""

    photo: "Image"
    frame: "Frame"
    item: "TryOnInput"
    weights: Mapping[str, str]

    def bundle(self, drawn: "Drawn") -> Bundle:
        """Return the stage's bundle; the region is the whole canvas, because all of it is drawn."""
        import numpy as np

        from worker.images.paste import paste_back

        region = np.full(drawn.image.shape[:2], 255, np.uint8)
        return {
            "result.png": paste_back(self.photo, self.frame, drawn.image, region),
            "region.png": region,
            "warped.jpg": drawn.warped,
            "details.json": {"weights": self.weights},
        }


def _prepare(inputs: StageInput) -> _Person:
    from worker.images.frame import FILL, Frame
    from worker.images.inputs import errors_name, person_photo
    from worker.images.openpose import from_openpose_json
    from worker.viton_hd.inputs import TryOnInput

    posed, parsed, cut = (inputs.artifacts[name] for name in ("pose", "parse", "cloth"))
    photo, frame = person_photo(inputs), Frame(**posed["frame.json"])
    with errors_name(inputs, "person"):
        item = TryOnInput.of_person(
            frame.to_canvas(photo, fill=FILL),
            from_openpose_json(posed["pose.json"]).body,
            parsed["parse.png"],
            posed["pose.png"],
            cut["cloth.png"],
            cut["mask.png"],
            seed=inputs.options["seed"],
        )
    return _Person(photo, frame, item, inputs.options["weights"])


def _prepare_or_error(inputs: StageInput) -> _Person | TryonError:
    try:
        return _prepare(inputs)
    except TryonError as error:
        return error
