"""Stub stage functions: they take no time and need no models, so that a test covers the queue only.

The text of a job's person object controls its stage pose (and that of the cloth object, cloth):
``raise NoPersonError`` fails, ``raise OutOfMemoryError N`` fails the first N attempts, ``hold NAME`` runs
until the test releases it, anything else succeeds.
"""

import builtins
import hashlib
import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from config.errors import ERRORS
from config.settings import settings
from tests.support.waiting import wait_for
from worker.contract import Method, StageInput
from worker.stages import table


def pose(inputs: StageInput):
    _obey(inputs.sources["person"])
    return mark("pose", inputs.sources["person"])


def cloth(inputs: StageInput):
    _obey(inputs.sources["cloth"])
    return mark("cloth", inputs.sources["cloth"])


def parse(inputs: StageInput):
    return mark("parse", inputs.sources["person"])


def generate(inputs: StageInput):
    _count("generate", inputs.sources["person"])
    digests = [inputs.artifacts[need]["digest.json"] for need in ("pose", "cloth", "parse")]
    return {"result.png": _picture(digests)}


def generate_batch(batch):
    with _log("batches").open("a") as log:
        log.write(f"{len(batch)}\n")
    return [generate(inputs) for inputs in batch]


def expected_result(person: bytes, cloth_: bytes) -> np.ndarray:
    """Return the correct result of a job with these two objects."""
    return _picture([hashlib.sha256(data).hexdigest() for data in (person, cloth_, person)])


def runs(stage: str) -> list[str]:
    """Return the digests of the objects with which the stage's function was called, one for each call."""
    log = _log(stage)
    return log.read_text().split() if log.exists() else []


def batches() -> list[int]:
    """Return the size of each batch that was computed."""
    return [int(size) for size in runs("batches")]


def await_hold(name: str) -> None:
    """Return once a stage runs that ``hold NAME`` blocks."""
    wait_for(_log("holding-" + name).exists, f"a stage to hold {name}")


def release(name: str) -> None:
    """Let the stages finish that ``hold NAME`` blocks."""
    _released(name).touch()


def _released(name: str) -> Path:
    """Return the file that releases a stage: the next test must not delete it before the stage sees it."""
    return settings().data_dir / f"release-{name}"


def install() -> None:
    """Put the stubs into the table of stages."""
    table.STAGES = tuple(
        replace(row, methods=tuple(Stub(row.name, real) for real in row.methods)) for row in table.STAGES
    )


class Stub(Method):
    """Replaces a real method under its name, without its models."""

    def __init__(self, stage: str, real: Method) -> None:
        self.name, self.batches = real.name, real.batches
        self._real, self._stage = real, stage

    def available(self):
        return self._real.available()

    def load(self, host):
        return globals()[self._stage]

    def run(self, model, inputs):
        return model(inputs)

    def run_batch(self, model, batch):
        return generate_batch(batch)


def mark(stage: str, data: bytes):
    """Return the bundle of a stage for this object, and count the call."""
    _count(stage, data)
    return {"digest.json": hashlib.sha256(data).hexdigest(), "details.json": {"made_by": stage}}


def _picture(digests: list[str]) -> np.ndarray:
    """Return a small picture that depends on every digest."""
    return np.frombuffer(hashlib.sha512("/".join(digests).encode()).digest(), np.uint8).reshape(8, 8).copy()


def _count(stage: str, data: bytes) -> None:
    with _log(stage).open("a") as log:
        log.write(hashlib.sha256(data).hexdigest() + "\n")


def _log(stage: str) -> Path:
    return settings().data_dir / f"runs-{stage}"


def _obey(data: bytes) -> None:
    """Do what the text of the object says."""
    words = data.decode(errors="replace").split()
    if words[:1] == ["hold"]:
        _log("holding-" + words[1]).touch()
        wait_for(_released(words[1]).exists, f"the test to release {words[1]}")
    if words[:1] != ["raise"]:
        return
    failures = int(words[2]) if len(words) > 2 else math.inf
    attempts = _log("attempts-" + hashlib.sha256(data).hexdigest())
    with attempts.open("a") as log:
        log.write("x")
    if len(attempts.read_text()) <= failures:
        raise (ERRORS.get(words[1]) or getattr(builtins, words[1]))("as the test requested")
