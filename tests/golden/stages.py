"""What each stage makes of fixed inputs, as small pictures and rounded numbers.

Every stage reads fixed inputs, never what another stage makes now: a change of one stage shows at this
stage alone. The outputs are compared with a tolerance, because processors round differently.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tests.golden.common import HERE
from worker.artifacts.bundle import encode_jpeg, encode_png
from worker.contract import Bundle, Method, StageInput
from worker.images.arrays import Image
from worker.lab.demo import garments, people
from worker.parsing.palette import colourise
from worker.stages import table
from worker.stages.models import Models

INPUTS = HERE / "inputs"
OUTPUTS = HERE / "outputs"
DIGESTS = HERE / "digests.json"
"""Stage -> version -> method -> member of the bundle -> its JSON value, rounded, or the name of its small
picture in OUTPUTS."""

METHODS = (
    ("pose", "mediapipe"),
    ("cloth", "network"),
    ("parse", "trained"),
    ("parse", "landmark"),
    ("generate", "geometric"),
)
"""The methods that need no optional download. `tests/unit/test_viton_hd*.py` compare the engine `viton_hd`
with stored vectors."""

GARMENT = "striped_tee"
OPTIONS = {"engine": "geometric", "category": "upper_body", "seed": 0, "minimum_score": 0.0}
NAMES = {"person": "astronaut.png", "cloth": "garment.jpg"}

SHRINK = 8
"""By how much pictures are shrunk, along each side."""

RAISE_VERSION = (
    "the output of the stage {stage} changed: raise the version of stage {stage} in worker/stages/table.py, "
    "or restore its output; then run `make golden`"
)
"""What to do about a changed stage: artifacts of the same version are reused from the store."""


@dataclass(frozen=True)
class Tolerance:
    """By how much an output may differ from the stored one: processors round differently.

    Attributes:
        mean: mean absolute difference of two small pictures, of 255.
        pixel: largest difference of a pixel of two small pictures, of 255.
        number: difference of two coordinates, pixels.
        share: difference of two shares or confidences, which are from 0 to 1.
    """

    mean: float
    pixel: float
    number: float
    share: float


TOLERANCE = Tolerance(mean=0.2, pixel=24, number=0.3, share=0.02)
"""Measured: 0 with every instruction set of OpenCV, oneDNN and PyTorch that could be switched off. A shift by
one pixel of the canvas gives a mean of 0.3 to 5 and a pixel of 27 to 32."""

POSE_TOLERANCE = Tolerance(mean=0.45, pixel=128, number=2.0, share=0.05)
"""MediaPipe prepares its crops by OpenCV, whose code without AVX2 rounds differently: measured 1.5 pixels of
a joint, a mean of 0.26 and a pixel of 94, at the soft edge of the mask. A shift by three pixels of the canvas
gives a mean of 0.67 to 2."""

JPEG_MEMBER = ("cloth", "cloth.png")
"""The one input that is stored as JPEG: it is the photograph that the stage `cloth` reads, too."""


@dataclass(frozen=True)
class Change:
    """A member of a stage's output that differs from the stored one."""

    stage: str
    method: str
    member: str
    what: str

    def __str__(self) -> str:
        return f"{self.stage} by {self.method}, {self.member}: {self.what}"


def outputs(stage: str, method: str, models: Models) -> Bundle:
    """Return what the method makes of the fixed inputs now."""
    row = table.stage(stage)
    chosen = _method(row, method)
    sources = {"person": people.astronaut(), "cloth": garment_file()}
    inputs = StageInput(
        sources={name: sources[name] for name in row.sources},
        names=NAMES,
        artifacts={need: read_input(need) for need in row.needs},
        options={name: OPTIONS[name] for name in (*row.options, *chosen.options)},
    )
    return chosen.run(models.of(chosen), inputs)


def version(stage: str) -> str:
    """Return the stage's version in the table, as a key of the digests."""
    return str(table.stage(stage).version)


def digest(bundle: Bundle) -> dict[str, Any]:
    """Return member -> small picture (uint8 array) or rounded JSON value."""
    return {
        name: _rounded(value) if name.endswith(".json") else shrink(name, value)
        for name, value in sorted(bundle.items())
    }


