"""The models folder: which model files are present and valid, and how one is installed."""

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from config.errors import WeightsMissingError
from worker.weights.entries import Weight, catalogue, entry

State = Literal["present", "missing", "damaged"]

Trust = Callable[[Weight, str, int], bool]
"""Called with a model file without a published hash, its sha256 and its size; returns if it is trusted."""


@dataclass(frozen=True)
class WeightStatus:
    """The state of one model file in the models folder.

    Attributes:
        name, purpose, licence, required, group: as in the catalogue.
        state: `present` if it is the right file, `damaged` if its size or hash differs, or `missing`.
        path: its path.
        bytes: its size; None if it is neither in the catalogue nor in the folder.
    """

    name: str
    purpose: str
    state: State
    path: str
    bytes: int | None
    licence: str
    required: bool
    group: str

    @property
    def sound(self) -> bool:
        """Whether the state needs no repair: the file is present, or it is missing and optional."""
        return self.state == "present" or (self.state == "missing" and not self.required)

    def record(self) -> dict[str, Any]:
        """Return the status as JSON values."""
        return asdict(self)


def path(name: str, models_dir: Path) -> Path:
    """Return the path of a model file whose hash is right (computed once per process and file version).

    Raises WeightsMissingError, with the command that repairs it, when the file is missing or not the right
    one.
    """
    weight = entry(name)
    file_state = state(weight, models_dir)
    target = models_dir / weight.file
    if file_state == "missing":
        raise WeightsMissingError(
            f"The model file {target} ({weight.purpose}) is missing. "
            f"Download it with `tryon weights fetch {name}`.",
            input=name,
        )
    if file_state == "damaged":
        raise WeightsMissingError(
            f"The model file {target} is not the expected one (its size or sha256 differs). "
            f"Replace it with `tryon weights fetch {name}`.",
            input=name,
        )
    return target


def sha256(name: str, models_dir: Path) -> str:
    """Return the hash that the model file must have: the catalogue's, else that of the first installed file.

    Raises WeightsMissingError if the catalogue has none and no file was installed yet.
    """
    weight = entry(name)
    expected = weight.sha256 or _recorded_digest(weight, models_dir)
    if expected is None:
        raise WeightsMissingError(
            f"The model file {name} ({weight.purpose}) was never installed. "
            f"Download it with `tryon weights fetch {name}`.",
            input=name,
        )
    return expected


def status(models_dir: Path, names: Iterable[str] | None = None) -> list[WeightStatus]:
    """Return the state of the model files of these names; without names, of the whole catalogue."""
    selected = catalogue().values() if names is None else map(entry, names)
    return [_status(weight, models_dir) for weight in selected]


def state(weight: Weight, models_dir: Path) -> State:
    """Return whether the model file is present and the right one."""
    file = models_dir / weight.file
    try:
        stat = file.stat()
    except FileNotFoundError:
        return "missing"
    if weight.bytes is not None and stat.st_size != weight.bytes:
        return "damaged"
    expected = weight.sha256 or _recorded_digest(weight, models_dir)
    return "present" if digest_of(file) == expected else "damaged"


def distrust(_weight: Weight, _digest: str, _size: int) -> bool:
    """Trust no file."""
    return False


def install(
    weight: Weight, file: Path, models_dir: Path, report: Callable[[str], None], trust: Trust = distrust
) -> None:
    """Rename a file to its final name in the models folder, if it is the right one.

    Args:
        weight: the model file that it should be.
        file: the file, on the file system of the models folder.
        models_dir: the models folder.
        report: receives a message if the hash is recorded.
        trust: called if the catalogue has no hash and the file is not the one of an earlier installation.

    Raises WeightsMissingError when its size or hash is not that of the catalogue, or it is not trusted.
    """
    size = file.stat().st_size
    digest = digest_of(file)
    if weight.sha256 is None:
        recorded = _recorded_digest(weight, models_dir)
        if recorded != digest:
            if not trust(weight, digest, size):
                raise _not_trusted(weight, digest, size, recorded)
            _record_digest(weight, digest, models_dir)
            report(
                f"{weight.name}: trusted on first use, because its hash is not published. Recorded: sha256 "
                f"{digest}, {size} bytes. No other file will be loaded under this name."
            )
    elif (size, digest) != (weight.bytes, weight.sha256):
        raise WeightsMissingError(
            f"{weight.source.name} delivered another file than expected for {weight.name}: {size} bytes, "
            f"sha256 {digest}, not {weight.bytes} bytes, sha256 {weight.sha256}. No model file was changed.",
            input=weight.name,
        )
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
    os.replace(file, models_dir / weight.file)


def _not_trusted(weight: Weight, digest: str, size: int, recorded: str | None) -> WeightsMissingError:
    earlier = f" An earlier installation had the sha256 {recorded}." if recorded else ""
    return WeightsMissingError(
        f"{weight.name} has no published hash, so nothing proves that this is the authors' file: {size} "
        f"bytes, sha256 {digest}.{earlier} Compare it with another source, then trust it with the flag "
        "--trust. No model file was changed.",
        input=weight.name,
    )


def digest_of(file: Path) -> str:
    """Return the file's sha256 in hexadecimal digits; it is computed again only when the file was changed."""
    stat = file.stat()
    return _sha256(file, stat.st_mtime_ns, stat.st_size)


def _status(weight: Weight, models_dir: Path) -> WeightStatus:
    file = models_dir / weight.file
    file_state = state(weight, models_dir)
    size = weight.bytes if weight.bytes is not None or file_state == "missing" else file.stat().st_size
    return WeightStatus(
        name=weight.name,
        purpose=weight.purpose,
        state=file_state,
        path=str(file),
        bytes=size,
        licence=weight.licence.name,
        required=weight.required,
        group=weight.group,
    )


def _digest_file(weight: Weight, models_dir: Path) -> Path:
    return models_dir / f"{weight.file}.sha256"


def _recorded_digest(weight: Weight, models_dir: Path) -> str | None:
    """Return the hash that is recorded next to the file, in the format of `sha256sum --check`."""
    try:
        words = _digest_file(weight, models_dir).read_text().split()
    except FileNotFoundError:
        return None
    return words[0] if words else None


def _record_digest(weight: Weight, digest: str, models_dir: Path) -> None:
    digest_file = _digest_file(weight, models_dir)
    temporary = digest_file.with_name(f".{digest_file.name}")
    temporary.write_text(f"{digest}  {weight.file}\n")
    os.replace(temporary, digest_file)


@lru_cache(maxsize=256)
def _sha256(file: Path, _mtime_ns: int, _size: int) -> str:
    # Time and size are part of the cache key: a changed file is read again.
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
