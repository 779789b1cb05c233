"""The models folder: which files lie in it, whether each is the right one, and how one is put there."""

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


@dataclass(frozen=True)
class WeightStatus:
    """Whether a model file is in place.

    Attributes:
        bytes: its size; None where neither the catalogue nor the folder tells.
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
        """Whether it may stay so: it is the right file, or it is missing and nothing needs it."""
        return self.state == "present" or (self.state == "missing" and not self.required)

    def record(self) -> dict[str, Any]:
        """Return the status as JSON values."""
        return asdict(self)


def path(name: str, models_dir: Path) -> Path:
    """Return the model file's path, its hash checked (once per process while the file is untouched).

    Raises WeightsMissingError with the command that mends it when the file is absent or not the right one.
    """
    weight = entry(name)
    file_state = state(weight, models_dir)
    target = models_dir / weight.file
    if file_state == "missing":
        raise WeightsMissingError(
            f"The model file {target} ({weight.purpose}) is not there. "
            f"Get it with `tryon weights fetch {name}`.",
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
    """Return the hash that the model file must have: the catalogue's, else that of the first one taken in.

    Raises WeightsMissingError where the catalogue has none and no file was taken in yet.
    """
    weight = entry(name)
    expected = weight.sha256 or _recorded(weight, models_dir)
    if expected is None:
        raise WeightsMissingError(
            f"No file was taken in as {name} ({weight.purpose}) yet. "
            f"Get it with `tryon weights fetch {name}`.",
            input=name,
        )
    return expected


def status(models_dir: Path, names: Iterable[str] | None = None) -> list[WeightStatus]:
    """Return the state of the model files of these names; of every one in the catalogue without names."""
    wanted = catalogue().values() if names is None else map(entry, names)
    return [_status(weight, models_dir) for weight in wanted]


def state(weight: Weight, models_dir: Path) -> State:
    """Return whether the model file is in place and the right one."""
    file = models_dir / weight.file
    try:
        stat = file.stat()
    except FileNotFoundError:
        return "missing"
    if weight.bytes is not None and stat.st_size != weight.bytes:
        return "damaged"
    expected = weight.sha256 or _recorded(weight, models_dir)
    return "present" if _sha256(file, stat.st_mtime_ns, stat.st_size) == expected else "damaged"


def place(weight: Weight, file: Path, models_dir: Path, say: Callable[[str], None]) -> None:
    """Move a file that lies on the same file system into place in one step, if it is the right one.

    Raises WeightsMissingError when its size or hash is not the catalogue's.
    """
    size = file.stat().st_size
    digest = digest_of(file)
    if weight.sha256 is None:
        _record(weight, digest, models_dir)
        say(
            f"{weight.name}: trusted on first use, since its hash is not known beforehand. Recorded: sha256 "
            f"{digest}, {size} bytes. No other file is loaded under this name from now on."
        )
    elif (size, digest) != (weight.bytes, weight.sha256):
        raise WeightsMissingError(
            f"{weight.source.name} gave another file than expected for {weight.name}: {size} bytes, sha256 "
            f"{digest}, not {weight.bytes} bytes, sha256 {weight.sha256}. Nothing was put in place.",
            input=weight.name,
        )
    with file.open("rb") as written:
        os.fsync(written.fileno())
    os.replace(file, models_dir / weight.file)


def digest_of(file: Path) -> str:
    """Return the file's sha256, in hexadecimal digits; read again only when the file was touched."""
    stat = file.stat()
    return _sha256(file, stat.st_mtime_ns, stat.st_size)


def _status(weight: Weight, models_dir: Path) -> WeightStatus:
    file = models_dir / weight.file
    found = state(weight, models_dir)
    size = weight.bytes if weight.bytes is not None or found == "missing" else file.stat().st_size
    return WeightStatus(
        name=weight.name,
        purpose=weight.purpose,
        state=found,
        path=str(file),
        bytes=size,
        licence=weight.licence.name,
        required=weight.required,
        group=weight.group,
    )


def _record_file(weight: Weight, models_dir: Path) -> Path:
    return models_dir / f"{weight.file}.sha256"


def _recorded(weight: Weight, models_dir: Path) -> str | None:
    """Return the hash that was recorded beside the file, as `sha256sum --check` reads it."""
    try:
        words = _record_file(weight, models_dir).read_text().split()
    except FileNotFoundError:
        return None
    return words[0] if words else None


def _record(weight: Weight, digest: str, models_dir: Path) -> None:
    record = _record_file(weight, models_dir)
    written = record.with_name(f".{record.name}")
    written.write_text(f"{digest}  {weight.file}\n")
    os.replace(written, record)


@lru_cache(maxsize=256)
def _sha256(file: Path, mtime_ns: int, size: int) -> str:
    # The time and size are part of the cache's key: a file that was changed is read again.
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
