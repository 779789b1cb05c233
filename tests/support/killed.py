"""A command that is killed once at a point of the test's choice: ``python -m tests.support.killed POINT …``.

`submitted`: after a job was written by the HTTP interface, before its answer; `sent`: after a webhook was
delivered, before its mark.
"""

import os
import signal
import sys

from db import webhooks
from tasks.cli import main
from tasks.submit import TryonTask


def _kill_after(owner: type, name: str) -> None:
    original = getattr(owner, name)

    def wrapped(*args, **kwargs):
        original(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, wrapped)


def _kill_before_mark(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    point = sys.argv.pop(1)
    if point == "submitted":
        _kill_after(TryonTask, "apply_async")
    else:
        webhooks.mark_delivered = _kill_before_mark
    main()
