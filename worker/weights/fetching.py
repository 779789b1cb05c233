"""Installs model files into the models folder: downloaded from their sources, or imported from a path."""

import importlib
import shutil
import tempfile
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

from config.errors import WeightsMissingError
from worker.weights import licences
from worker.weights.entries import Weight, catalogue, entry, join_names, select
from worker.weights.folder import Trust, digest_of, distrust, install, state
from worker.weights.sources import FETCHERS, SILENT, Listener, unpack

PARTIAL = ".partial"
"""Folder within the models folder for partial downloads: the last step is a rename in one file system."""


def fetch(
    names: Iterable[str],
    models_dir: Path,
    listener: Listener = SILENT,
    *,
    accept: licences.Accept = licences.refuse,
    trust: Trust = distrust,
    replace: bool = False,
) -> None:
    """Install the model files of these names and groups; without names, the required files.

    Valid files are skipped, so that a second call needs no network. Each file is checked and then renamed to
    its final name in one step: a model file in the models folder is always complete.

    Args:
        names: model files and groups.
        models_dir: the models folder.
        listener: receives messages and progress.
        accept: called for each licence that must be accepted first; see `licences.require`.
        trust: called for each file without a published hash; see `folder.install`.
        replace: whether to install valid files again.

    Raises WeightsMissingError when a licence is not accepted, a file is not trusted, a source does not
    deliver a file, or the delivered file is not the expected one.
    """
    needed: dict[str, list[Weight]] = {}
    for weight in select(names):
        if not replace and state(weight, models_dir) == "present":
            listener.message(f"{weight.name}: already present")
        else:
            needed.setdefault(weight.source.name, []).append(weight)
    licences.require((weight for weights in needed.values() for weight in weights), models_dir, accept)
    for source_name, weights in needed.items():
        partial = models_dir / PARTIAL / source_name
        partial.mkdir(parents=True, exist_ok=True)
        source = weights[0].source
        try:
            with closing(FETCHERS[source.kind](source, weights, partial, listener)) as arrivals:
                for weight, file in arrivals:
                    _check_and_install(weight, file, models_dir, listener, trust)
        finally:
            _remove_if_empty(partial)
            _remove_if_empty(partial.parent)


def add(
    file: Path,
    models_dir: Path,
    listener: Listener = SILENT,
    *,
    name: str | None = None,
    accept: licences.Accept = licences.refuse,
    trust: Trust = distrust,
) -> None:
    """Copy a file of the user into the models folder.

    Args:
        file: a model file, or the archive in which its source publishes it.
        models_dir: the models folder.
        listener: receives messages.
        name: which model file it is. Without it, the file is identified by its sha256, else by its file name.
        accept: called if its licence must be accepted first; see `licences.require`.
        trust: called if it has no published hash; see `folder.install`.

    Raises WeightsMissingError when the file is not in the catalogue, is not the named one, its licence is not
    accepted, or it is not trusted.
    """
    if not file.is_file():
        raise WeightsMissingError(f"There is no file {file}.", input=str(file))
    weight = entry(name) if name else _identify(file)
    licences.require([weight], models_dir, accept)
    models_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=models_dir, prefix=".add-") as folder:
        copy = Path(folder) / file.name
        shutil.copyfile(file, copy)
        may_be_archive = weight.sha256 is None or digest_of(copy) != weight.sha256
        if may_be_archive and weight.source.kind == "github":
            copy = unpack(weight, copy, Path(folder))
        _check_and_install(weight, copy, models_dir, listener, trust)


def _identify(file: Path) -> Weight:
    digest = digest_of(file)
    for weight in catalogue().values():
        if weight.sha256 == digest:
            return weight
    for weight in catalogue().values():
        asset_name = str(weight.source.details.get("url", "")).rpartition("/")[2]
        if file.name in (weight.file, asset_name):
            return weight
    without_hash = join_names(weight for weight in catalogue().values() if weight.sha256 is None)
    raise WeightsMissingError(
        f"{file} is not a known model file: its sha256 {digest} is not in the catalogue. If it is a file "
        f"without a published hash, name it: `tryon weights add {file} --name NAME`, where NAME is one of "
        f"{without_hash}.",
        input=str(file),
    )


def _check_and_install(
    weight: Weight, file: Path, models_dir: Path, listener: Listener, trust: Trust
) -> None:
    """Check the file and move it into the models folder; an invalid file is deleted, not resumed."""
    try:
        if weight.check:
            _check_content(weight, file, listener)
        install(weight, file, models_dir, listener.message, trust)
    except WeightsMissingError:
        file.unlink(missing_ok=True)
        raise
    listener.message(f"{weight.name}: {models_dir / weight.file}")


def _check_content(weight: Weight, file: Path, listener: Listener) -> None:
    """Check a file without a published hash by the code that loads it."""
    module, _, function = weight.check.partition(":")
    try:
        check: Callable[[Path], None] = getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("worker", "config"):
            raise
        listener.message(
            f"{weight.name}: {error.name} is not installed here, so the content of the file is checked only "
            "when it is loaded."
        )
        return
    check(file)


def _remove_if_empty(folder: Path) -> None:
    if not any(folder.iterdir()):
        folder.rmdir()
