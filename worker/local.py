"""A whole try-on inside this process: the same stage functions, no servers."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from worker import pipeline
from worker.bundle import Bundle
from worker.errors import TryonError
from worker.models import Models


def run(
    person: bytes,
    cloth: bytes,
    options: Mapping[str, Any],
    models: Models,
    *,
    names: Mapping[str, str],
    report: Callable[[str, float], None] = lambda stage, milliseconds: None,
) -> dict[str, Bundle]:
    """Run every stage in order; returns stage name -> bundle, the result in ``generate``/``result.png``.

    Args:
        person: the person photograph's file.
        cloth: the garment photograph's file.
        options: the job options, as `TryonRequest.options` gives them.
        models: the loaded models.
        names: `person`, `cloth` -> what to call that input in an error.
        report: called after each stage with its name and milliseconds.

    Raises the TryonError of the stage that could not be done.
    """
    bundles: dict[str, Bundle] = {}
    for row in pipeline.STAGES:
        began = time.perf_counter()
        given = pipeline.StageInput(
            sources={"person": person, "cloth": cloth},
            names=names,
            artifacts={need: bundles[need] for need in row.needs},
            options=pipeline.selected(row, options),
            models=models,
        )
        try:
            bundles[row.name] = pipeline.function(row)(given)
        except TryonError as error:
            error.stage = error.stage or row.name
            raise
        report(row.name, 1000 * (time.perf_counter() - began))
    return bundles
