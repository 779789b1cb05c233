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
from worker.images.arrays import Image, Mask
from worker.images.decode import decode_input
from worker.images.frame import FILL, Frame
from worker.lab.demo.sheet import Panel
from worker.lab.evaluation.colour import ColourDistance, chart, colour_distance
from worker.lab.evaluation.memory import peak_mib, reset_peak
from worker.lab.evaluation.samples import picture_files
from worker.queue.request import TryonRequest
from worker.stages import local
from worker.stages.models import Models
from worker.stages.table import stage as stage_row

_UNREADABLE = (ImageLoadError, InputValidationError)
_BLANK = np.full((4, 3, 3), 255, np.uint8)

_NOT_VISIBLE = 100.0
"""The colour distance that a garment that is not visible is sorted by: larger than every real one."""


@dataclass
class Photograph:
    """A photograph and the bundles that the stages made of it, once.

    Attributes:
        name: the file's, without its ending.
        data: the file.
        bundles: stage -> its bundle; of a person `pose` and `parse`, of a garment `cloth`.
        error: the named error that a stage raised, or None.
        seconds: time of all stages together.
    """

    name: str
    data: bytes
    bundles: dict[str, Bundle]
    error: TryonError | None
    seconds: float

    @property
    def pixels(self) -> Image:
        """The photograph, RGB uint8 (h, w, 3)."""
        return decode_input(self.data, name=self.name)


@dataclass(frozen=True)
class TryOn:
    """One garment on one person.

    Attributes:
        person, garment: the two photographs.
        result: RGB uint8, the size of the person's photograph; None when it was refused.
        bundle: the generate stage's, empty when it was refused.
        error: the named error that it was refused with, or None.
        changed_outside: pixels of the photograph that changed outside the region that may change.
        seconds: time of the generate stage.
        peak_mib: the process's peak memory during the generate stage, MiB.
    """

    person: Photograph
    garment: Photograph
    result: Image | None
    bundle: Bundle
    error: TryonError | None
    changed_outside: int
    seconds: float
    peak_mib: float


@dataclass(frozen=True)
class Measurement:
    """The values of one try-on in a table.

    Attributes:
        name: of the person and the garment.
        error: the name of the error that it was refused with, or None; with an error the rest is unused.
        changed_outside, seconds, peak_mib: as in TryOn.
        colour: the distance of the colours from the garment's picture; None where it is not visible at all.
        score: the engine's.
        warnings: the engine's.
    """

    name: str
    error: str | None
    changed_outside: int = 0
    seconds: float = 0.0
    peak_mib: float = 0.0
    colour: ColourDistance | None = None
    score: float = 0.0
    warnings: tuple[str, ...] = ()


def person_files(folder: Path) -> list[Path]:
    """Return the people of a folder laid out as VITON-HD's test set. Raises InputValidationError."""
    return picture_files(folder / "image")


def garment_files(folder: Path) -> list[Path]:
    """Return the garments of such a folder. Raises InputValidationError."""
    return picture_files(folder / "cloth")


