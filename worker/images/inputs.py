"""Reads the photographs of a stage, and names the input in errors of code that sees only its pixels."""

from collections.abc import Iterator
from contextlib import contextmanager

from config.errors import TryonError
from worker.contract import StageInput
from worker.images.arrays import Image
from worker.images.decode import decode_input


def person_photo(inputs: StageInput) -> Image:
    """Return the person's photograph, RGB uint8 (h, w, 3). Raises ImageLoadError, InputValidationError."""
    return decode_input(inputs.sources["person"], name=inputs.names["person"])


@contextmanager
def errors_name(inputs: StageInput, source: str) -> Iterator[None]:
    """Set the `input` of TryonErrors raised inside to the name of the source, `person` or `cloth`."""
    try:
        yield
    except TryonError as error:
        error.input = error.input or inputs.names[source]
        raise