def shrink(name: str, picture: Image) -> Image:
    """Return a member, (h, w) or (h, w, 3), shrunk by area. Labels are shown by their colours first."""
    shown = colourise(picture) if name == "parse.png" else picture
    size = (shown.shape[1] // SHRINK, shown.shape[0] // SHRINK)
    return np.asarray(cv2.resize(shown, size, interpolation=cv2.INTER_AREA), np.uint8)


def changes(stage: str, method: str, stored: Mapping[str, Any], now: Mapping[str, Any]) -> list[Change]:
    """Return the members of `now` that differ from the stored digest by more than rounding."""
    tolerance = POSE_TOLERANCE if stage == "pose" else TOLERANCE
    found = []
    for member in sorted({*stored, *now}):
        if member not in stored or member not in now:
            what = "it is new" if member in now else "it is no longer made"
        elif member.endswith(".json"):
            what = "; ".join(_value_changes(stored[member], now[member], "", tolerance))
        else:
            what = _picture_change(stored[member], now[member], tolerance)
        if what:
            found.append(Change(stage, method, member, what))
    return found


def _picture_change(stored: Image, now: Image, tolerance: Tolerance) -> str:
    if stored.shape != now.shape:
        return f"its shape is {now.shape}, not {stored.shape}"
    difference = np.abs(stored.astype(np.float64) - now)
    mean, most = float(difference.mean()), float(difference.max())
    if mean <= tolerance.mean and most <= tolerance.pixel:
        return ""
    return (
        f"the small pictures differ by {mean:.2f} on average (at most {tolerance.mean}) and by {most:.0f} in "
        f"one pixel (at most {tolerance.pixel})"
    )


def _value_changes(stored: Any, now: Any, path: str, tolerance: Tolerance) -> Iterator[str]:
    """Yield a phrase for each value that differs."""
    if isinstance(stored, dict) and isinstance(now, dict) and stored.keys() == now.keys():
        for key in stored:
            yield from _value_changes(stored[key], now[key], f"{path}.{key}" if path else key, tolerance)
    elif isinstance(stored, list) and isinstance(now, list) and len(stored) == len(now):
        for index, (before, after) in enumerate(zip(stored, now, strict=True)):
            yield from _value_changes(before, after, f"{path}[{index}]", tolerance)
    elif isinstance(stored, int | float) and isinstance(now, int | float):
        limit = tolerance.share if max(abs(stored), abs(now)) <= 1 else tolerance.number
        if abs(stored - now) > limit:
            yield f"{path} is {now:g}, was {stored:g}"
    elif stored != now:
        yield f"{path or 'it'} is {now!r}, was {stored!r}"


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(inner) for inner in value]
    return round(value, 3) if isinstance(value, float) else value


def _method(row: table.Stage, name: str) -> Method:
    return {method.name: method for method in row.methods}[name]


# --- files -------------------------------------------------------------------------------------------


def read_digest(stage: str, method: str) -> dict[str, Any]:
    """Return the stored digest of the stage at its present version. Raises KeyError if there is none."""
    entry = read_digests()[stage][version(stage)][method]
    return {
        member: value if member.endswith(".json") else _read_picture(OUTPUTS / value)
        for member, value in entry.items()
    }


def read_digests() -> dict[str, Any]:
    """Return the content of DIGESTS, empty where there is no such file."""
    return json.loads(DIGESTS.read_text()) if DIGESTS.exists() else {}


def write_digests(made: Mapping[tuple[str, str], Mapping[str, Any]]) -> None:
    """Store (stage, method) -> digest as those of the present versions; older versions are dropped."""
    OUTPUTS.mkdir(exist_ok=True)
    document: dict[str, Any] = {}
    for (stage, method), members in made.items():
        entry = document.setdefault(stage, {}).setdefault(version(stage), {}).setdefault(method, {})
        for member, value in members.items():
            if member.endswith(".json"):
                entry[member] = value
            else:
                entry[member] = f"{stage}-{method}-{member.partition('.')[0]}.png"
                (OUTPUTS / entry[member]).write_bytes(encode_png(value))
    DIGESTS.write_text(_json(document))


def garment_file() -> bytes:
    """Return the fixed garment photograph, a JPEG file of 768x1024 pixels."""
    return (INPUTS / "cloth" / "cloth.jpg").read_bytes()


def read_input(stage: str) -> Bundle:
    """Return the fixed bundle of a stage, for the stages that read it."""
    bundle: dict[str, Any] = {}
    for path in sorted((INPUTS / stage).iterdir()):
        value = json.loads(path.read_text()) if path.suffix == ".json" else _read_picture(path)
        bundle[path.name if path.suffix != ".jpg" else f"{path.stem}.png"] = value
    return bundle


def write_inputs(models: Models) -> None:
    """Store what pose, cloth and parse make now as the fixed inputs of the stages that read them."""
    (INPUTS / "cloth").mkdir(parents=True, exist_ok=True)
    (INPUTS / "cloth" / "cloth.jpg").write_bytes(encode_jpeg(garments.draw(GARMENT)))
    for stage, method in (("pose", "mediapipe"), ("cloth", "network"), ("parse", "trained")):
        bundle = outputs(stage, method, models)
        (INPUTS / stage).mkdir(parents=True, exist_ok=True)
        for member, value in bundle.items():
            if member.endswith(".json"):
                (INPUTS / stage / member).write_text(_json(value))
            elif (stage, member) != JPEG_MEMBER:
                (INPUTS / stage / member).write_bytes(encode_png(value))


def _read_picture(path: Path) -> Image:
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if picture is None:
        raise FileNotFoundError(path)
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB) if picture.ndim == 3 else picture, np.uint8)


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True) + "\n"
