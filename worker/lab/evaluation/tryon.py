"""Measures the geometric engine's try-ons: every garment on every person, and on people in the street."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from config.errors import ImageLoadError, InputValidationError, TryonError
from worker.contract import Bundle
from worker.images.decode import decode_input
from worker.images.frame import FILL, Frame
from worker.lab.evaluation.colour import ColourDistance, chart, colour_distance
from worker.lab.evaluation.memory import peak_mib, reset_peak
from worker.queue.request import TryonRequest
from worker.stages import local
from worker.stages.models import Models
from worker.stages.table import stage as stage_row

_UNREADABLE = (ImageLoadError, InputValidationError)
_NOTHING = np.full((4, 3, 3), 255, np.uint8)


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


@dataclass(frozen=True)
class Measured:
    """What a table needs of one try-on.

    Attributes:
        name: the person's and the garment's.
        error: the name of the error that it was refused with, or None; then the others say nothing.
        outside, seconds, peak_mib: as in Tried.
        colour: how far the colours are from the garment's picture, or None where it is not seen at all.
        score: the verdict's.
        warnings: the verdict's.
    """

    name: str
    error: str | None
    outside: int = 0
    seconds: float = 0.0
    peak_mib: float = 0.0
    colour: ColourDistance | None = None
    score: float = 0.0
    warnings: tuple[str, ...] = ()


def people(folder: Path) -> list[Path]:
    """Return the people of a folder laid out as VITON-HD's test set."""
    return _pictures(folder / "image")


def garments(folder: Path) -> list[Path]:
    """Return the garments of such a folder."""
    return _pictures(folder / "cloth")


def street(folder: Path, count: int) -> list[Path]:
    """Return that many photographs of Clothing Co-Parsing, evenly spaced by name: always the same ones."""
    found = _pictures(folder / "photos")
    return found[:: max(1, len(found) // max(count, 1))][:count]


def person(path: Path, models: Models) -> Photograph:
    """Return a person's photograph, posed and parsed by the stages of a job."""
    return _staged(path.stem, "person", path.read_bytes(), ("pose", "parse"), models)


def garment(name: str, data: bytes, models: Models) -> Photograph:
    """Return a garment's photograph, cut out by the stage of a job."""
    return _staged(name, "cloth", data, ("cloth",), models)


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


def measure(tried: Tried, models: Models) -> Measured:
    """Return what a table needs of a try-on; the colours are measured by drawing a chart once more."""
    name = f"{tried.person.name} + {tried.garment.name}"
    if tried.error is not None or tried.result is None:
        return Measured(name, tried.error.name if tried.error else None)
    details = tried.made["details.json"]
    return Measured(
        name,
        None,
        tried.outside,
        tried.seconds,
        tried.peak_mib,
        _colour(tried, models),
        details["score"],
        tuple(details["warnings"]),
    )


def _colour(tried: Tried, models: Models) -> ColourDistance | None:
    cut = tried.garment.bundles["cloth"]
    charted = replace(tried.garment, bundles={"cloth": {**cut, "cloth.png": chart()}})
    again = try_on(tried.person, charted, models)
    if tried.result is None or again.result is None:
        return None
    frame = Frame(**tried.person.bundles["pose"]["frame.json"])
    worn, worn_chart = (frame.to_canvas(picture, fill=FILL) for picture in (tried.result, again.result))
    return colour_distance(cut["cloth.png"], cut["mask.png"], worn, worn_chart, again.made["warped.jpg"])


def table(measured: Sequence[Measured]) -> dict[str, Any]:
    """Return one row: what succeeded, what was refused and why, and the measures of what succeeded."""
    done = [one for one in measured if one.error is None]
    refused = Counter(one.error for one in measured if one.error is not None)
    row: dict[str, Any] = {
        "pictures": len(measured),
        "succeeded": round(len(done) / max(len(measured), 1), 3),
        "refused": ", ".join(f"{name} {count}" for name, count in refused.most_common()) or "none",
    }
    if not done:
        return row
    colours = [one.colour for one in done if one.colour is not None]
    scores = [one.score for one in done]
    seconds = [one.seconds for one in done]
    row["outside"] = sum(one.outside for one in done)
    if colours:
        row |= {
            "colour": round(float(np.median([colour.median for colour in colours])), 2),
            "colour_worst": round(max(colour.median for colour in colours), 2),
            "colour_p90": round(float(np.median([colour.most for colour in colours])), 2),
        }
    return row | {
        "unseen": len(done) - len(colours),
        "score": round(float(np.median(scores)), 3),
        "score_worst": round(min(scores), 3),
        "seconds": round(float(np.median(seconds)), 2),
        "seconds_worst": round(max(seconds), 2),
        "peak_mib": round(max(one.peak_mib for one in done)),
    }


def worst(measured: Sequence[Measured], count: int = 10) -> dict[str, dict[str, Any]]:
    """Return the pictures with the lowest scores, of equal ones those with the farthest colours."""

    def colour(one: Measured) -> float:
        return one.colour.median if one.colour else 100.0

    done = sorted((one for one in measured if one.error is None), key=lambda one: (one.score, -colour(one)))
    return {
        one.name: {"score": one.score, "colour": round(colour(one), 2), "warnings": " ".join(one.warnings)}
        for one in done[:count]
    }


def panels(tried: Tried, measured: Measured) -> list[tuple[str, np.ndarray]]:
    """Return person, garment and result, titled, each RGB uint8; white where there is nothing to show.

    People are shown as they are framed, so that they are as large in a street as in a studio.
    """
    person, garment = tried.person, tried.garment
    product = garment.bundles["cloth"]["cloth.png"] if "cloth" in garment.bundles else _readable(garment)
    if measured.error is not None or tried.result is None:
        shown, result, title = _readable(person), _NOTHING, measured.error or ""
    else:
        frame = Frame(**person.bundles["pose"]["frame.json"])
        shown, result = (frame.to_canvas(pixels, fill=FILL) for pixels in (person.pixels, tried.result))
        colour = f", dE {measured.colour.median:.1f}" if measured.colour else ""
        title = f"{measured.score:.2f}{colour}"
    return [(person.name, shown), (garment.name, product), (title, result)]


def _readable(photograph: Photograph) -> np.ndarray:
    """Return a photograph's pixels; white where it was refused because it has none."""
    return _NOTHING if isinstance(photograph.error, _UNREADABLE) else photograph.pixels


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
    options = TryonRequest(person_key="person", cloth_key="cloth", engine="geometric").options()
    return local.run_stage(stage_row(stage), sources, bundles, options, models, names=names)


def _pictures(folder: Path) -> list[Path]:
    found = sorted(folder.glob("*.jpg"))
    if not found:
        raise InputValidationError(f"{folder} holds no .jpg: give another folder.", input=str(folder))
    return found
