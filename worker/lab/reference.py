"""Writes docs/reference.md from the code: job options, errors, settings, stages and engines.

python -m worker.lab.reference > docs/reference.md
"""

import inspect
import sys
from collections.abc import Iterator

from pydantic.fields import FieldInfo

from config.errors import ERRORS
from config.settings import Settings
from worker.queue.request import TryonRequest
from worker.stages.engines import ENGINES
from worker.stages.table import AUTO, STAGES, Stage

HEADER = """# Reference

Generated from the code by `make reference`; a test checks that they agree.
"""

STATUS_FIELDS = {
    "id": "the job's id",
    "status": "`queued`, `running`, `succeeded`, `failed` or `canceled`",
    "stage": "the stage that runs, or the first that has not succeeded; null once the job has ended",
    "progress": "0 … 100",
    "queue_position": "1 for the next job of the tenant to be served, at most 10000; null unless queued",
    "attempt": "the highest attempt of its stages",
    "tenant": "whose job it is",
    "person_key": "object key of the person's photograph",
    "cloth_key": "object key of the garment's photograph",
    "options": "the job options",
    "engine": "the engine that drew the picture; null before",
    "result_key": "object key of the picture; null before",
    "error": "`name`, `message`, `stage`, `input`, `retryable`; null unless failed",
    "created_at": "ISO 8601 time",
    "started_at": "ISO 8601 time of the first claim",
    "finished_at": "ISO 8601 time",
    "stages": "one entry per stage, in the order of the table of stages",
}
"""Field of a status record -> meaning; a test compares the names with `db.jobs.status`."""

STAGE_FIELDS = {
    "name": "the stage",
    "status": "`blocked`, `ready`, `waiting`, `running`, `succeeded`, `failed` or `canceled`",
    "attempt": "how many times it was claimed and ran",
    "postponed": "how many times it was returned because something outside the job was away",
    "queued_ms": "time it was ready before it was claimed, all attempts, milliseconds",
    "run_ms": "time of the successful attempt, milliseconds",
    "compute_ms": "part of `run_ms` inside the method; its share of a batch",
    "cache_hit": "whether the artifact existed already",
    "worker": "the worker process that claimed it last",
    "artifact_key": "object key of its artifact",
    "details": "what the method reports, such as the engine's score; of a running one that draws in steps "
    "`progress`: `step`, `steps`, and `remaining_s`, about how many seconds the others take, or null",
    "error": "the last attempt's error",
}
"""Field of an entry of `stages` -> meaning."""


def reference() -> str:
    """Return the whole page, Markdown."""
    parts = [HEADER, *_options(), *_status(), *_errors(), *_settings(), *_stages(), *_engines()]
    return "\n".join(parts)


def _options() -> Iterator[str]:
    yield "## Job options\n"
    yield "`tryon.delay(person_key, cloth_key, **options)`, `tryon submit --<option>`.\n"
    yield from _table(
        ("option", "default", "meaning"),
        (
            (f"`{name}`", _default(field), field.description or "")
            for name, field in TryonRequest.model_fields.items()
            if not field.is_required()
        ),
    )


def _status() -> Iterator[str]:
    yield "## The status record\n"
    yield "`db.jobs.status(id)` returns it, `tryon status ID --json` prints it.\n"
    yield from _table(("field", "meaning"), ((f"`{name}`", text) for name, text in STATUS_FIELDS.items()))
    yield "Each entry of `stages`:\n"
    yield from _table(("field", "meaning"), ((f"`{name}`", text) for name, text in STAGE_FIELDS.items()))


def _errors() -> Iterator[str]:
    yield "## Errors\n"
    yield (
        "Every error in a job's status has a name, a message that says what to do, the input at fault and\n"
        "`retryable`. Retryable errors are retried with exponential backoff, `TRYON_MAX_ATTEMPTS` in all.\n"
    )
    yield from _table(
        ("error", "when", "retryable"),
        (
            (f"`{name}`", " ".join(inspect.getdoc(error).split()), "yes" if error.retryable else "no")  # type: ignore[union-attr]
            for name, error in ERRORS.items()
        ),
    )


def _settings() -> Iterator[str]:
    yield "## Settings\n"
    yield (
        "Each from the environment. Where the database, broker or object store is not set, the embedded\n"
        "server is used while `tryon up` runs.\n"
    )
    yield from _table(
        ("variable", "default", "meaning"),
        (
            (f"`TRYON_{name.upper()}`", _default(field), field.description or "")
            for name, field in Settings.model_fields.items()
        ),
    )


def _stages() -> Iterator[str]:
    yield "## Stages\n"
    yield from _table(
        ("stage", "queue", "version", "reads", "waits for", "methods", "chosen by"),
        (
            (
                f"`{row.name}`",
                f"`{row.queue}`",
                str(row.version),
                ", ".join((*row.sources, *row.needs)),
                ", ".join((*row.needs, *row.after)) or "–",
                ", ".join(f"`{method.name}`" for method in row.methods),
                _choice(row),
            )
            for row in STAGES
        ),
    )


def _engines() -> Iterator[str]:
    yield "## Engines\n"
    yield f"In the order in which `engine={AUTO}` prefers them.\n"
    yield from _table(
        ("engine", "categories", "batches", "commercial use", "what it does"),
        (
            (
                f"`{engine.name}`",
                ", ".join(f"`{category}`" for category in engine.categories),
                "yes" if engine.batches else "no",
                "yes" if engine.commercial_use else "not with the published files",
                (inspect.getdoc(type(engine)) or "").split("\n")[0],
            )
            for engine in ENGINES
        ),
    )


def _choice(row: Stage) -> str:
    if row.option:
        return f"option `{row.option}`"
    return f"`TRYON_{row.setting.upper()}`" if row.setting else "–"


def _default(field: FieldInfo) -> str:
    return "–" if field.default is None else f"`{field.default}`"


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
    yield ""


if __name__ == "__main__":
    sys.stdout.write(reference())
