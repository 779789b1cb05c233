"""Waits for a condition, never for a fixed time."""

import time
from collections.abc import Callable
from typing import Any

POLL_INTERVAL_S = 0.02


def wait_for(condition: Callable[[], Any], what: str, timeout: float = 60) -> Any:
    """Call the condition until its value is true, and return that value; fail after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:g} s for {what}")
        time.sleep(POLL_INTERVAL_S)
    return value
