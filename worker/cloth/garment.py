"""Cuts a garment out of its product photograph and lays it on the canvas."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from worker.cloth.landmarks import GarmentLandmarks, find
from worker.cloth.mask import MAX_PIXELS, Cutout, cut_out
from worker.images.arrays import Image
from worker.images.frame import HEIGHT, WIDTH, Frame


@dataclass(frozen=True)
class Garment:
    """A garment on the canvas.

    Attributes:
        image: RGB uint8 (1024, 768, 3), the garment on light grey (246), VITON-HD's background.
        mask: uint8 (1024, 768), its soft alpha; 128 and more is garment.
        frame: where the product photograph lies on the canvas.
        landmarks: where its collar, shoulders, sleeves and hem are.
    """

    image: np.ndarray
    mask: np.ndarray
    frame: Frame
    landmarks: GarmentLandmarks

    @classmethod
    def from_bundle(cls, bundle: Mapping[str, Any]) -> "Garment":
        """Return the garment that `bundle` wrote."""
        return cls(
            bundle["cloth.png"],
            bundle["mask.png"],
            Frame(**bundle["frame.json"]),
            GarmentLandmarks.from_record(bundle["landmarks.json"]),
        )

    def bundle(self) -> dict[str, Any]:
        """Return the garment as the stage's bundle keeps it."""
        return {
            "cloth.png": self.image,
            "mask.png": self.mask,
            "frame.json": self.frame.record(),
            "landmarks.json": self.landmarks.record(),
        }


Cutter = Callable[[Image], Cutout]
"""Tells the garment from its background in a photograph, RGB uint8 (h, w, 3). Raises GarmentMaskError."""

BACKGROUND = 246
"""The light grey that VITON-HD's garments lie on."""

_BOX = (622, 904)
"""The width and height that VITON-HD's garments are fitted into, about the canvas's middle."""

_ROUNDING = 8  # pixels by which a picture that is laid out so already may be off


def prepare(image: np.ndarray, cut: Cutter = cut_out) -> Garment:
    """Return the garment of a product photograph, RGB uint8 (h, w, 3), laid out on the canvas.

    The garment is scaled evenly, never stretched, and centred with the margins of VITON-HD's pictures; a
    photograph that is laid out so already keeps its pixels' places. `cut` tells the garment from its
    background, in a picture of at most about MAX_PIXELS. Raises GarmentMaskError when it cannot, or when
    the garment has no shape of an upper-body garment.
    """
    height, width = image.shape[:2]
    shrink = min(1.0, (MAX_PIXELS / (height * width)) ** 0.5)
    if shrink < 1:
        image = cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    cutout = cut(image)

    small = _lay_out(cutout.alpha)
    mask = small.to_canvas(cutout.alpha)
    # Colours are scaled weighted by alpha, so that none bleeds in from beyond the garment.
    share = cutout.alpha.astype(np.float32)[..., None] / 255
    weighted = small.to_canvas(cutout.image * share)
    weight = small.to_canvas(share[..., 0])[..., None]
    colours = weighted / np.maximum(weight, 1e-3)
    alpha = mask.astype(np.float32)[..., None] / 255
    composed = np.clip(np.round(alpha * colours + (1 - alpha) * BACKGROUND), 0, 255).astype(np.uint8)

    frame = Frame(small.scale * image.shape[1] / width, small.left, small.top, width, height)
    return Garment(composed, mask, frame, find(mask))


def _lay_out(alpha: np.ndarray) -> Frame:
    """Return the frame that fits the garment into the box about the canvas's middle."""
    rows, columns = np.nonzero((alpha >= 128).any(1))[0], np.nonzero((alpha >= 128).any(0))[0]
    x0, x1, y0, y1 = columns[0], columns[-1] + 1, rows[0], rows[-1] + 1
    height, width = alpha.shape
    scale = min(_BOX[0] / (x1 - x0), _BOX[1] / (y1 - y0))
    left, top = WIDTH / 2 - scale * (x0 + x1) / 2, HEIGHT / 2 - scale * (y0 + y1) / 2
    if (width, height) == (WIDTH, HEIGHT):
        off = (
            max(abs(left + scale * x - x) for x in (x0, x1)),
            max(abs(top + scale * y - y) for y in (y0, y1)),
        )
        if max(off) <= _ROUNDING:
            return Frame(1.0, 0.0, 0.0, width, height)
    return Frame(float(scale), float(left), float(top), width, height)
