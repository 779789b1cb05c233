"""Lifts garments off photographs where the classical mask reads them alike however they are shown."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from config.errors import GarmentMaskError
from worker.cloth.mask import Cutout, cut_out
from worker.lab.evaluation.cloth import iou
from worker.lab.garment_training.examples import SIZE, Example, attribute, letterbox
from worker.lab.garment_training.photographs import KIND_OF_CLASS, classed, read


@dataclass(frozen=True)
class CutoutSettings:
    """Which masks are trusted.

    Attributes:
        alike: least intersection over union of the mask with that of the mirrored, darker picture. A mask
            that took background for garment rarely does so twice; looking at sheets, 0.97 let few through.
        area: smallest and largest share of the photograph.
        border: largest share of the photograph's border that the mask may cover: else it is cut off.
        filled: least share of the mask's convex hull; a scattered mask is background.
        side: longer side at which masks are computed, pixels.
    """

    alike: float = 0.97
    area: tuple[float, float] = (0.12, 0.75)
    border: float = 0.04
    filled: float = 0.6
    side: int = 420


SETTINGS = CutoutSettings()


def cutout_examples(folder: Path, settings: CutoutSettings = SETTINGS) -> Iterator[Example]:
    """Yield garments of the class-labelled photographs as layers with their kind."""
    for file, name in classed(folder, held_out=False):
        photo = read(folder / "unlabelled" / file)
        scale = settings.side / max(photo.shape[:2])
        photo = np.asarray(
            cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8
        )
        cut = trusted(photo, settings)
        if cut is not None:
            example = Example(_layer(cut), layer=True, mask_known=True)
            example.attributes["kind"] = attribute("kind", KIND_OF_CLASS[name])
            yield example


def trusted(photo: NDArray[np.uint8], settings: CutoutSettings = SETTINGS) -> Cutout | None:
    """Return a photograph's garment, or None where its mask is not to be trusted."""
    darker = np.round(photo[:, ::-1] * 0.85).astype(np.uint8)
    try:
        first, second = cut_out(photo), cut_out(darker)
    except GarmentMaskError:
        return None
    mask, again = first.alpha >= 128, second.alpha[:, ::-1] >= 128
    if iou(mask, again) < settings.alike or not settings.area[0] < mask.mean() < settings.area[1]:
        return None
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    largest = max(contours, key=cv2.contourArea)
    hull = cv2.contourArea(cv2.convexHull(largest))
    whole = border.mean() <= settings.border and mask.sum() >= settings.filled * hull
    return first if whole else None


def _layer(cut: Cutout) -> NDArray[np.uint8]:
    """Return a garment alone, centred in a stored picture with a little room around it."""
    rows, columns = (np.flatnonzero((cut.alpha >= 128).any(axis)) for axis in (1, 0))
    window = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    rgba, _, _ = letterbox(cut.image[window], cut.alpha[window])
    room = np.zeros_like(rgba)
    edge = SIZE // 20
    inner = SIZE - 2 * edge
    room[edge:-edge, edge:-edge] = cv2.resize(rgba, (inner, inner), interpolation=cv2.INTER_AREA)
    return room
