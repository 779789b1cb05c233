"""The named errors of a try-on job: which input, what is wrong, what to do, and whether to try again."""

from collections.abc import Mapping
from typing import Any, ClassVar


class TryonError(Exception):
    """A job could not be done for a reason that has a name.

    Attributes:
        message: what is wrong and what to do about it, for the person who reads the status.
        stage: the pipeline stage that noticed it, if one did.
        input: the input at fault (an object key, an option or a file name), if one is.
        retryable: whether the same job may succeed when it is tried again unchanged.
    """

    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, input: str | None = None, stage: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.input = input
        self.stage = stage

    @property
    def name(self) -> str:
        """The error's name as the status shows it."""
        return type(self).__name__

    def record(self) -> dict[str, Any]:
        """Return the error as the job's row keeps it."""
        return {
            "name": self.name,
            "message": self.message,
            "stage": self.stage,
            "input": self.input,
            "retryable": self.retryable,
        }

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (self.record(),))


class ImageLoadError(TryonError):
    """The object cannot be read as an image: empty, another format, truncated, too large."""


class InputValidationError(TryonError):
    """A key or option, or an image's size, is outside what the system accepts."""


class NoPersonError(TryonError):
    """No person was found in the person photograph."""


class MultiplePeopleError(TryonError):
    """Several people are in the photograph and none of them dominates."""


class PoseError(TryonError):
    """A person was found, but joints that a try-on needs are not to be seen."""


class GarmentMaskError(TryonError):
    """The garment could not be told from its background."""


class ParsingError(TryonError):
    """The person's parts could not be told apart."""


class SynthesisError(TryonError):
    """The garment could not be drawn on the person: a warp that folds or tears."""


class WeightsMissingError(TryonError):
    """A model file is not there or is not the right one; the message says how to get it."""


class StorageError(TryonError):
    """The object store did not answer as it should."""

    retryable = True


class OutOfMemoryError(TryonError):
    """The device had too little memory for the stage."""

    retryable = True


class JobTimeoutError(TryonError):
    """A stage or job took longer than it may."""

    retryable = True


class InternalError(TryonError):
    """Something unforeseen; the worker's log has the details."""

    retryable = True


ERRORS: Mapping[str, type[TryonError]] = {cls.__name__: cls for cls in TryonError.__subclasses__()}


def from_record(record: Mapping[str, Any]) -> TryonError:
    """Return the error that a job's row keeps, to be raised where the result is asked for."""
    cls = ERRORS.get(record["name"], InternalError)
    return cls(record["message"], input=record.get("input"), stage=record.get("stage"))


def _rebuild(record: Mapping[str, Any]) -> TryonError:
    return from_record(record)
