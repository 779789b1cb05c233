"""The named errors of a try-on job: the input at fault, what to do about it, and whether a retry may help."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypedDict


class ErrorRecord(TypedDict):
    """An error as the job's row and the status show it. The attributes are those of `TryonError`."""

    name: str
    message: str
    stage: str | None
    input: str | None
    retryable: bool


class TryonError(Exception):
    """A job failed for a reason that has a name.

    Attributes:
        message: what is wrong and what to do about it, written for the reader of the job's status.
        stage: the pipeline stage that raised the error, or None.
        input: the input at fault (an object key, an option or a file name), or None.
        retryable: whether the same job may succeed when it is retried unchanged.
        outage: whether something outside the job is away: the stage is then postponed and uses no attempt.
    """

    retryable: ClassVar[bool] = False
    outage: ClassVar[bool] = False

    def __init__(self, message: str, *, input: str | None = None, stage: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.input = input
        self.stage = stage

    @property
    def name(self) -> str:
        """The error's name in the status."""
        return type(self).__name__

    def record(self) -> ErrorRecord:
        """Return the error as it is stored in the job's row."""
        return {
            "name": self.name,
            "message": self.message,
            "stage": self.stage,
            "input": self.input,
            "retryable": self.retryable,
        }

    def __reduce__(self) -> tuple[Callable[[Mapping[str, Any]], "TryonError"], tuple[ErrorRecord]]:
        return (from_record, (self.record(),))


class ImageLoadError(TryonError):
    """The object cannot be read as an image: it is empty, not an image, truncated or too large."""


class ImageLimitError(TryonError):
    """Decoding the image takes, or would take, more time or memory than is allowed: it was crafted, or is of
    a very unusual kind."""


class InputValidationError(TryonError):
    """A key, an option or the size of an image is not acceptable, or an object does not exist."""


class NoPersonError(TryonError):
    """No person was detected in the person photograph."""


class MultiplePeopleError(TryonError):
    """Several people are in the person photograph and none of them is clearly the main one."""


class PoseError(TryonError):
    """A person was detected, but joints that a try-on needs are not visible."""


class GarmentMaskError(TryonError):
    """The garment could not be separated from its background."""


class GarmentUnsuitableError(TryonError):
    """The garment photograph shows what cannot be tried on as requested: a garment of another category, a
    person, a folded garment."""


class ParsingError(TryonError):
    """The person could not be segmented into body parts and clothes."""


class SynthesisError(TryonError):
    """The garment could not be rendered on the person, for example because its warp folds or tears."""


class WeightsMissingError(TryonError):
    """A model file is missing or has the wrong checksum; the message says how to get it."""


class StorageError(TryonError):
    """The object store did not answer, or answered with an unexpected error."""

    retryable = True
    outage = True


class ArtifactError(TryonError):
    """A stored artifact is missing or damaged; the stage that made it is run again."""

    retryable = True


class WorkerError(TryonError):
    """The worker cannot run stages any more, for example because its GPU is lost; it ends, and another one
    takes the stage."""

    retryable = True
    outage = True


class QueueLimitError(TryonError):
    """The tenant has too many queued jobs; submit again when some have started."""

    retryable = True


class OutOfMemoryError(TryonError):
    """The device had too little memory for the stage."""

    retryable = True


class JobTimeoutError(TryonError):
    """A stage or a job exceeded its time limit."""

    retryable = True


class InternalError(TryonError):
    """An unexpected error; the worker's log has the details."""

    retryable = True


ERRORS: Mapping[str, type[TryonError]] = {cls.__name__: cls for cls in TryonError.__subclasses__()}


def from_record(record: Mapping[str, Any]) -> TryonError:
    """Return the error of a job's row as an exception. A name of a newer version gives InternalError."""
    cls = ERRORS.get(record["name"], InternalError)
    return cls(record["message"], input=record.get("input"), stage=record.get("stage"))
