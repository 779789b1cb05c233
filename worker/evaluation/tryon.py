"""Measures the geometric engine's try-ons: every garment on every person, and on people in the street."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from worker import pipeline
from worker.bundle import Bundle
from worker.demo.sheet import sheet
from worker.errors import InputValidationError, TryonError
from worker.evaluation.memory import peak_mib, reset_peak
from worker.frame import Frame
from worker.imaging import decode_input
from worker.models import Models
from worker.request import TryonRequest

STREET = 30
"""How many street photographs are tried: every STREET-th by name, so that the list is always the same."""


@dataclass
class Photograph:
    """A photograph and what the stages made of it, each once.

    Attributes:
        name: the file's, without its ending.
        data: the file.
        bundles: stage -> its bundle; of a person `pose` and `parse`, of a garment `cloth`.
        error: the named error that ended a stage, or None.
        seconds: what the stages took together.
    """

    name: str
    data: bytes
    bundles: dict[str, Bundle]
    error: TryonError | None
    seconds: float

    @property
    def pixels(self) -> np.ndarray:
        """The photograph, RGB uint8 (h, w, 3)."""
        return decode_input(self.data, name=self.name)


@dataclass(frozen=True)
class Tried:
    """One garment on one person.

    Attributes:
        person, garment: the two photographs.
        result: RGB uint8 of the person's photograph's size, or None when it was refused.
        made: the generate stage's bundle, empty when it was refused.
        error: the named error that it was refused with, or None.
        outside: pixels of the photograph that changed although they lie outside the region.
        seconds: what drawing took, without the maps.
        peak_mib: the most memory that the process held while drawing, MiB.
    """

    person: Photograph
    garment: Photograph
    result: np.ndarray | None
    made: Bundle
    error: TryonError | None
    outside: int
    seconds: float
    peak_mib: float


def people(folder: Path, models: Models) -> list[Photograph]:
    """Return the people of a folder laid out as VITON-HD's test set, posed and parsed."""
    return [person(path, models) for path in _pictures(folder / "image")]


def garments(folder: Path, models: Models) -> list[Photograph]:
    """Return the garments of such a folder, cut out."""
    return [garment(path.stem, path.read_bytes(), models) for path in _pictures(folder / "cloth")]


def street(folder: Path, models: Models, count: int = STREET) -> list[Photograph]:
    """Return the first of every STREET-th photograph of Clothing Co-Parsing by name, posed and parsed."""
    return [person(path, models) for path in _pictures(folder / "photos")[::STREET][:count]]


def person(path: Path, models: Models) -> Photograph:
    """Return a person's photograph, posed and parsed by the stages of a job."""
    return _staged(path.stem, "person", path.read_bytes(), ("pose", "parse"), models)


def garment(name: str, data: bytes, models: Models) -> Photograph:
    """Return a garment's photograph, cut out by the stage of a job."""
    return _staged(name, "cloth", data, ("cloth",), models)


def every(
    people: Sequence[Photograph], garments: Sequence[Photograph]
) -> Iterator[tuple[Photograph, Photograph]]:
    """Yield every person with every garment."""
    return ((person, garment) for person in people for garment in garments)


def by_turns(
    people: Sequence[Photograph], garments: Sequence[Photograph]
) -> Iterator[tuple[Photograph, Photograph]]:
    """Yield every person with one garment, the garments by rotation."""
    return ((person, garments[number % len(garments)]) for number, person in enumerate(people))


def measure(pairs: Iterable[tuple[Photograph, Photograph]], models: Models) -> list[Tried]:
    """Return each person with the garment on, drawn by the stage of a job and measured."""
    return [try_on(person, garment, models) for person, garment in pairs]


def try_on(person: Photograph, garment: Photograph, models: Models) -> Tried:
    """Return one garment on one person; what a stage refused before counts as refused here."""
    if error := person.error or garment.error:
        return Tried(person, garment, None, {}, error, 0, 0.0, 0.0)
    bundles = person.bundles | garment.bundles
    sources = {"person": person.data, "cloth": garment.data}
    names = {"person": person.name, "cloth": garment.name}
    reset_peak()
    began = time.perf_counter()
    try:
        made = _run("generate", sources, names, bundles, models)
    except TryonError as error:
        return Tried(person, garment, None, {}, error, 0, time.perf_counter() - began, peak_mib())
    seconds, peak = time.perf_counter() - began, peak_mib()
    frame = Frame(**person.bundles["pose"]["frame.json"])
    outside = changed_outside(person.pixels, made["result.png"], made["region.png"], frame)
    return Tried(person, garment, made["result.png"], made, None, outside, seconds, peak)


