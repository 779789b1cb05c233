"""The table of stages: queue, inputs, dependencies, methods and version of each.

    person ─► pose  (cpu) ─┐
                           ├─► parse (gpu) ─► generate (gpu) ─► result
    garment ► cloth (cpu) ─┘

`parse` waits for `cloth` although it does not read it: a bad garment fails its job before a GPU has done
anything for it.
"""

import hashlib
import importlib.metadata
import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from config import queues
from config.errors import InputValidationError
from config.settings import ConfigurationError, settings
from worker.contract import Method
from worker.stages import cloth, parse, pose
from worker.stages.engines import ENGINES

AUTO = "auto"
"""The value of an option or setting that leaves the choice of the method to the table."""


OPTION_DEFAULTS: Mapping[str, Any] = {"quality": "balanced", "minimum_score": None}
"""The job options that methods read, and what a job has that does not name one; None: the setting's value."""

CHOOSING_OPTIONS = ("category",)
"""Job options, besides the stage's own, that `auto` looks at: jobs of one batch have the same values."""


@dataclass(frozen=True)
class Stage:
    """One row of the table.

    Attributes:
        name: also names its Celery task, `tasks.<name>`.
        queue: the queue whose workers run it.
        version: raised when a method makes something else of the same inputs.
        methods: what can do it; `auto` takes the first that is available.
        sources: the photographs it reads, of `person` and `cloth`.
        needs: the stages whose artifacts it reads.
        after: stages that must have succeeded first although it does not read them.
        option: the job option that names the method, if one does.
        setting: the setting that names the method, if one does.
        options: the other job options that change its output.
    """

    name: str
    queue: str
    version: int
    methods: tuple[Method, ...]
    sources: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    option: str = ""
    setting: str = ""
    options: tuple[str, ...] = ()


STAGES = (
    Stage("pose", queues.CPU, version=6, methods=pose.METHODS, sources=("person",)),
    Stage(
        "cloth",
        queues.CPU,
        version=8,
        methods=cloth.METHODS,
        sources=("cloth",),
        setting="cloth_mask",
        options=("category",),
    ),
    Stage(
        "parse",
        queues.GPU,
        version=7,
        methods=parse.METHODS,
        sources=("person",),
        needs=("pose",),
        after=("cloth",),
        setting="parser",
    ),
    Stage(
        "generate",
        queues.GPU,
        version=11,
        methods=ENGINES,
        sources=("person",),
        needs=("pose", "cloth", "parse"),
        option="engine",
        options=("category", "seed"),
    ),
)
"""In the order in which a job passes them; the last one's artifact holds the result."""


def stage(name: str) -> Stage:
    """Return the stage of this name. Raises KeyError."""
    return {row.name: row for row in STAGES}[name]


def version() -> int:
    """Return the version of the whole table: it rises with that of any stage, and with each new stage.

    Workers leave stages alone that were planned by a newer table, so that two versions can run at once.
    """
    return sum(row.version for row in STAGES)


def of_queues(names: tuple[str, ...]) -> tuple[Stage, ...]:
    """Return the stages that these queues carry."""
    return tuple(row for row in STAGES if row.queue in names)


def method(row: Stage, options: Mapping[str, Any] | None = None, device: str = "cpu") -> Method:
    """Return the method that does the stage.

    Args:
        row: the stage.
        options: the job's options, or those of `selected`; None for a job with the default options.
        device: the worker's device, such as `cuda:1`.

    Raises InputValidationError when no available method can do a job with these options.
    """
    wanted = AUTO
    if row.setting:
        wanted = getattr(settings(), row.setting)
    elif row.option and options is not None:
        wanted = options[row.option]
    if wanted == AUTO:
        return _first_able(row, options, device)
    return {method.name: method for method in row.methods}[wanted]


def _first_able(row: Stage, options: Mapping[str, Any] | None, device: str) -> Method:
    by_name_only = []
    for candidate in _automatic(row):
        if (options is None or candidate.accepts(options)) and candidate.available():
            if device != "cpu" or not candidate.auto_needs_gpu:
                return candidate
            by_name_only.append(candidate.name)
    asked_for = f" Without a GPU, {row.option}={by_name_only[0]} must be asked for." if by_name_only else ""
    raise InputValidationError(
        f"Nothing that is ready here can do the stage {row.name} of this job"
        f"{_in_words(options)}.{asked_for} `tryon doctor` lists what is ready.",
        input=row.option or row.setting,
    )


