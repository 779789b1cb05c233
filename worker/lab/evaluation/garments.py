"""Measures the garment network: landmarks, sleeve, kind, and masks on hard backgrounds."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from config.errors import GarmentMaskError, GarmentUnsuitableError, TryonError
from worker.cloth.garment import prepare, suitable_reading
from worker.cloth.garment_reader import MASK_THRESHOLD, GarmentReader, GarmentReading
from worker.cloth.landmarks import NAMES
from worker.cloth.suitability import UPPER_BODY
from worker.images.arrays import Flags, Image
from worker.images.regions import iou
from worker.lab.demo.sheet import landmark_colour, sheet
from worker.lab.evaluation import hard_garments, samples
from worker.lab.evaluation.hard_grounds import GROUNDS, composite_on
from worker.lab.garment_training.photographs import KIND_OF_CLASS, classed, read

Reader = Callable[[Image], GarmentReading]
"""Reads a photograph, RGB uint8 (h, w, 3). Raises TryonError when it refuses it."""

CLOSE, NEAR = 0.05, 0.08
"""Largest errors that count as right, in units of the diagonal of the labelled points' bounding box."""

SLEEVE_OF_THREE: Mapping[str, str] = {
    **dict.fromkeys(("none", "strap", "cap"), "none"),
    **dict.fromkeys(("short", "elbow"), "short"),
    "long": "long",
}
"""Sleeve -> one of the three kinds that engines distinguish."""

_REFUSABLE = ("Pants", "Shorts", "Skirt", "Shoes", "Hat")
_OUTLINE_COLOUR = (255, 220, 0)

MIN_SHOWN_CONFIDENCE = 0.2
"""Landmarks with less confidence are not drawn on contact sheets."""


@dataclass(frozen=True)
class Read:
    """A labelled photograph and its reading.

    Attributes:
        label: its row of the label file.
        photo: RGB uint8 (h, w, 3).
        reading: None if it was refused.
        reason: the message of the refusal, or empty.
        milliseconds: time that the network took for it.
    """

    label: dict[str, Any]
    photo: Image
    reading: GarmentReading | None
    reason: str
    milliseconds: float


def read_all(
    labels_file: Path, photos_dir: Path, reader: GarmentReader, *, split: str = "test"
) -> list[Read]:
    """Return the readings of the labelled photographs of a split, as the stage `cloth` reads them.

    Rows without a split belong to every split. Raises InputValidationError when a photograph is missing.
    """
    rows = [json.loads(line) for line in labels_file.read_text().splitlines()]
    return [
        read_photograph(row, read(photos_dir / row["file"]), stage_reading(reader), reader)
        for row in rows
        if row.get("split", split) == split
    ]


def stage_reading(reader: GarmentReader) -> Reader:
    """Return the function that reads a photograph as the stage `cloth` does, in pixels of the photograph."""

    return lambda photo: suitable_reading(photo, reader)[0]


def read_photograph(label: dict[str, Any], photo: Image, reader: Reader, network: GarmentReader) -> Read:
    """Return the reading of a labelled photograph, RGB uint8 (h, w, 3), or why it was refused.

    `network` alone is timed.
    """
    reading, reason = None, ""
    started_at = time.perf_counter()
    network.read(photo)
    milliseconds = 1000 * (time.perf_counter() - started_at)
    try:
        reading = reader(photo)
    except TryonError as error:
        reason = error.message
    return Read(label, photo, reading, reason, milliseconds)


def summary(results: Sequence[Read]) -> dict[str, float]:
    """Return the figures of a set of readings.

    They are photographs, refused, pck_0.05, pck_0.08, sleeve_accuracy, kind_accuracy, all_points_0.08,
    median_error and ms. Errors are in units of the diagonal of the labelled points' bounding box, over the
    labelled points of all photographs that are not refused. The kind is right if it is that of the label's
    class; without a class, if it is worn on the upper body.
    """
    accepted = [(result, result.reading) for result in results if result.reading is not None]
    errors = [point_errors(result.label, reading) for result, reading in accepted]
    together = np.concatenate(errors) if errors else np.ones(1)
    sleeves = [
        SLEEVE_OF_THREE[reading.best("sleeve")] == SLEEVE_OF_THREE[result.label["sleeve"]]
        for result, reading in accepted
    ]
    kinds = [_kind_is_right(result.label, reading) for result, reading in accepted]
    return {
        "photographs": len(results),
        "refused": round(1 - len(accepted) / max(1, len(results)), 4),
        "pck_0.05": round(float((together <= CLOSE).mean()), 4),
        "pck_0.08": round(float((together <= NEAR).mean()), 4),
        "sleeve_accuracy": _share(sleeves),
        "kind_accuracy": _share(kinds),
        "all_points_0.08": _share([bool((single <= NEAR).all()) for single in errors]),
        "median_error": round(float(np.median(together)), 4),
        "ms": round(float(np.median([result.milliseconds for result in results])), 1) if results else 0.0,
    }