def street_files(folder: Path, count: int) -> list[Path]:
    """Return that many photographs of Clothing Co-Parsing, evenly spaced by name: always the same ones.

    Raises InputValidationError.
    """
    files = picture_files(folder / "photos")
    return files[:: max(1, len(files) // max(count, 1))][:count]


def load_person(path: Path, models: Models) -> Photograph:
    """Return a person's photograph after the stages `pose` and `parse`."""
    return _run_stages(path.stem, "person", path.read_bytes(), ("pose", "parse"), models)


def load_garment(name: str, data: bytes, models: Models) -> Photograph:
    """Return a garment's photograph after the stage `cloth`."""
    return _run_stages(name, "cloth", data, ("cloth",), models)


def try_on(person: Photograph, garment: Photograph, models: Models) -> TryOn:
    """Return one garment on one person; an error of an earlier stage is the try-on's error."""
    if error := person.error or garment.error:
        return TryOn(person, garment, None, {}, error, 0, 0.0, 0.0)
    bundles = person.bundles | garment.bundles
    sources = {"person": person.data, "cloth": garment.data}
    names = {"person": person.name, "cloth": garment.name}
    reset_peak()
    began = time.perf_counter()
    try:
        bundle = _run_stage("generate", sources, names, bundles, models)
    except TryonError as error:
        return TryOn(person, garment, None, {}, error, 0, time.perf_counter() - began, peak_mib())
    seconds, peak = time.perf_counter() - began, peak_mib()
    frame = Frame(**person.bundles["pose"]["frame.json"])
    outside = changed_outside(person.pixels, bundle["result.png"], bundle["region.png"], frame)
    return TryOn(person, garment, bundle["result.png"], bundle, None, outside, seconds, peak)


def changed_outside(photo: Image, result: Image, region: Mask, frame: Frame) -> int:
    """Return how many pixels of a photograph changed outside the region.

    A pixel of the photograph is inside when it is within one pixel (its own or the canvas's, whichever is
    larger) of the region, because a pixel cannot be divided.

    Args:
        photo, result: RGB uint8 (h, w, 3).
        region: uint8 (1024, 768), the alpha of what may change, on the canvas.
        frame: where the photograph is on the canvas.
    """
    side = 2 * int(np.ceil(max(1.0, frame.scale))) + 1
    dilated = cv2.dilate((region > 0).astype(np.uint8) * 255, np.ones((side, side), np.uint8))
    inside = frame.to_photo(np.asarray(dilated, np.uint8), interpolation=cv2.INTER_LINEAR) > 0
    return int(np.count_nonzero((photo != result).any(2) & ~inside))


def measure(tried: TryOn, models: Models) -> Measurement:
    """Return a try-on's measurement; to measure the colours, a chart is tried on as well."""
    name = f"{tried.person.name} + {tried.garment.name}"
    if tried.error is not None or tried.result is None:
        return Measurement(name, tried.error.name if tried.error else None)
    details = tried.bundle["details.json"]
    return Measurement(
        name,
        None,
        tried.changed_outside,
        tried.seconds,
        tried.peak_mib,
        _colour(tried, models),
        details["score"],
        tuple(details["warnings"]),
    )


def _colour(tried: TryOn, models: Models) -> ColourDistance | None:
    cloth = tried.garment.bundles["cloth"]
    chart_garment = replace(tried.garment, bundles={"cloth": {**cloth, "cloth.png": chart()}})
    with_chart = try_on(tried.person, chart_garment, models)
    if tried.result is None or with_chart.result is None:
        return None
    frame = Frame(**tried.person.bundles["pose"]["frame.json"])
    worn, worn_chart = (frame.to_canvas(image, fill=FILL) for image in (tried.result, with_chart.result))
    return colour_distance(
        cloth["cloth.png"], cloth["mask.png"], worn, worn_chart, with_chart.bundle["warped.jpg"]
    )


def table(measurements: Sequence[Measurement]) -> dict[str, Any]:
    """Return one row: what succeeded, what was refused and why, and the statistics of what succeeded."""
    succeeded = [one for one in measurements if one.error is None]
    refused = Counter(one.error for one in measurements if one.error is not None)
    row: dict[str, Any] = {
        "pictures": len(measurements),
        "succeeded": round(len(succeeded) / max(len(measurements), 1), 3),
        "refused": ", ".join(f"{name} {count}" for name, count in refused.most_common()) or "none",
    }
    if not succeeded:
        return row
    colours = [one.colour for one in succeeded if one.colour is not None]
    scores = [one.score for one in succeeded]
    seconds = [one.seconds for one in succeeded]
    row["outside"] = sum(one.changed_outside for one in succeeded)
    if colours:
        row |= {
            "colour": round(float(np.median([colour.median for colour in colours])), 2),
            "colour_worst": round(max(colour.median for colour in colours), 2),
            "colour_p90": round(float(np.median([colour.p90 for colour in colours])), 2),
        }
    return row | {
        "unseen": len(succeeded) - len(colours),
        "score": round(float(np.median(scores)), 3),
        "score_worst": round(min(scores), 3),
        "seconds": round(float(np.median(seconds)), 2),
        "seconds_worst": round(max(seconds), 2),
        "peak_mib": round(max(one.peak_mib for one in succeeded)),
    }


def worst(measurements: Sequence[Measurement], count: int = 10) -> dict[str, dict[str, Any]]:
    """Return the try-ons with the lowest scores; among equal scores, with the largest colour distance."""

    def distance(one: Measurement) -> float:
        return one.colour.median if one.colour else _NOT_VISIBLE

    succeeded = [one for one in measurements if one.error is None]
    ordered = sorted(succeeded, key=lambda one: (one.score, -distance(one)))
    return {
        one.name: {"score": one.score, "colour": round(distance(one), 2), "warnings": " ".join(one.warnings)}
        for one in ordered[:count]
    }


def panels(tried: TryOn, measurement: Measurement) -> list[Panel]:
    """Return person, garment and result with titles; white where there is no picture.

    People are shown on the canvas, so that they have the same size in the street and in the studio.
    """
    person, garment = tried.person, tried.garment
    product = garment.bundles["cloth"]["cloth.png"] if "cloth" in garment.bundles else _pixels(garment)
    if measurement.error is not None or tried.result is None:
        shown, result, title = _pixels(person), _BLANK, measurement.error or ""
    else:
        frame = Frame(**person.bundles["pose"]["frame.json"])
        shown, result = (frame.to_canvas(pixels, fill=FILL) for pixels in (person.pixels, tried.result))
        colour = f", dE {measurement.colour.median:.1f}" if measurement.colour else ""
        title = f"{measurement.score:.2f}{colour}"
    return [(person.name, shown), (garment.name, product), (title, result)]


def _pixels(photograph: Photograph) -> Image:
    """Return a photograph's pixels; white where the file cannot be read."""
    return _BLANK if isinstance(photograph.error, _UNREADABLE) else photograph.pixels


def _run_stages(name: str, source: str, data: bytes, stages: tuple[str, ...], models: Models) -> Photograph:
    bundles: dict[str, Bundle] = {}
    stage_error = None
    began = time.perf_counter()
    try:
        for stage in stages:
            bundles[stage] = _run_stage(stage, {source: data}, {source: name}, bundles, models)
    except TryonError as error:
        stage_error = error
    return Photograph(name, data, bundles, stage_error, time.perf_counter() - began)


def _run_stage(
    stage: str,
    sources: Mapping[str, bytes],
    names: Mapping[str, str],
    bundles: Mapping[str, Bundle],
    models: Models,
) -> Bundle:
    options = TryonRequest(person_key="person", cloth_key="cloth", engine="geometric").options()
    return local.run_stage(stage_row(stage), sources, bundles, options, models, names=names)
