"""Stand-in stage functions: they take no time and need no models, so that a test is about the queue alone.

What a job does is written in its person object: ``raise NoPersonError`` fails in pose, ``raise
StorageError N`` fails the first N attempts, ``hold NAME`` runs until the test releases it, anything else
succeeds.
"""

import builtins
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from config.errors import ERRORS
from config.settings import settings
from tests.support.waiting import wait_for
from worker.contract import Method, StageInput
from worker.stages import table


def pose(given: StageInput):
    _misbehave(given.sources["person"])
    return mark("pose", given.sources["person"])


def cloth(given: StageInput):
    _misbehave(given.sources["cloth"])
    return mark("cloth", given.sources["cloth"])


def parse(given: StageInput):
    return mark("parse", given.sources["person"])


def generate(given: StageInput):
    _count("generate", given.sources["person"])
    seen = "/".join(given.artifacts[need]["digest.json"] for need in ("pose", "cloth", "parse"))
    return {
        "result.png": np.frombuffer(hashlib.sha512(seen.encode()).digest(), np.uint8).reshape(8, 8).copy()
    }


def generate_batch(batch):
    with _log("batches").open("a") as log:
        log.write(f"{len(batch)}\n")
    return [generate(given) for given in batch]


def expected_result(person: bytes, cloth_: bytes) -> np.ndarray:
    """The picture that a job on these two objects must end with."""
    digests = [hashlib.sha256(data).hexdigest() for data in (person, cloth_, person)]
    return np.frombuffer(hashlib.sha512("/".join(digests).encode()).digest(), np.uint8).reshape(8, 8)


def runs(stage: str) -> list[str]:
    """Digests of the objects that the stage's function was called on, one for each call."""
    log = _log(stage)
    return log.read_text().split() if log.exists() else []


def batches() -> list[int]:
    """How many stages each batch had that was computed at once."""
    return [int(size) for size in runs("batches")]


def await_held(name: str) -> None:
    """Return once a stage is running that ``hold NAME`` keeps from ending."""
    wait_for(_log("holding-" + name).exists, f"a stage to hold {name}")


def release(name: str) -> None:
    """Let the stages end that ``hold NAME`` holds."""
    _log("release-" + name).touch()


def install() -> None:
    """Put the stand-ins in the table of stages."""
    table.STAGES = tuple(
        replace(row, methods=tuple(StandIn(row.name, real) for real in row.methods)) for row in table.STAGES
    )


class StandIn(Method):
    """Does a stage under the name of the real method, without its models."""

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
    """What the stage makes of the object."""
    _count(stage, data)
    return {"digest.json": hashlib.sha256(data).hexdigest(), "details.json": {"made_by": stage}}


def _count(stage: str, data: bytes) -> None:
    with _log(stage).open("a") as log:
        log.write(hashlib.sha256(data).hexdigest() + "\n")


def _log(stage: str) -> Path:
    return settings().data_dir / f"runs-{stage}"


def _misbehave(data: bytes) -> None:
    words = data.decode(errors="replace").split()
    if words[:1] == ["hold"]:
        _log("holding-" + words[1]).touch()
        wait_for(_log("release-" + words[1]).exists, f"the test to release {words[1]}")
    if words[:1] != ["raise"]:
        return
    times = int(words[2]) if len(words) > 2 else 10**9
    tried = _log("tries-" + hashlib.sha256(data).hexdigest())
    with tried.open("a") as log:
        log.write("x")
    if len(tried.read_text()) <= times:
        raise (ERRORS.get(words[1]) or getattr(builtins, words[1]))("as the test asked")
