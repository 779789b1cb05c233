"""Takes model files in: fetched from their sources, or given as a path."""

import importlib
import shutil
import tempfile
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

from config.errors import WeightsMissingError
from worker.weights import licences
from worker.weights.entries import Licence, Weight, catalogue, chosen, entry, listed
from worker.weights.folder import digest_of, place, state
from worker.weights.sources import FETCHERS, QUIET, Listener, unpack

PARTIAL = ".partial"
"""Folder within the models folder for what is on its way: the last step is a rename in one file system."""


def _nobody(licence: Licence, names: str) -> bool:
    return False


def fetch(
    names: Iterable[str],
    models_dir: Path,
    listener: Listener = QUIET,
    *,
    ask: Callable[[Licence, str], bool] = _nobody,
    anew: bool = False,
) -> None:
    """Put the model files of these names and groups (the required ones if none is named) into the folder.

    Files already right are left alone, so that a second call needs no network. Each file is checked and
    then moved into place in one step: a model file in the folder is always whole.

    Args:
        names: model files and groups.
        models_dir: the models folder.
        listener: told how it goes.
        ask: asked for each licence that must be accepted first; see `licences.settle`.
        anew: whether to replace files that are right, too.

    Raises WeightsMissingError when a licence is not accepted, or a source does not give a file or gives
    another than expected.
    """
    lacking: dict[str, list[Weight]] = {}
    for weight in chosen(names):
        if not anew and state(weight, models_dir) == "present":
            listener.say(f"{weight.name}: already there")
        else:
            lacking.setdefault(weight.source.name, []).append(weight)
    licences.settle((weight for weights in lacking.values() for weight in weights), models_dir, ask)
    for name, weights in lacking.items():
        partial = models_dir / PARTIAL / name
        partial.mkdir(parents=True, exist_ok=True)
        source = weights[0].source
        try:
            with closing(FETCHERS[source.kind](source, weights, partial, listener)) as arrivals:
                for weight, file in arrivals:
                    _take_in(weight, file, models_dir, listener)
        finally:
            _remove_if_empty(partial)
            _remove_if_empty(partial.parent)


def add(
    file: Path,
    models_dir: Path,
    listener: Listener = QUIET,
    *,
    name: str | None = None,
    ask: Callable[[Licence, str], bool] = _nobody,
) -> None:
    """Copy a file that the user has into the models folder.

    Args:
        file: a model file, or the archive that its source packs it in.
        models_dir: the models folder.
        listener: told how it goes.
        name: which model file it is. Without it, it is recognised by its sha256, else by its file name.
        ask: asked for its licence if that must be accepted first; see `licences.settle`.

    Raises WeightsMissingError when the file is not one of the catalogue, is not the named one, or its
    licence is not accepted.
    """
    if not file.is_file():
        raise WeightsMissingError(f"There is no file {file}.", input=str(file))
    weight = entry(name) if name else _recognise(file)
    licences.settle([weight], models_dir, ask)
    models_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=models_dir, prefix=".add-") as folder:
        copy = Path(folder) / file.name
        shutil.copyfile(file, copy)
        member_of = weight.sha256 is None or digest_of(copy) != weight.sha256
        if member_of and weight.source.kind == "github":
            copy = unpack(weight, copy, Path(folder))
        _take_in(weight, copy, models_dir, listener)


def _recognise(file: Path) -> Weight:
    digest = digest_of(file)
    for weight in catalogue().values():
        if weight.sha256 == digest:
            return weight
    for weight in catalogue().values():
        asset = str(weight.source.details.get("url", "")).rpartition("/")[2]
        if file.name in (weight.file, asset):
            return weight
    raise WeightsMissingError(
        f"{file} is none of the model files: its sha256 {digest} is not in the catalogue. If it is one whose "
        f"hash is not known beforehand, say which: `tryon weights add {file} --name NAME`, NAME one of "
        f"{listed(w for w in catalogue().values() if w.sha256 is None)}.",
        input=str(file),
    )


def _take_in(weight: Weight, file: Path, models_dir: Path, listener: Listener) -> None:
    """Check the file and put it in place; one that is not right is removed, not gone on with."""
    try:
        if weight.check:
            _examine(weight, file, listener)
        place(weight, file, models_dir, listener.say)
    except WeightsMissingError:
        file.unlink(missing_ok=True)
        raise
    listener.say(f"{weight.name}: {models_dir / weight.file}")


def _examine(weight: Weight, file: Path, listener: Listener) -> None:
    """Have a file that no hash vouches for looked into by the code that will load it."""
    module, _, function = weight.check.partition(":")
    try:
        check: Callable[[Path], None] = getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("worker", "config"):
            raise
        listener.say(
            f"{weight.name}: {error.name} is not installed here, so what the file holds is checked only when "
            "it is loaded."
        )
        return
    check(file)


def _remove_if_empty(folder: Path) -> None:
    if not any(folder.iterdir()):
        folder.rmdir()
