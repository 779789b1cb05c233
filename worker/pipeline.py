"""The table of stages: what each one runs on, what it reads, what it waits for, which function does it.

    person ─► pose  (cpu) ─┐
                           ├─► parse (gpu) ─► generate (gpu) ─► result
    garment ► cloth (cpu) ─┘

`parse` waits for `cloth` although it does not read it: a bad garment fails its job before a graphics card
has done anything for it.
"""

import hashlib
import importlib
import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from config import queues
from config.settings import ConfigurationError, settings
from db.jobs import StageSpec
from worker import weights
from worker.errors import TryonError
from worker.parsing.files import digest
from worker.viton_hd import files as viton_hd

Bundle = Mapping[str, Any]
StageFunction = Callable[["StageInput"], Bundle]
BatchFunction = Callable[[Sequence["StageInput"]], Sequence[Bundle | TryonError]]
"""Does for several jobs what the stage's function does for one; an input at fault gives its error alone."""


@dataclass(frozen=True)
class Variant:
    """What a stage needs besides where one of its options or settings has a certain value.

    Attributes:
        choice: the option or setting.
        models, weights: as in the stage's row.
        package: an import that is not there on every machine that runs the stage.
        batch: where a function is that does the stage for several jobs at once, as "module:name".
    """

    choice: str
    value: str
    models: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    package: str = ""
    batch: str = ""


@dataclass(frozen=True)
class Stage:
    """One row of the table.

    Attributes:
        sources: the photographs it reads, of `person` and `cloth`.
        needs: the stages whose artifacts it reads.
        after: stages that must have succeeded first although it does not read them.
        options: the job options that change what it makes.
        settings: the settings that change what it makes.
        models: what it loads once per process, attributes of `worker.models.Models`.
        weights: the model files it uses, names in the weights catalogue.
        variants: what it needs besides where an option or setting has a certain value.
        function: where its function is, as "module:name"; loaded when a worker first needs it.
        version: raised when its function makes something else of the same inputs.
    """

    name: str
    queue: str
    function: str
    version: int
    sources: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    variants: tuple[Variant, ...] = ()


@dataclass(frozen=True)
class StageInput:
    """What a stage function gets.

    Attributes:
        sources: `person`, `cloth` -> the image file's bytes.
        names: `person`, `cloth` -> how to call that input in an error: its object key or path.
        artifacts: stage name -> the bundle that stage made.
        options: the job options and settings that the stage's row names, from `selected`.
        models: the process's loaded models, `worker.models.Models`.
    """

    sources: Mapping[str, bytes]
    names: Mapping[str, str]
    artifacts: Mapping[str, Bundle]
    options: Mapping[str, Any]
    models: Any


@dataclass(frozen=True)
class Batching:
    """How a stage is done for several jobs at once.

    Attributes:
        function: does it.
        options: job option -> the values with which other jobs can take part.
    """

    function: BatchFunction
    options: Mapping[str, Sequence[str]]


STAGES = (
    Stage(
        name="pose",
        queue=queues.CPU,
        function="worker.stages:pose",
        version=4,
        sources=("person",),
        models=("pose_estimator",),
        weights=("pose_detection", "pose_landmark", "selfie_segmentation", "palm_detection", "hand_landmark"),
    ),
    Stage(
        name="cloth",
        queue=queues.CPU,
        function="worker.stages:cloth",
        version=4,
        sources=("cloth",),
        options=("category",),
        settings=("cloth_mask",),
        variants=(
            Variant(
                "cloth_mask",
                "unet",
                models=("cloth_segmenter",),
                weights=("cloth-unet",),
                package="segmentation_models_pytorch",
            ),
        ),
    ),
    Stage(
        name="parse",
        queue=queues.GPU,
        function="worker.stages:parse",
        version=6,
        sources=("person",),
        needs=("pose",),
        after=("cloth",),
        settings=("parser", "parser_weights"),
        variants=(
            Variant(
                "parser",
                "trained",
                models=("parser",),
                weights=("parser", "parser-layout"),
                package="ultralytics",
            ),
        ),
    ),
    Stage(
        name="generate",
        queue=queues.GPU,
        function="worker.stages:generate",
        version=8,
        sources=("person",),
        needs=("pose", "cloth", "parse"),
        options=("engine", "category", "seed"),
        settings=("viton_hd_weights",),
        variants=(
            Variant(
                "engine",
                "viton_hd",
                models=("cascade",),
                package="torch",
                batch="worker.stages:generate_batch",
            ),
        ),
    ),
)
"""In the order in which a job goes through them; the last one's artifact holds the result."""

