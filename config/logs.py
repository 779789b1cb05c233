"""Logging: one line per event on standard error, as text or as JSON (`TRYON_LOG_FORMAT`).

What others chose cannot forge a line: control characters of a message are escaped, and the lines of a
traceback are indented. The keys of a job's pictures are left out above the level DEBUG. JSON lines have the
job, tenant, stage and attempt that `of_job` names, in every thread and library that logs meanwhile.
"""

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

from config.settings import settings

_VERBOSE_LIBRARIES = ("botocore", "boto3", "urllib3", "s3transfer", "alembic.runtime.plugins")

_FORMAT = "%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"

_INDENT = "    "

_MOST_HIDDEN = 64
"""Keys that are remembered: those of the newest jobs of this process, a batch included."""

_SHORTEST_HIDDEN = 4
"""Characters of the shortest key that is left out: a shorter one tells nothing and occurs in other words."""

_hidden: dict[str, str] = {}

_job: ContextVar[Mapping[str, str | int]] = ContextVar("job")
"""What the lines that are written now are about."""


class EventFormatter(logging.Formatter):
    """Formats a record as one line, and its traceback as indented lines."""

    def __init__(self) -> None:
        super().__init__(_FORMAT)

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text, without the keys of pictures unless it is of the level DEBUG."""
        return _without_keys(super().format(record), record.levelno)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - overrides logging's method
        """Return the first line."""
        return _one_line(super().formatMessage(record))

    def formatException(self, ei: object) -> str:  # noqa: N802 - overrides logging's method
        """Return the traceback."""
        return _indented(super().formatException(ei))  # type: ignore[arg-type] # as logging passes it

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 - overrides logging's method
        """Return the stack."""
        return _indented(stack_info)


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object: time, level, logger, process, message, what `of_job` names, for
    Celery's own lines also the task and its id, and the traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line, without the keys of pictures unless it is of the level DEBUG."""
        values: dict[str, str | int] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "process": record.process or 0,
            "message": _without_keys(_one_line(record.getMessage()), record.levelno),
            **_job.get({}),
        }
        task = getattr(record, "data", None)
        if isinstance(task, Mapping) and "id" in task:
            values |= {"task": str(task.get("name")), "task_id": str(task["id"])}
        if record.exc_info:
            traceback = _lines(self.formatException(record.exc_info))
            values["traceback"] = _without_keys(traceback, record.levelno)
        return json.dumps(values)


@contextmanager
def of_job(
    job: str, *, tenant: str | None = None, stage: str | None = None, attempt: int | None = None
) -> Iterator[None]:
    """Let the JSON lines that are written in the block say which job they are about."""
    named = {"job": job, "tenant": tenant, "stage": stage, "attempt": attempt}
    token = _job.set({name: value for name, value in named.items() if value is not None})
    try:
        yield
    finally:
        _job.reset(token)


def hide(roles: Mapping[str, str]) -> None:
    """Leave keys of pictures out of this process's log: each is replaced by its role, such as `person`."""
    for key, role in roles.items():
        if len(key) >= _SHORTEST_HIDDEN:
            # In a message; in a traceback as JSON; in one as text.
            for shown in (_one_line(key), _lines(key), _indented(key).removeprefix(_INDENT)):
                _hidden[shown] = f"<{role}>"
    for key in list(_hidden)[:-_MOST_HIDDEN]:
        del _hidden[key]


def set_up_logging(level: int = logging.INFO) -> None:
    """Log to standard error and silence verbose libraries. Does nothing when called again."""
    os.environ.setdefault("GLOG_minloglevel", "2")  # MediaPipe: errors only
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow Lite: errors only
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if settings().log_format == "json" else EventFormatter())
    logging.basicConfig(level=level, handlers=[handler])
    for name in _VERBOSE_LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)


def _without_keys(text: str, level: int) -> str:
    """Return the text with the keys of pictures replaced by their roles, above the level DEBUG."""
    if level > logging.DEBUG:
        for key, role in _hidden.items():
            text = text.replace(key, role)
    return text


def _one_line(text: str) -> str:
    """Return the text with its unprintable characters escaped."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "surrogatepass").decode("ascii")
        for letter in text
    )


def _lines(text: str) -> str:
    """Return the text with the unprintable characters of its lines escaped."""
    return "\n".join(map(_one_line, text.splitlines()))


def _indented(text: str) -> str:
    return "\n".join(_INDENT + _one_line(line) for line in text.splitlines())
