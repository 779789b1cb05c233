"""A whole try-on inside this process: the same methods, no servers."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from config.errors import TryonError
from worker.contract import Bundle, Progress, StageInput, unreported
from worker.stages import table
from worker.stages.models import Models


def run_stage(
    row: table.Stage,
    sources: Mapping[str, bytes],
    bundles: Mapping[str, Bundle],
    options: Mapping[str, Any],
    models: Models,
    *,
    names: Mapping[str, str],
    progress: Callable[[Progress], None] = unreported,
) -> Bundle:
    """Run one stage; returns its bundle.

    Args:
        row: the stage.
        sources: `person`, `cloth` -> the image file's bytes.
        bundles: stage name -> bundle of at least the stages that it needs.
        options: the job options, as `TryonRequest.options` gives them.
        models: the loaded models.
        names: `person`, `cloth` -> the name of that input in an error.
        progress: called after each step of a method that draws in steps.

    Raises the TryonError of the stage, which then names it.
    """
    selected = table.selected(row, options, models.device)
    chosen = table.method(row, selected)
    inputs = StageInput(
        sources={source: sources[source] for source in row.sources},
        names=names,
        artifacts={need: bundles[need] for need in row.needs},
        options=selected,
        report=progress,
    )
    try:
        return chosen.run(models.of(chosen), inputs)
    except TryonError as error:
        error.stage = error.stage or row.name
        raise


def run(
    person: bytes,
    cloth: bytes,
    options: Mapping[str, Any],
    models: Models,
    *,
    names: Mapping[str, str],
    report: Callable[[str, float], None] | None = None,
    progress: Callable[[Progress], None] = unreported,
) -> dict[str, Bundle]:
    """Run every stage in order; returns stage name -> bundle, the result in ``generate``/``result.png``.

    Args:
        person: the person photograph's file.
        cloth: the garment photograph's file.
        options: the job options, as `TryonRequest.options` gives them.
        models: the loaded models.
        names: `person`, `cloth` -> the name of that input in an error.
        report: called after each stage with its name and milliseconds.
        progress: called after each step of a method that draws in steps.

    Raises the TryonError of the stage that failed.
    """
    bundles: dict[str, Bundle] = {}
    for row in table.STAGES:
        began = time.perf_counter()
        bundles[row.name] = run_stage(
            row,
            {"person": person, "cloth": cloth},
            bundles,
            options,
            models,
            names=names,
            progress=progress,
        )
        if report is not None:
            report(row.name, 1000 * (time.perf_counter() - began))
    return bundles
