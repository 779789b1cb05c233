"""Cuts a garment out of its product photograph and places it on the canvas."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from worker.cloth.landmarks import GarmentLandmarks, find_landmarks
from worker.cloth.mask import MAX_PIXELS, Cutout, cut_out
from worker.images.arrays import Canvas, Image, Mask
from worker.images.frame import HEIGHT, WIDTH, Frame


@dataclass(frozen=True)
class Garment:
    """A garment on the canvas.

    Attributes:
        image: RGB uint8 (1024, 768, 3), the garment on light grey (246), VITON-HD's background.
        mask: uint8 (1024, 768), its alpha; 128 and more is garment.
        frame: the position of the product photograph on the canvas.
        landmarks: the positions of its collar, shoulders, sleeves and hem.
    """

    image: Canvas
    mask: Mask
    frame: Frame
    landmarks: GarmentLandmarks

    @classmethod
    def from_bundle(cls, bundle: Mapping[str, Any]) -> "Garment":
        """Return the garment of a bundle that `bundle` created."""
        return cls(
            bundle["cloth.png"],
            bundle["mask.png"],
            Frame(**bundle["frame.json"]),
            GarmentLandmarks.from_record(bundle["landmarks.json"]),
        )

    def bundle(self) -> dict[str, Any]:
        """Return the garment as the stage's bundle stores it."""
        return {
            "cloth.png": self.image,
            "mask.png": self.mask,
            "frame.json": self.frame.record(),
            "landmarks.json": self.landmarks.record(),
        }


Cutter = Callable[[Image], Cutout]
"""Separates the garment from its background in a photograph, RGB uint8 (h, w, 3). Raises GarmentMaskError."""

BACKGROUND = 246
"""The light grey background of VITON-HD's garments."""

BOX_WIDTH, BOX_HEIGHT = 622, 904
"""The box into which VITON-HD's garments are fitted, in the middle of the canvas, pixels."""

LAYOUT_TOLERANCE = 8
"""Distance in pixels by which a picture that already has this layout may differ from it."""

MIN_COVERAGE = 1e-3
"""Lowest weight by which a colour is divided: below it there is no garment."""


def prepare(image: Image, cut: Cutter = cut_out) -> Garment:
    """Return the garment of a product photograph, RGB uint8 (h, w, 3), on the canvas.

    The garment is scaled by one factor, never stretched, and centred with the margins of VITON-HD's
    pictures. A photograph that already has this layout keeps the positions of its pixels.

    Args:
        image: the photograph.
        cut: separates the garment from its background, in a picture of at most about MAX_PIXELS.

    Raises GarmentMaskError when the garment cannot be separated, or has no shape of an upper-body garment.
    """
    height, width = image.shape[:2]
    shrink = min(1.0, (MAX_PIXELS / (height * width)) ** 0.5)
    if shrink < 1:
        small = cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        image = np.asarray(small, np.uint8)
    cutout = cut(image)
    layout = _layout(cutout.alpha)
    mask = layout.to_canvas(cutout.alpha)
    frame = Frame(layout.scale * image.shape[1] / width, layout.left, layout.top, width, height)
    return Garment(_composite(cutout, layout, mask), mask, frame, find_landmarks(mask))


def _composite(cutout: Cutout, layout: Frame, mask: Mask) -> Canvas:
    """Return the garment on the background, RGB uint8 (1024, 768, 3)."""
    # Colours are resampled with alpha as their weight, so that none comes from outside the garment.
    weight = cutout.alpha.astype(np.float32)[..., None] / 255
    weighted = layout.to_canvas(np.asarray(cutout.image * weight, np.float32))
    weights = layout.to_canvas(np.asarray(weight[..., 0], np.float32))[..., None]
    colours = weighted / np.maximum(weights, MIN_COVERAGE)
    alpha = mask.astype(np.float32)[..., None] / 255
    composite = np.round(alpha * colours + (1 - alpha) * BACKGROUND)
    return np.clip(composite, 0, 255).astype(np.uint8)


def _layout(alpha: Mask) -> Frame:
    """Return the frame that fits the garment into the box in the middle of the canvas."""
    rows, columns = np.nonzero((alpha >= 128).any(1))[0], np.nonzero((alpha >= 128).any(0))[0]
    x0, x1, y0, y1 = columns[0], columns[-1] + 1, rows[0], rows[-1] + 1
    height, width = alpha.shape
    scale = min(BOX_WIDTH / (x1 - x0), BOX_HEIGHT / (y1 - y0))
    left, top = WIDTH / 2 - scale * (x0 + x1) / 2, HEIGHT / 2 - scale * (y0 + y1) / 2
    if (width, height) == (WIDTH, HEIGHT):
        horizontal_shift = max(abs(left + scale * x - x) for x in (x0, x1))
        vertical_shift = max(abs(top + scale * y - y) for y in (y0, y1))
        if max(horizontal_shift, vertical_shift) <= LAYOUT_TOLERANCE:
            return Frame(1.0, 0.0, 0.0, width, height)
    return Frame(float(scale), float(left), float(top), width, height)