_BY_NAME = {stage.name: stage for stage in STAGES}


def stage(name: str) -> Stage:
    """Return the stage of this name."""
    return _BY_NAME[name]


def specs() -> tuple[StageSpec, ...]:
    """Return the stages as the database plans them."""
    return tuple(StageSpec(row.name, row.queue, (*row.needs, *row.after)) for row in STAGES)


def of_queues(names: tuple[str, ...]) -> tuple[Stage, ...]:
    """Return the stages that these queues carry."""
    return tuple(row for row in STAGES if row.queue in names)


def function(row: Stage) -> StageFunction:
    """Import and return the stage's function."""
    found: StageFunction = _imported(row.function)
    return found


def batching(row: Stage, options: Mapping[str, Any]) -> Batching | None:
    """Return how the stage is done for several jobs at once with these options, from `selected`, if it is."""
    for variant in _variants(row, options):
        if variant.batch:
            values = [
                value
                for value in ("auto", variant.value)
                if variant in _variants(row, _settled({variant.choice: value} | _set(row)))
            ]
            return Batching(_imported(variant.batch), {variant.choice: values})
    return None


def selected(row: Stage, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the job options and settings that the stage reads, `auto` settled to what will run."""
    return _settled({name: options[name] for name in row.options} | _set(row))


def models(row: Stage) -> tuple[str, ...]:
    """Return what the stage loads once per process with the present settings."""
    # What a job without wishes of its own runs.
    usual = _settled(({"engine": "auto"} if "engine" in row.options else {}) | _set(row))
    return (*row.models, *(name for variant in _variants(row, usual) for name in variant.models))


def check(row: Stage) -> None:
    """Raise unless what the stage loads with the present settings is there.

    Raises WeightsMissingError for a model file, and ConfigurationError for a package.
    """
    chosen = _set(row)
    for variant in _variants(row, chosen):
        if variant.package and importlib.util.find_spec(variant.package) is None:
            raise ConfigurationError(
                f"TRYON_{variant.choice.upper()}={variant.value} needs the package {variant.package} and "
                "PyTorch, which are not installed here: install the extra `worker` "
                "(requirements-gpu.lock), or leave the setting out."
            )
    for name in _weights(row, chosen):
        weights.path(name, settings().models_dir)


def artifact_key(
    row: Stage, sources: Mapping[str, bytes], artifacts: Mapping[str, str], options: Mapping[str, Any]
) -> str:
    """Return where the stage's artifact lies: a hash of everything that determines it.

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
        "weights": {name: weights.sha256(name, settings().models_dir) for name in _weights(row, options)},
    }
    digest = hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()
    return f"artifacts/{row.name}/{digest}"


def _imported(place: str) -> Any:
    """Return what is at "module:name"."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def _set(row: Stage) -> dict[str, Any]:
    """Return the settings that the stage reads, `auto` settled to what will run, files to their hashes."""
    chosen = {name: getattr(settings(), name) for name in row.settings}
    if chosen.get("cloth_mask") == "auto":
        chosen["cloth_mask"] = "classical"
    if own := chosen.get("parser_weights"):
        # Two files of one path are two parsers.
        chosen["parser_weights"] = digest(own)
    return chosen


def _settled(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with the engine settled to the one that runs, and the hashes of its weights."""
    settled = dict(chosen)
    if "engine" not in settled:
        return settled
    own, models_dir = settled.pop("viton_hd_weights"), settings().models_dir
    if settled["engine"] == "auto":
        settled["engine"] = "viton_hd" if viton_hd.available(models_dir, own) else "geometric"
    if settled["engine"] == "viton_hd":
        settled["viton_hd"] = dict(viton_hd.digests(models_dir, own))
    return settled


def _variants(row: Stage, chosen: Mapping[str, Any]) -> list[Variant]:
    return [variant for variant in row.variants if chosen.get(variant.choice) == variant.value]


def _weights(row: Stage, chosen: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the model files that the stage uses with these options and settings."""
    return (*row.weights, *(name for variant in _variants(row, chosen) for name in variant.weights))
