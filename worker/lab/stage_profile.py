"""Where the time of each stage goes: all stages in this process, timed, and again under Python's profiler."""

import cProfile
import pstats
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from config.errors import TryonError
from worker.contract import Bundle
from worker.stages import table
from worker.stages.local import run_stage
from worker.stages.models import Models

FUNCTIONS = 15
"""Functions of each stage that are listed: those behind them take a per cent or less."""

_PROJECT = Path(__file__).resolve().parents[2]

OPTIONS = {"engine": table.AUTO, "category": "upper_body", "seed": 0, "minimum_score": 0.0}
"""The options of the jobs that are profiled: a poor picture takes as long as a good one."""


@dataclass
class StageTimes:
    """What the runs of one stage took.

    Attributes:
        wall_ms: duration of each run, milliseconds.
        cpu_ms: processor time of each run in this process, all threads, milliseconds. The decoder of
            photographs is a process of its own.
        errors: names of the errors that runs ended with.
        profiler: the runs under the profiler.
    """

    wall_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    profiler: cProfile.Profile = field(default_factory=cProfile.Profile)

    def run(self, stage: Callable[..., Bundle], *arguments: Any) -> Bundle | None:
        """Run a stage twice, once timed and once profiled; returns its bundle, None after an error."""
        try:
            wall, cpu = time.perf_counter(), time.process_time()
            bundle = stage(*arguments)
            self.wall_ms.append(1000 * (time.perf_counter() - wall))
            self.cpu_ms.append(1000 * (time.process_time() - cpu))
            self.profiler.runcall(stage, *arguments)
        except TryonError as error:
            self.errors.append(type(error).__name__)
            return None
        return bundle

    def summary(self) -> dict[str, Any]:
        """Return the medians, and the shares of the functions, as JSON values."""
        return {
            "runs": len(self.wall_ms),
            "errors": self.errors,
            "wall_ms_p50": _median(self.wall_ms),
            "cpu_ms_p50": _median(self.cpu_ms),
            "functions": functions(self.profiler) if self.wall_ms else [],
        }


def profile(person_files: Sequence[bytes], garment_files: Sequence[bytes], models: Models) -> dict[str, Any]:
    """Return stage -> its times and its most expensive functions, for every person in every garment.

    Each photograph's own stages run once. The first pair runs once more beforehand, unmeasured: imports and
    models are loaded then.
    """
    warm_up = {row.name: StageTimes() for row in table.STAGES}
    _run_pairs(person_files[:1], garment_files[:1], models, warm_up)
    times = {row.name: StageTimes() for row in table.STAGES}
    _run_pairs(person_files, garment_files, models, times)
    return {name: stage.summary() for name, stage in times.items()}


def functions(profiler: cProfile.Profile, count: int = FUNCTIONS) -> list[dict[str, Any]]:
    """Return the functions that take most of the profiled time by themselves, the first ones first.

    Each is a dict of `function`, `calls`, `own` (its share of the time without what it calls), `inclusive`
    (with it), and `callers` (the two in which it takes most time). The profiler slows down code of
    many short Python functions.
    """
    statistics_of = pstats.Stats(profiler)
    entries: Mapping[Any, Any] = statistics_of.stats  # type: ignore[attr-defined] # missing in the stubs
    total = max(statistics_of.total_tt, 1e-9)  # type: ignore[attr-defined] # missing in the stubs
    ranked = sorted(entries.items(), key=lambda entry: -float(entry[1][2]))[:count]
    return [
        {
            "function": _name(key),
            "calls": calls,
            "own": round(own / total, 3),
            "inclusive": round(inclusive / total, 3),
            "callers": _main_callers(callers),
        }
        for key, (_, calls, own, inclusive, callers) in ranked
    ]


def _run_pairs(
    person_files: Sequence[bytes],
    garment_files: Sequence[bytes],
    models: Models,
    times: dict[str, StageTimes],
) -> None:
    """Run all stages of every pair; a stage that reads one photograph runs once for it."""
    done: dict[tuple[str, bytes, bytes], Bundle | None] = {}
    for person, cloth in product(person_files, garment_files):
        sources = {"person": person, "cloth": cloth}
        bundles: dict[str, Bundle] = {}
        for row, key in _keyed(person, cloth):
            if key not in done:
                done[key] = times[row.name].run(_once, row, sources, bundles, models)
            bundle = done[key]
            if bundle is None:
                break
            bundles[row.name] = bundle


def _keyed(person: bytes, cloth: bytes) -> Iterator[tuple[table.Stage, tuple[str, bytes, bytes]]]:
    """Yield each stage with what its output depends on."""
    for row in table.STAGES:
        reads_cloth = "cloth" in row.sources or "cloth" in row.needs
        reads_person = "person" in row.sources or "pose" in row.needs
        yield row, (row.name, person if reads_person else b"", cloth if reads_cloth else b"")


def _once(
    row: table.Stage, sources: Mapping[str, bytes], bundles: Mapping[str, Bundle], models: Models
) -> Bundle:
    return run_stage(row, sources, bundles, OPTIONS, models, names={"person": "person", "cloth": "garment"})


def _main_callers(callers: Mapping[Any, Any]) -> list[str]:
    """Return the two callers in which the function takes most time."""
    ranked = sorted(callers.items(), key=lambda entry: -float(entry[1][2]))
    return [_name(key) for key, _ in ranked[:2]]


def _name(key: tuple[str, int, str]) -> str:
    """Return the file and name of a function; of a compiled one its name alone."""
    file, _, name = key
    if file == "~":
        return name
    path = Path(file)
    shown = path.relative_to(_PROJECT) if path.is_relative_to(_PROJECT) else Path(*path.parts[-2:])
    return f"{shown}:{name}"


def _median(values: Sequence[float]) -> float | None:
    return round(statistics.median(values), 1) if values else None
