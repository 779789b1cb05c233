"""Labels photographs by what the network reads alike however they are shown: self-training."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.cloth.garment_edge import refined
from worker.cloth.garment_network import ATTRIBUTES
from worker.cloth.garment_reader import GarmentReader, GarmentReading
from worker.lab.evaluation.cloth import iou
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
    """What the network must agree with itself about, chosen to keep clear photographs only.

    Attributes:
        turns: degrees by which the photograph is turned for the second readings.
        alike: largest distance between readings of a landmark, in units of the landmarks' diagonal; less than
            the error that counts.
        sure: least confidence of a landmark that is kept, and most of one that is taken for absent.
        points: least number of landmarks that are alike.
        attribute: least probability of an attribute that is kept.
        masks: least intersection over union of the refined mask with the network's own.
        weight: how much a kept landmark counts beside one that was labelled.
    """

    turns: tuple[int, ...] = (140,)
    alike: float = 0.025
    sure: tuple[float, float] = (0.45, 0.1)
    points: int = 9
    attribute: float = 0.85
    masks: float = 0.93
    weight: float = 0.5


SETTINGS = PseudoSettings()


def add_pseudo_labels(folder: Path, target: Path, reader: GarmentReader, limit: int | None = None) -> int:
    """Write a bank of class-labelled photographs with what was read in them; return how many there are.

    `limit` photographs are read at most.
    """
    return bank.write(target, _examples(folder, reader, SETTINGS, limit))


def add_masks(folder: Path, target: Path, reader: GarmentReader, *, everything: bool) -> int:
    """Write the bank of labelled photographs replace, with refined masks; return how many it holds."""
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
    """Return what is read alike in a photograph and in turned ones, or None where too little is."""
    first = reader.read(photo)
    readings = [first, *(_turned_reading(photo, turn, reader) for turn in settings.turns)]
    points = np.stack([reading.points for reading in readings])
    sure = np.stack([reading.confidence for reading in readings])
    diagonal = float(np.linalg.norm(np.ptp(first.points[sure[0] > settings.sure[0]], axis=0))) if (
        sure[0] > settings.sure[0]
    ).sum() > 3 else 0.0  # fmt: skip
    spread = np.linalg.norm(points - points.mean(0), axis=2).max(0)
    kept = (spread < settings.alike * diagonal) & (sure.min(0) >= settings.sure[0])
    if kept.sum() < settings.points:
        return None
    rgba, place, scale = letterbox(photo, _mask(photo, first, settings))
    turn = _mean_turn(readings)
    example = Example(rgba, place, rotation=turn, mask_known=bool(rgba[..., 3].any()))
    example.points[:] = points.mean(0) * scale + place[:2]
    example.weights[:] = np.where(kept, settings.weight, 0)
    absent = sure.max(0) <= settings.sure[1]
    example.present[:] = np.where(kept, 1, np.where(absent, 0, UNKNOWN))
    for name in ATTRIBUTES:
        mean = np.mean([reading.attributes[name] for reading in readings], 0)
        if mean.max() >= settings.attribute:
            example.attributes[name] = int(np.argmax(mean))
    return example


def _turned_reading(photo: NDArray[np.uint8], degrees: float, reader: GarmentReader) -> GarmentReading:
    """Return what is read in the turned photograph, its landmarks in pixels of the photograph."""
    height, width = photo.shape[:2]
    side = round(float(np.hypot(height, width)))
    turn = np.deg2rad(degrees)
    spin = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    shift = np.array([side, side]) / 2 - spin @ np.array([width, height]) / 2
    # cv2 counts from pixel centres.
    drawn = np.column_stack([spin, shift + spin @ (0.5, 0.5) - 0.5])
    turned = np.asarray(
        cv2.warpAffine(photo, drawn, (side, side), borderValue=(reader.settings.grey,) * 3), np.uint8
    )
    reading = reader.read(turned)
    points = (reading.points - shift) @ spin
    return GarmentReading(
        reading.mask, reading.mask_to_photo, points.astype(np.float32), reading.confidence,
        reading.attributes, reading.rotation - degrees,
    )  # fmt: skip


def _mean_turn(readings: list[GarmentReading]) -> float:
    """Return the mean rotation, degrees; NaN where the readings differ."""
    turns = np.deg2rad([reading.rotation for reading in readings])
    x, y = float(np.cos(turns).mean()), float(np.sin(turns).mean())
    agree = np.hypot(x, y) > np.cos(np.deg2rad(10))
    return float(np.rad2deg(np.arctan2(y, x))) if agree else float("nan")


def _mask(
    photo: NDArray[np.uint8], reading: GarmentReading, settings: PseudoSettings
) -> NDArray[np.uint8] | None:
    """Return the refined mask where it hardly differs from the network's own, uint8 (h, w)."""
    own = reading.mask_of_photo(*photo.shape[:2])
    finer = refined(photo, reading)
    if iou(finer >= 0.5, own >= 0.5) < settings.masks:
        return None
    return np.round(finer * 255).astype(np.uint8)