def point_errors(label: Mapping[str, Any], reading: GarmentReading) -> NDArray[np.float64]:
    """Return the error of each labelled point, in units of the diagonal of their bounding box."""
    named = [(index, label["points"][name]) for index, name in enumerate(NAMES) if label["points"][name]]
    wanted = np.array([point for _, point in named], float)
    diagonal = float(np.linalg.norm(wanted.max(0) - wanted.min(0)))
    found = reading.points[[index for index, _ in named]]
    return np.asarray(np.linalg.norm(found - wanted, axis=1) / diagonal)


def _kind_is_right(label: Mapping[str, Any], reading: GarmentReading) -> bool:
    kind = reading.best("kind")
    if "class" not in label:
        return kind in UPPER_BODY
    return kind == KIND_OF_CLASS[label["class"]]


def _share(right: Sequence[bool]) -> float:
    return round(float(np.mean(right)), 4) if right else 0.0


def contact_sheet(results: Sequence[Read], *, columns: int = 8, height: int = 300) -> Image:
    """Return the photographs with their readings (dots, outline) and labels (rings)."""
    return sheet([(_title(result), _drawn(result)) for result in results], columns=columns, height=height)


def _title(result: Read) -> str:
    reading = result.reading
    if reading is None:
        return f"refused: {result.reason}"[:40]
    worst = float(point_errors(result.label, reading).max())
    return f"{reading.best('kind')} {reading.best('sleeve')}/{result.label['sleeve']} {worst:.2f}"


def _drawn(result: Read) -> Image:
    """Return the photograph with the mask's outline, the landmarks (dots) and the labels (rings)."""
    picture = result.photo.copy()
    size = max(2, round(max(picture.shape) / 90))
    if result.reading is not None:
        mask = result.reading.mask_of_photo(*picture.shape[:2]) >= MASK_THRESHOLD
        _draw_outline(picture, mask, _OUTLINE_COLOUR, max(1, size // 3))
        for name, point, confidence in zip(
            NAMES, result.reading.points, result.reading.confidence, strict=True
        ):
            if confidence >= MIN_SHOWN_CONFIDENCE:
                at = (round(float(point[0])), round(float(point[1])))
                cv2.circle(picture, at, size, landmark_colour(name), -1, cv2.LINE_AA)
    for name in NAMES:
        if result.label["points"][name]:
            at = tuple(round(value) for value in result.label["points"][name])
            cv2.circle(picture, at, 2 * size, landmark_colour(name), max(1, size // 2), cv2.LINE_AA)
    return picture


def _draw_outline(picture: Image, mask: Flags, colour: tuple[int, int, int], width: int) -> None:
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(picture, contours, -1, colour, width)


def mask_figures(folder: Path, reader: GarmentReader) -> dict[str, float]:
    """Return mean and worst IoU of a VITON-HD folder's garments, each on 20 hard backgrounds."""
    scores = [iou(found, truth) for _, _, truth, found in masks(folder, reader)]
    return {
        "pictures": len(scores),
        "mean_iou": round(float(np.mean(scores)), 4),
        "worst_iou": round(float(min(scores)), 4),
    }


def masks(folder: Path, reader: GarmentReader) -> Iterator[tuple[str, Image, Flags, Flags]]:
    """Yield title, picture, true and found mask of each garment on each hard background."""
    for number, sample in enumerate(samples.garments(folder)):
        garment = hard_garments.cut_out(sample, number)
        for ground in GROUNDS:
            picture, truth = composite_on(ground, garment)
            try:
                _, found = suitable_reading(picture, reader)
            except (GarmentMaskError, GarmentUnsuitableError):
                found = np.zeros_like(truth)
            yield f"{sample.name} {ground}", picture, truth, found


def mask_sheet(folder: Path, reader: GarmentReader, *, columns: int = 10, height: int = 200) -> Image:
    """Return the hard pictures with the found outline (yellow) and the true one (green)."""
    panels = []
    for title, picture, truth, found in masks(folder, reader):
        shown = picture.copy()
        for mask, colour in ((truth, (0, 255, 0)), (found, _OUTLINE_COLOUR)):
            _draw_outline(shown, mask, colour, 3)
        panels.append((f"{iou(found, truth):.2f} {title}"[:26], shown))
    return sheet(panels, columns=columns, height=height)


def kind_figures(folder: Path, reader: GarmentReader) -> dict[str, float]:
    """Return the share of refused photographs of each held-out class, of all tops and of all other kinds.

    A photograph is refused if the stage `cloth` refuses it, for whatever reason.
    """
    answers: dict[str, list[bool]] = {}
    for file, name in classed(folder, held_out=True):
        answers.setdefault(name, []).append(_is_refused(read(folder / "unlabelled" / file), reader))
    table = {f"refused_{name}": round(float(np.mean(row)), 4) for name, row in sorted(answers.items())}
    others = [answer for name in _REFUSABLE for answer in answers.get(name, [])]
    tops = [
        answer
        for name, row in answers.items()
        if KIND_OF_CLASS[name] in ("top", "outerwear")
        for answer in row
    ]
    return {
        "photographs": sum(len(row) for row in answers.values()),
        "others_refused": _share(others),
        "tops_refused": _share(tops),
        **table,
    }


def _is_refused(photo: Image, reader: GarmentReader) -> bool:
    try:
        prepare(photo, reader)
    except (GarmentMaskError, GarmentUnsuitableError):
        return True
    return False