def changed_outside(photo: np.ndarray, result: np.ndarray, region: np.ndarray, frame: Frame) -> int:
    """Return how many pixels of a photograph changed that lie outside the region.

    Args:
        photo, result: RGB uint8 (h, w, 3).
        region: uint8 (1024, 768), the alpha of what may change, on the canvas.
        frame: where the photograph lies on the canvas.

    A photograph's pixel lies inside when its place on the canvas is within a pixel, its own or the canvas's,
    of the region: no pixel can be parted.
    """
    reach = 2 * int(np.ceil(max(1.0, frame.scale))) + 1
    grown = cv2.dilate((region > 0).astype(np.uint8) * 255, np.ones((reach, reach), np.uint8))
    inside = frame.to_photo(grown, interpolation=cv2.INTER_LINEAR) > 0
    return int(np.count_nonzero((photo != result).any(2) & ~inside))


def table(tried: Sequence[Tried]) -> dict[str, Any]:
    """Return one row: what succeeded, what was refused and why, and the measures of what succeeded."""
    done = [one for one in tried if one.error is None]
    refused = Counter(one.error.name for one in tried if one.error is not None)
    row: dict[str, Any] = {
        "pictures": len(tried),
        "succeeded": round(len(done) / max(len(tried), 1), 3),
        "refused": ", ".join(f"{name} {count}" for name, count in refused.most_common()) or "none",
    }
    if not done:
        return row
    colours = [one.made["details.json"]["checks"]["colour"]["value"] for one in done]
    scores = [one.made["details.json"]["score"] for one in done]
    return row | {
        "outside": sum(one.outside for one in done),
        "colour": round(float(np.median(colours)), 2),
        "colour_worst": round(max(colours), 2),
        "score": round(float(np.median(scores)), 3),
        "score_worst": round(min(scores), 3),
        "seconds": round(float(np.median([one.seconds for one in done])), 2),
        "seconds_worst": round(max(one.seconds for one in done), 2),
        "peak_mib": round(max(one.peak_mib for one in done)),
    }


def contact_sheet(tried: Sequence[Tried]) -> np.ndarray:
    """Return each person, garment and result side by side, with the score or the error, RGB uint8."""
    panels = []
    for one in tried:
        pictures = [one.person.pixels, _garment(one.garment)]
        if one.result is None:
            title = f"{one.person.name} + {one.garment.name}: {one.error.name if one.error else ''}"
        else:
            pictures.append(one.result)
            title = f"{one.person.name} + {one.garment.name}: {one.made['details.json']['score']:.2f}"
        panels.append((title, _side_by_side(pictures)))
    return sheet(panels, columns=2, height=560)


def _side_by_side(pictures: Sequence[np.ndarray], height: int = 560) -> np.ndarray:
    sized = [
        cv2.resize(
            picture,
            (round(picture.shape[1] * height / picture.shape[0]), height),
            interpolation=cv2.INTER_AREA,
        )
        for picture in pictures
    ]
    return np.hstack(sized)


def _garment(photograph: Photograph) -> np.ndarray:
    image = photograph.bundles["cloth"]["cloth.png"] if "cloth" in photograph.bundles else photograph.pixels
    return np.asarray(cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))


def _staged(name: str, source: str, data: bytes, stages: tuple[str, ...], models: Models) -> Photograph:
    bundles: dict[str, Bundle] = {}
    error = None
    began = time.perf_counter()
    try:
        for stage in stages:
            bundles[stage] = _run(stage, {source: data}, {source: name}, bundles, models)
    except TryonError as problem:
        error = problem
    return Photograph(name, data, bundles, error, time.perf_counter() - began)


def _run(
    stage: str,
    sources: Mapping[str, bytes],
    names: Mapping[str, str],
    bundles: Mapping[str, Bundle],
    models: Models,
) -> Bundle:
    row = pipeline.stage(stage)
    options = TryonRequest(person_key="person", cloth_key="cloth", engine="geometric").options()
    given = pipeline.StageInput(
        sources={source: sources[source] for source in row.sources},
        names=names,
        artifacts={need: bundles[need] for need in row.needs},
        options=pipeline.selected(row, options),
        models=models,
    )
    return pipeline.function(row)(given)


def _pictures(folder: Path) -> list[Path]:
    found = sorted(folder.glob("*.jpg"))
    if not found:
        raise InputValidationError(f"{folder} holds no .jpg: give another folder.", input=str(folder))
    return found
