"""The contract between the job queue and what it runs; it imports nothing of this project.

A stage is done by one of several methods: the pose by MediaPipe, the picture by an engine. The queue
calls a method with a `StageInput` and stores the `Bundle` that it returns. The modules of the methods
are imported by producers too: they import NumPy, OpenCV and PyTorch inside their functions.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

Bundle = Mapping[str, Any]
"""What a stage leaves: ``name.png``, ``name.jpg`` -> uint8 array, (h, w) or RGB (h, w, 3); ``name.json`` ->
JSON value. JPEG does not keep exact values: it is for pictures that are only looked at."""


class CanceledError(Exception):
    """A method stops because `StageInput.canceled` says so."""


@dataclass(frozen=True)
class Progress:
    """How far a method is that draws in steps.

    Attributes:
        step: steps that are done.
        steps: all steps.
        remaining_s: about how long the others take, seconds; None while that is unknown.
    """

    step: int
    steps: int
    remaining_s: float | None = None

    def record(self) -> dict[str, Any]:
        """Return the attributes as JSON values; whole seconds."""
        remaining_s = None if self.remaining_s is None else round(self.remaining_s)
        return {"step": self.step, "steps": self.steps, "remaining_s": remaining_s}


def unreported(_progress: Progress) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class StageInput:
    """What a method reads.

    Attributes:
        sources: `person`, `cloth` -> the image file's bytes.
        names: `person`, `cloth` -> the name of that input in an error: its object key or path.
        artifacts: stage name -> the bundle that this stage made.
        options: the job options and settings that the stage reads, from `worker.stages.table.selected`.
        canceled: returns whether the job was canceled meanwhile; long loops ask it and raise CanceledError.
        report: receives the progress of a method that draws in steps.
        time_limit_s: seconds after which the method is stopped; None for no limit.
    """

    sources: Mapping[str, bytes]
    names: Mapping[str, str]
    artifacts: Mapping[str, Bundle]
    options: Mapping[str, Any]
    canceled: Callable[[], bool] = field(default=lambda: False)
    report: Callable[[Progress], None] = field(default=unreported)
    time_limit_s: float | None = None


@dataclass(frozen=True)
class Host:
    """Where a method's model is loaded.

    Attributes:
        models_dir: the folder of the model files.
        device: `cpu` or `cuda:N`.
        batch: most pictures of different jobs that are drawn at once.
    """

    models_dir: Path
    device: str
    batch: int


class Method(ABC):
    """One way to do a stage.

    Attributes:
        name: what the stage's option or setting calls it.
        packages: imports that are not installed on every machine that runs the stage.
        libraries: distributions whose version may change the output's pixels.
        uses_device: whether the model runs on the worker's device; a GPU rounds differently from a processor.
        auto_needs_gpu: whether `auto` takes it on a GPU only, because a processor takes hours; by name it
            runs on both.
        options: the job options that it reads besides its stage's; all jobs of a batch have the same values.
        batches: whether `run_batch` does several jobs faster than `run` does one after the other.
    """

    name: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()
    libraries: ClassVar[tuple[str, ...]] = ("numpy", "opencv-python-headless")
    uses_device: ClassVar[bool] = False
    auto_needs_gpu: ClassVar[bool] = False
    options: ClassVar[tuple[str, ...]] = ()
    batches: ClassVar[bool] = False

    def available(self) -> bool:
        """Return whether the option value `auto` may choose this method here."""
        return True

    def accepts(self, options: Mapping[str, Any]) -> bool:
        """Return whether the method can do a job with these options."""
        return True

    def check(self) -> None:
        """Raise WeightsMissingError unless the model files that `load` reads are there."""
        self.digests()

    def digests(self) -> Mapping[str, str]:
        """Return the sha256 of each model file that decides the output. Raises WeightsMissingError."""
        return {}

    @abstractmethod
    def load(self, host: Host) -> Any:
        """Return the model, loaded once per worker process before it reports ready; WeightsMissingError.

        A method without weights returns its function: its imports then do not delay the first job.
        """

    def unload(self, model: Any) -> None:  # noqa: B027 - most models hold nothing to release
        """Release the native resources of a loaded model."""

    @abstractmethod
    def run(self, model: Any, inputs: StageInput) -> Bundle:
        """Do the stage for one job. Raises the named error of an input that is at fault."""

    def run_batch(self, model: Any, batch: Sequence[StageInput]) -> Sequence[Bundle | Exception]:
        """Do the stage for several jobs; an input at fault gives its named error in the bundle's place."""
        raise NotImplementedError(f"{self.name} has no batches")


class Engine(Method):
    """A method of the last stage: it draws the garment on the person.

    Its bundle holds ``result.png``, the photograph with the garment, at the photograph's size.

    Attributes:
        categories: the garment categories that it draws.
        commercial_use: whether the licence of the published model files that it needs allows commercial use.
    """

    categories: ClassVar[tuple[str, ...]]
    commercial_use: ClassVar[bool] = True

    def accepts(self, options: Mapping[str, Any]) -> bool:
        """Return whether the engine draws the job's category."""
        return options["category"] in self.categories

    @abstractmethod
    def draw(self, model: Any, inputs: StageInput) -> Bundle:
        """Draw one job's picture. Raises the named error of an input that is at fault."""

    def draw_batch(self, model: Any, batch: Sequence[StageInput]) -> Sequence[Bundle | Exception]:
        """Draw several jobs' pictures; an input at fault gives its named error in the bundle's place."""
        raise NotImplementedError(f"{self.name} has no batches")

    def run(self, model: Any, inputs: StageInput) -> Bundle:
        """Draw one job's picture."""
        return self.draw(model, inputs)

    def run_batch(self, model: Any, batch: Sequence[StageInput]) -> Sequence[Bundle | Exception]:
        """Draw several jobs' pictures."""
        return self.draw_batch(model, batch)
