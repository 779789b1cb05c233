"""Hides MediaPipe's start-up messages on standard error; all other messages are passed on."""

import os
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_STDERR = 2
_STARTUP_MESSAGES = re.compile(
    rb"INFO: Created TensorFlow Lite XNNPACK delegate"
    rb"|WARNING: All log messages before absl::InitializeLog\(\)"
    rb"|[IW]\d{4} .*(inference_feedback_manager|landmark_projection_calculator|gl_context)"
)
"""Messages that the models write when they are loaded and first find a person; none needs an action."""

_lock = threading.Lock()


@contextmanager
def quiet() -> Iterator[None]:
    """Redirect the process's standard error during the block, then pass on all but the start-up messages.

    MediaPipe's libraries write to the file descriptor, ignore all log-level variables, and have no function
    that sets a level. Messages of other threads are delayed but complete, also after an exception. They are
    only lost if the process aborts during the block: keep the block short.
    """
    with _lock, tempfile.TemporaryFile() as buffer:
        try:
            original = os.dup(_STDERR)
        except OSError:  # Standard error is closed, as in some daemons: there is nothing to redirect.
            yield
            return
        try:
            os.dup2(buffer.fileno(), _STDERR)
            yield
        finally:
            os.dup2(original, _STDERR)
            os.close(original)
            buffer.seek(0)
            messages = b"".join(line for line in buffer if not _STARTUP_MESSAGES.match(line))
            while messages:
                messages = messages[os.write(_STDERR, messages) :]
