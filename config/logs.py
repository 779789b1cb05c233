"""Logging: one line per event on standard error, with time, process and logger name.

What others chose cannot forge a line: control characters of a message are escaped, and the lines of a
traceback are indented. The keys of a job's pictures are left out above the level DEBUG.
"""

import logging
import os
from collections.abc import Mapping

_VERBOSE_LIBRARIES = ("botocore", "boto3", "urllib3", "s3transfer", "alembic.runtime.plugins")

_FORMAT = "%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"

_INDENT = "    "

_MOST_HIDDEN = 64
"""Keys that are remembered: those of the newest jobs of this process, a batch included."""

_SHORTEST_HIDDEN = 4
"""Characters of the shortest key that is left out: a shorter one tells nothing and occurs in other words."""

_hidden: dict[str, str] = {}


class EventFormatter(logging.Formatter):
    """Formats a record as one line, and its traceback as indented lines."""

    def __init__(self) -> None:
        super().__init__(_FORMAT)

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text, without the keys of pictures unless it is of the level DEBUG."""
        text = super().format(record)
        if record.levelno > logging.DEBUG:
            for key, role in _hidden.items():
                text = text.replace(key, role)
        return text

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - overrides logging's method
        """Return the first line."""
        return _one_line(super().formatMessage(record))

    def formatException(self, ei: object) -> str:  # noqa: N802 - overrides logging's method
        """Return the traceback."""
        return _indented(super().formatException(ei))  # type: ignore[arg-type] # as logging passes it

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 - overrides logging's method
        """Return the stack."""
        return _indented(stack_info)


def hide(roles: Mapping[str, str]) -> None:
    """Leave keys of pictures out of this process's log: each is replaced by its role, such as `person`."""
    for key, role in roles.items():
        if len(key) >= _SHORTEST_HIDDEN:
            _hidden[_one_line(key)] = f"<{role}>"
    for key in list(_hidden)[:-_MOST_HIDDEN]:
        del _hidden[key]


def set_up_logging(level: int = logging.INFO) -> None:
    """Log to standard error and silence verbose libraries. Does nothing when called again."""
    os.environ.setdefault("GLOG_minloglevel", "2")  # MediaPipe: errors only
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow Lite: errors only
    handler = logging.StreamHandler()
    handler.setFormatter(EventFormatter())
    logging.basicConfig(level=level, handlers=[handler])
    for name in _VERBOSE_LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)


def _one_line(text: str) -> str:
    """Return the text with its unprintable characters escaped."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "surrogatepass").decode("ascii")
        for letter in text
    )


def _indented(text: str) -> str:
    return "\n".join(_INDENT + _one_line(line) for line in text.splitlines())
