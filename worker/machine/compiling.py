"""Compiled and recorded networks: whether torch can compile here, and the batch sizes that are prepared."""

import logging
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TypeVar

log = logging.getLogger(__name__)

Item = TypeVar("Item")


def can_compile(device_type: str) -> bool:
    """Return whether torch can compile for "cpu" or "cuda" here; if not, the log has a warning."""
    if device_type == "cuda":
        # Triton builds its launchers with a C compiler.
        requirement = "Triton with a C compiler"
        available = find_spec("triton") is not None and _any_installed("cc", "gcc", "clang")
    else:
        requirement, available = "C++ compiler", _any_installed("g++", "clang++")
    if not available:
        log.warning("There is no %s: networks run uncompiled, and slower", requirement)
    return available


@contextmanager
def log_duration(activity: str) -> Iterator[None]:
    """Log that an activity starts and, when it has succeeded, how long it took."""
    log.info("%s", activity)
    start = time.monotonic()
    yield
    log.info("%s took %.1f s", activity, time.monotonic() - start)


def prepared_sizes(largest: int) -> list[int]:
    """Return the batch sizes for which a network is prepared: the powers of two up to the largest batch."""
    return [2**power for power in range(largest.bit_length())]


def in_prepared_sizes(items: Sequence[Item], largest: int) -> Iterator[Sequence[Item]]:
    """Yield the items in batches of `prepared_sizes`, the largest first."""
    start = 0
    while start < len(items):
        size = 2 ** (min(len(items) - start, largest).bit_length() - 1)
        yield items[start : start + size]
        start += size


def _any_installed(*programs: str) -> bool:
    return any(map(shutil.which, programs))