def _automatic(row: Stage) -> tuple[Method, ...]:
    """Return the methods that `auto` may choose, the preferred one first. Raises ConfigurationError."""
    chosen = settings().auto_engines
    if not row.option or chosen is None:
        return row.methods
    by_name = {method.name: method for method in row.methods}
    names = chosen.split(",")
    if unknown := [name for name in names if name not in by_name]:
        raise ConfigurationError(
            f"TRYON_AUTO_ENGINES={chosen} names {', '.join(unknown)}; the engines are {', '.join(by_name)}."
        )
    return tuple(by_name[name] for name in names)


def _in_words(options: Mapping[str, Any] | None) -> str:
    shown = [f"{name}={options[name]}" for name in CHOOSING_OPTIONS if options and name in options]
    return f" ({', '.join(shown)})" if shown else ""


def selected(row: Stage, options: Mapping[str, Any], device: str = "cpu") -> dict[str, Any]:
    """Return all that decides the stage's output besides its inputs.

    The job options that it reads, the name of its method under the name of its option or setting, the sha256
    of the method's model files under `weights`, the versions of its libraries under `libraries`, and the
    kind of device under `device`. Raises WeightsMissingError.

    Args:
        row: the stage.
        options: the job's options.
        device: the worker's device, such as `cuda:1`.
    """
    chosen = method(row, options, device)
    read: dict[str, Any] = {name: options[name] for name in row.options}
    # A job that an earlier version accepted lacks newer options.
    for name in chosen.options:
        value = options.get(name, OPTION_DEFAULTS[name])
        read[name] = getattr(settings(), name) if value is None else value
    if choice := row.option or row.setting:
        read[choice] = chosen.name
    return read | {
        "weights": dict(chosen.digests()),
        "libraries": {name: _version(name) for name in chosen.libraries},
        "device": device.partition(":")[0] if chosen.uses_device else "cpu",
    }


@cache
def _version(distribution: str) -> str:
    return importlib.metadata.version(distribution)


def batch_options(row: Stage, options: Mapping[str, Any], device: str = "cpu") -> dict[str, list[str]] | None:
    """Return with which job options other jobs can share this one's batch.

    Args:
        row: the stage.
        options: what `selected` gives for the job.
        device: the worker's device.

    Returns:
        Job option -> the values that give the same method; None when the method has no batches.
    """
    chosen = method(row, options, device)
    if not chosen.batches:
        return None
    read = (*(name for name in CHOOSING_OPTIONS if name in row.options), *chosen.options)
    shared = {name: [str(options[name])] for name in read}
    if row.option:
        left_open = {**options, row.option: AUTO}
        is_usual = method(row, left_open, device) is chosen
        shared[row.option] = [*([AUTO] if is_usual else []), chosen.name]
    return shared


def check(row: Stage) -> None:
    """Raise unless the packages and model files of the stage's usual method are there.

    Raises WeightsMissingError for a model file, ConfigurationError for a package.
    """
    usual = method(row)
    for package in usual.packages:
        if importlib.util.find_spec(package) is None:
            raise ConfigurationError(
                f"The stage {row.name} by {usual.name} (TRYON_{(row.setting or row.option).upper()}="
                f"{usual.name}) needs the package {package}, which is not installed here: install the extra "
                "`worker` (requirements-gpu.lock), or choose another method."
            )
    usual.check()


def artifact_key(
    row: Stage, sources: Mapping[str, bytes], artifacts: Mapping[str, str], options: Mapping[str, Any]
) -> str:
    """Return the key of the stage's artifact: a hash of everything that decides its content.

    Args:
        row: the stage.
        sources: the image files it reads.
        artifacts: the keys of the artifacts it reads.
        options: the job options and settings it reads, from `selected`.
    """
    everything = {
        "stage": row.name,
        "version": row.version,
        "sources": {name: hashlib.sha256(sources[name]).hexdigest() for name in row.sources},
        "artifacts": {name: artifacts[name] for name in row.needs},
        "options": options,
    }
    digest = hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()
    return f"artifacts/{row.name}/{digest}"
