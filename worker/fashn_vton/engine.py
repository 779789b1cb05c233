"""The engine `fashn_vton`: FASHN VTON v1.5 (FASHN AI 2026), code and weights under Apache-2.0."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from config.errors import TryonError
from config.settings import settings
from worker import weights
from worker.contract import Bundle, Engine, Host, StageInput

if TYPE_CHECKING:
    from worker.fashn_vton.job import Job
    from worker.fashn_vton.model import TryOnModel
    from worker.fashn_vton.network import Sizes

WEIGHTS = "fashn-vton"
"""The weight file in the catalogue."""


class FashnVtonEngine(Engine):
    """Draws the whole picture anew with a diffusion transformer, and keeps what did not need to change.

    Args:
        sizes: the sizes of the network; None for the published ones.
    """

    name: ClassVar[str] = "fashn_vton"
    categories: ClassVar[tuple[str, ...]] = ("upper_body", "lower_body", "dresses")
    packages: ClassVar[tuple[str, ...]] = ("torch", "safetensors")
    libraries: ClassVar[tuple[str, ...]] = (*Engine.libraries, "pillow", "torch")
    uses_device: ClassVar[bool] = True
    auto_needs_gpu: ClassVar[bool] = True
    options: ClassVar[tuple[str, ...]] = ("quality",)
    batches: ClassVar[bool] = True

    def __init__(self, sizes: "Sizes | None" = None) -> None:
        self._sizes = sizes

    def available(self) -> bool:
        """Return whether the weights are there. Raises WeightsMissingError when the file is damaged."""
        (status,) = weights.status(settings().models_dir, [WEIGHTS])
        if status.state == "damaged":
            weights.path(WEIGHTS, settings().models_dir)
        return status.state == "present"

    def digests(self) -> Mapping[str, str]:
        """Return the sha256 of the weight file. Raises WeightsMissingError."""
        return {WEIGHTS: weights.sha256(WEIGHTS, settings().models_dir)}

    def load(self, host: Host) -> "TryOnModel":
        """Return the network on the worker's device, on a GPU compiled. Raises WeightsMissingError."""
        # torch keeps what it compiles for the network next to the models: the next worker starts sooner.
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(host.models_dir.absolute() / "compiled"))
        from worker.fashn_vton.model import TryOnModel

        return TryOnModel.load(weights.path(WEIGHTS, host.models_dir), host, self._sizes)

    def draw(self, model: "TryOnModel", inputs: StageInput) -> Bundle:
        """Draw one job's picture. Raises PoseError."""
        from worker.fashn_vton.job import Job

        return _drawn(model, [Job.of(inputs, model.shape)])[0]

    def draw_batch(self, model: "TryOnModel", batch: Sequence[StageInput]) -> list[Bundle | Exception]:
        """Draw several jobs' pictures at once; an input at fault gives its named error instead."""
        from worker.fashn_vton.job import Job

        jobs: list[Job | TryonError] = []
        for inputs in batch:
            try:
                jobs.append(Job.of(inputs, model.shape))
            except TryonError as error:
                jobs.append(error)
        drawn = iter(_drawn(model, [job for job in jobs if isinstance(job, Job)]))
        return [next(drawn) if isinstance(job, Job) else job for job in jobs]


def _drawn(model: "TryOnModel", jobs: "Sequence[Job]") -> list[Bundle]:
    """Return each job's bundle; all have the same quality.

    Raises CanceledError when all are canceled, InputValidationError when a processor would take too long.
    """
    if not jobs:
        return []
    from worker.fashn_vton.sampler import STEPS
    from worker.fashn_vton.steps import Steps

    steps = STEPS[jobs[0].inputs.options["quality"]]
    followed = Steps([job.inputs for job in jobs])
    if model.device.type == "cpu":
        followed.announce(steps, len(jobs) * model.step_s())
    pictures = model.draw([job.prepared for job in jobs], steps, followed)
    return [job.bundle(picture) for job, picture in zip(jobs, pictures, strict=True)]
