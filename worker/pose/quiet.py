"""MediaPipe's start-up chatter kept off the terminal; everything else that is said meanwhile is passed on."""

import os
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_STDERR = 2
_CHATTER = re.compile(
    rb"INFO: Created TensorFlow Lite XNNPACK delegate"
    rb"|WARNING: All log messages before absl::InitializeLog\(\)"
    rb"|[IW]\d{4} .*(inference_feedback_manager|landmark_projection_calculator|gl_context)"
)
"""What the models say of themselves when they are loaded and first find a person: nothing to act on."""

_one_at_a_time = threading.Lock()


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back what is written to the process's standard error, then pass on all but the chatter.

    MediaPipe's libraries write to the file descriptor, heed no log-level variable, and offer no call that
    would set one. What other threads write meanwhile comes late but whole, and so does what was said before
    an exception. Only if the process is aborted meanwhile is it lost, so keep the block short.
    """
    with _one_at_a_time, tempfile.TemporaryFile() as held:
        try:
            kept = os.dup(_STDERR)
        except OSError:  # Closed, as in some daemons: there is nothing to hold back.
            yield
            return
        try:
            os.dup2(held.fileno(), _STDERR)
            yield
        finally:
            os.dup2(kept, _STDERR)
            os.close(kept)
            held.seek(0)
            said = b"".join(line for line in held if not _CHATTER.match(line))
            while said:
                said = said[os.write(_STDERR, said) :]
