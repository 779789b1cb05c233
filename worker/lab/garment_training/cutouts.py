"""Cuts garments out of photographs in which the classical mask is consistent."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from config.errors import GarmentMaskError
from worker.cloth.mask import Cutout, cut_out
from worker.images.regions import iou
from worker.images.shapes import bounding_box
from worker.lab.garment_training.examples import SIZE, Example, attribute, letterbox
from worker.lab.garment_training.photographs import KIND_OF_CLASS, classed, read


@dataclass(frozen=True)
class CutoutSettings:
    """Which masks are accepted.

    Attributes:
        min_iou: least intersection over union of the mask with that of the mirrored, darker picture. A mask
            that includes background rarely does so twice; on contact sheets 0.97 let few wrong masks pass.
        brightness: factor of the darker picture; enough to change which pixels are near a threshold.
        area: smallest and largest share of the photograph.
        border: largest share of the photograph's border that the mask may cover: more is a cut-off garment.
        solidity: least share of the mask's convex hull that it covers; a scattered mask is background.
        side: longer side at which masks are computed, pixels.
        padding: padding around the stored garment, share of the stored picture.
    """

    min_iou: float = 0.97
    brightness: float = 0.85
    area: tuple[float, float] = (0.12, 0.75)
    border: float = 0.04
    solidity: float = 0.6
    side: int = 420
    padding: float = 0.05


SETTINGS = CutoutSettings()


def cutout_examples(folder: Path, settings: CutoutSettings = SETTINGS) -> Iterator[Example]:
    """Yield garments of the class-labelled photographs as layers with their kind."""
    for file, name in classed(folder, held_out=False):
        photo = read(folder / "unlabelled" / file)
        scale = settings.side / max(photo.shape[:2])
        photo = np.asarray(
            cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8
        )
        cut = accepted(photo, settings)
        if cut is not None:
            example = Example(_layer(cut, settings), layer=True, mask_known=True)
            example.attributes["kind"] = attribute("kind", KIND_OF_CLASS[name])
            yield example


def accepted(photo: NDArray[np.uint8], settings: CutoutSettings = SETTINGS) -> Cutout | None:
    """Return a photograph's garment, or None when its mask is not accepted."""
    darker = np.round(photo[:, ::-1] * settings.brightness).astype(np.uint8)
    try:
        first, second = cut_out(photo), cut_out(darker)
    except GarmentMaskError:
        return None
    mask, again = first.alpha >= 128, second.alpha[:, ::-1] >= 128
    if iou(mask, again) < settings.min_iou or not settings.area[0] < mask.mean() < settings.area[1]:
        return None
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    largest = max(contours, key=cv2.contourArea)
    hull = cv2.contourArea(cv2.convexHull(largest))
    whole = border.mean() <= settings.border and mask.sum() >= settings.solidity * hull
    return first if whole else None


def _layer(cut: Cutout, settings: CutoutSettings) -> NDArray[np.uint8]:
    """Return the garment without background, centred in a stored picture with padding."""
    x0, y0, x1, y1 = bounding_box(cut.alpha >= 128)
    window = (slice(y0, y1), slice(x0, x1))
    rgba, _, _ = letterbox(cut.image[window], cut.alpha[window])
    padded = np.zeros_like(rgba)
    edge = round(settings.padding * SIZE)
    inner = SIZE - 2 * edge
    padded[edge:-edge, edge:-edge] = cv2.resize(rgba, (inner, inner), interpolation=cv2.INTER_AREA)
    return padded
