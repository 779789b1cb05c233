"""Self-training: labels photographs with what the network reads consistently under rotations."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.cloth.garment_edge import refined
from worker.cloth.garment_output import ATTRIBUTES
from worker.cloth.garment_reader import MASK_THRESHOLD, GarmentReader, GarmentReading
from worker.images.frame import opencv_matrix
from worker.images.regions import iou
from worker.lab.garment_training import bank
from worker.lab.garment_training.examples import UNKNOWN, Example, attribute, letterbox
from worker.lab.garment_training.photographs import (
    KIND_OF_CLASS,
    classed,
    from_label,
    read,
    training_rows,
)


@dataclass(frozen=True)
class PseudoSettings:
    """When readings of one photograph are consistent; strict, so that only clear photographs are kept.

    Attributes:
        angles: rotations of the photograph for further readings, degrees.
        max_spread: largest distance of a reading of a landmark from the mean, in units of the diagonal of the
            landmarks' bounding box; half the error that counts as right.
        min_confidence: of a landmark that is kept.
        max_absent: largest confidence of a landmark that is labelled as absent.
        min_points: least number of consistent landmarks.
        min_probability: of an attribute that is kept.
        min_iou: least intersection over union of the refined mask with the network's own.
        weight: weight of a kept landmark in the loss; a labelled one has 1.
        max_turn: readings whose rotations differ by more give no rotation, degrees.
    """

    angles: tuple[int, ...] = (140,)
    max_spread: float = 0.025
    min_confidence: float = 0.45
    max_absent: float = 0.1
    min_points: int = 9
    min_probability: float = 0.85
    min_iou: float = 0.93
    weight: float = 0.5
    max_turn: float = 10.0


SETTINGS = PseudoSettings()


def add_pseudo_labels(folder: Path, target: Path, reader: GarmentReader, limit: int | None = None) -> int:
    """Write a bank of class-labelled photographs with pseudo-labels; return how many it holds.

    At most `limit` photographs are read.
    """
    return bank.write(target, _examples(folder, reader, SETTINGS, limit))


def add_masks(folder: Path, target: Path, reader: GarmentReader, *, everything: bool) -> int:
    """Write the bank of labelled photographs with refined masks; return how many it holds."""
    return bank.write(target, _masked(folder, reader, SETTINGS, everything))


def _masked(
    folder: Path, reader: GarmentReader, settings: PseudoSettings, everything: bool
) -> Iterator[Example]:
    for row in training_rows(folder, everything):
        photo = read(folder / "photos" / row["file"])
        yield from_label(row, photo, _mask(photo, reader.read(photo), settings))


def _examples(
    folder: Path, reader: GarmentReader, settings: PseudoSettings, limit: int | None
) -> Iterator[Example]:
    rows = classed(folder, held_out=False)
    upper = [row for row in rows if KIND_OF_CLASS[row[1]] in ("top", "outerwear", "dress")]
    for file, name in upper[:limit]:
        photo = read(folder / "unlabelled" / file)
        example = _labelled(photo, reader, settings)
        if example is not None:
            example.attributes["kind"] = attribute("kind", KIND_OF_CLASS[name])
            yield example


def _labelled(photo: NDArray[np.uint8], reader: GarmentReader, settings: PseudoSettings) -> Example | None:
    """Return the example of what is consistent in all readings, or None when that is too little."""
    first = reader.read(photo)
    readings = [first, *(_rotated_reading(photo, angle, reader) for angle in settings.angles)]
    points = np.stack([reading.points for reading in readings])
    confidence = np.stack([reading.confidence for reading in readings])
    confident = confidence[0] > settings.min_confidence
    if confident.sum() < settings.min_points:
        return None
    diagonal = float(np.linalg.norm(np.ptp(first.points[confident], axis=0)))
    spread = np.linalg.norm(points - points.mean(0), axis=2).max(0)
    kept = (spread < settings.max_spread * diagonal) & (confidence.min(0) >= settings.min_confidence)
    if kept.sum() < settings.min_points:
        return None
    rgba, place, scale = letterbox(photo, _mask(photo, first, settings))
    rotation = _mean_rotation(readings, settings)
    example = Example(rgba, place, rotation=rotation, mask_known=bool(rgba[..., 3].any()))
    example.points[:] = points.mean(0) * scale + place[:2]
    example.weights[:] = np.where(kept, settings.weight, 0)
    absent = confidence.max(0) <= settings.max_absent
    example.present[:] = np.where(kept, 1, np.where(absent, 0, UNKNOWN))
    for name in ATTRIBUTES:
        mean = np.mean([reading.attributes[name] for reading in readings], 0)
        if mean.max() >= settings.min_probability:
            example.attributes[name] = int(np.argmax(mean))
    return example


def _rotated_reading(photo: NDArray[np.uint8], degrees: float, reader: GarmentReader) -> GarmentReading:
    """Return the reading of the rotated photograph, its landmarks in pixels of the photograph."""
    height, width = photo.shape[:2]
    side = round(float(np.hypot(height, width)))
    turn = np.deg2rad(degrees)
    spin = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    shift = np.array([side, side]) / 2 - spin @ np.array([width, height]) / 2
    matrix = opencv_matrix(np.column_stack([spin, shift]))[:2]
    border = (reader.settings.grey,) * 3
    rotated = np.asarray(cv2.warpAffine(photo, matrix, (side, side), borderValue=border), np.uint8)
    reading = reader.read(rotated)
    points = (reading.points - shift) @ spin
    return GarmentReading(
        reading.mask, reading.mask_to_photo, points.astype(np.float32), reading.confidence,
        reading.attributes, reading.rotation - degrees,
    )  # fmt: skip


def _mean_rotation(readings: list[GarmentReading], settings: PseudoSettings) -> float:
    """Return the mean rotation, degrees; NaN when the readings differ."""
    turns = np.deg2rad([reading.rotation for reading in readings])
    x, y = float(np.cos(turns).mean()), float(np.sin(turns).mean())
    agree = np.hypot(x, y) > np.cos(np.deg2rad(settings.max_turn))
    return float(np.rad2deg(np.arctan2(y, x))) if agree else float("nan")


def _mask(
    photo: NDArray[np.uint8], reading: GarmentReading, settings: PseudoSettings
) -> NDArray[np.uint8] | None:
    """Return the refined mask, uint8 (h, w); None when it differs much from the network's own."""
    own = reading.mask_of_photo(*photo.shape[:2])
    finer = refined(photo, reading)
    if iou(finer >= MASK_THRESHOLD, own >= MASK_THRESHOLD) < settings.min_iou:
        return None
    return np.round(finer * 255).astype(np.uint8)
