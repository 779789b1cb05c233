"""Cuts a garment out of its product photograph and places it on the canvas."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from worker.cloth.garment_reader import GarmentReader, GarmentReading
from worker.cloth.landmarks import NAMES, GarmentLandmarks, Sleeve
from worker.cloth.mask import MAX_PIXELS, Cutout
from worker.cloth.separate import Cutter, along_network, read_and_separate
from worker.cloth.suitability import require_suitable
from worker.cloth.trim import without_frame
from worker.cloth.upright import upright
from worker.images.arrays import Canvas, Flags, Image, Mask, Points
from worker.images.frame import HEIGHT, WIDTH, Frame, opencv_matrix


@dataclass(frozen=True)
class Garment:
    """A garment on the canvas.

    Attributes:
        image: RGB uint8 (1024, 768, 3), the garment on light grey (246), VITON-HD's background.
        mask: uint8 (1024, 768), its alpha; 128 and more is garment.
        frame: the position of the upright product photograph on the canvas.
        landmarks: the positions of its collar, shoulders, sleeves and hem.
        attributes: each of `garment_output.ATTRIBUTES` -> {"value", "probability"}.
    """

    image: Canvas
    mask: Mask
    frame: Frame
    landmarks: GarmentLandmarks
    attributes: dict[str, Any]

    @classmethod
    def from_bundle(cls, bundle: Mapping[str, Any]) -> "Garment":
        """Return the garment of a bundle that `bundle` created."""
        return cls(
            bundle["cloth.png"],
            bundle["mask.png"],
            Frame(**bundle["frame.json"]),
            GarmentLandmarks.from_record(bundle["landmarks.json"]),
            bundle["attributes.json"],
        )

    def bundle(self) -> dict[str, Any]:
        """Return the garment as the stage's bundle stores it."""
        return {
            "cloth.png": self.image,
            "mask.png": self.mask,
            "frame.json": self.frame.record(),
            "landmarks.json": self.landmarks.record(),
            "attributes.json": self.attributes,
        }


BACKGROUND = 246
"""The light grey background of VITON-HD's garments."""

BOX_WIDTH, BOX_HEIGHT = 622, 904
"""The box into which VITON-HD's garments are fitted, in the middle of the canvas, pixels."""

LAYOUT_TOLERANCE = 8
"""Distance in pixels by which a picture that already has this layout may differ from it."""

MIN_COVERAGE = 1e-3
"""Lowest weight by which a colour is divided: below it there is no garment."""


@dataclass(frozen=True)
class LandmarkSettings:
    """How landmarks are moved to the outline.

    Attributes:
        reach: largest distance of a landmark from the outline over which it is moved there, share of the
            garment's diagonal: about the error of a landmark of the network.
    """

    reach: float = 0.015


LANDMARKS = LandmarkSettings()

_INSIDE = ("neck_front",)
"""Landmarks inside the outline: above the front of the collar the inside of the back is visible."""

_SLEEVES: Mapping[str, Sleeve] = {
    **{"none": "sleeveless", "strap": "straps", "cap": "sleeveless"},
    **{"short": "short", "elbow": "short", "long": "long"},
}
"""Sleeve that the network reads -> the kind that an engine places. A cap sleeve is a wide shoulder."""


def prepare(
    image: Image, reader: GarmentReader, cut: Cutter | None = None, category: str = "upper_body"
) -> Garment:
    """Return the garment of a product photograph, RGB uint8 (h, w, 3), on the canvas.

    The garment is rotated upright if it leans much, scaled by one factor, never stretched, and centred with
    the margins of VITON-HD's pictures. An upright photograph that already has this layout keeps the
    positions of its pixels.

    Args:
        image: the photograph.
        reader: reads its mask, landmarks and attributes.
        cut: cuts the garment out, in a picture of at most about MAX_PIXELS; None for the colours and the
            reader's mask.
        category: one of `suitability.CATEGORIES`.

    Raises:
        GarmentUnsuitableError: the photograph does not show one whole garment of the category.
        GarmentMaskError: the garment cannot be separated from its background.
    """
    photo, to_image = _bounded(image)
    cutout, reading = upright(*_cut_out(photo, reader, cut, category))
    layout = _layout(cutout.alpha)
    mask = layout.to_canvas(cutout.alpha)
    scale = float(to_image[0, 0])
    height, width = round(cutout.alpha.shape[0] * to_image[1, 1]), round(cutout.alpha.shape[1] * scale)
    return Garment(
        _composite(cutout, layout, mask),
        mask,
        Frame(layout.scale / scale, layout.left, layout.top, width, height),
        _landmarks(reading, layout, mask),
        _attributes(reading),
    )


def _cut_out(
    photo: Image, reader: GarmentReader, cut: Cutter | None, category: str = "upper_body"
) -> tuple[Cutout, GarmentReading]:
    if cut is not None:
        reading = reader.read(photo)
        require_suitable(photo, reading, category)
        return cut(photo), reading
    garment = read_and_separate(photo, reader)
    require_suitable(photo, garment.reading, category)
    return garment.cutout or along_network(photo, garment.reading), garment.reading


def suitable_reading(image: Image, reader: GarmentReader) -> tuple[GarmentReading, Flags]:
    """Return the reading and the mask, bool (h, w), of a photograph at its own size, RGB uint8 (h, w, 3).

    It is what `prepare` works with, before the garment is placed on the canvas. Raises as `prepare`.
    """
    photo, to_image = _bounded(image)
    cutout, reading = _cut_out(photo, reader, None)
    alpha = cv2.warpAffine(cutout.alpha, opencv_matrix(to_image)[:2], image.shape[1::-1])
    return reading.moved(to_image), np.asarray(alpha >= 128)


def _bounded(image: Image) -> tuple[Image, NDArray[np.float64]]:
    """Return a photograph without its frame and of at most MAX_PIXELS, and the map from it to the image."""
    photo, (left, top) = without_frame(image)
    height, width = photo.shape[:2]
    shrink = min(1.0, (MAX_PIXELS / (height * width)) ** 0.5)
    if shrink < 1:
        small = cv2.resize(photo, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        photo = np.asarray(small, np.uint8)
    to_image = [[width / photo.shape[1], 0, left], [0, height / photo.shape[0], top]]
    return photo, np.array(to_image, np.float64)


def _landmarks(reading: GarmentReading, layout: Frame, mask: Mask) -> GarmentLandmarks:
    """Return the landmarks on the canvas, moved to the outline where they are close to it."""
    points = layout.points_to_canvas(reading.points)
    confidence = {name: round(float(c), 3) for name, c in zip(NAMES, reading.confidence, strict=True)}
    sleeve = _SLEEVES[reading.best("sleeve")]
    index = {name: i for i, name in enumerate(NAMES)}
    if sleeve in ("sleeveless", "straps"):
        for side in ("r", "l"):
            for cuff, end in (("cuff_outer", "shoulder"), ("cuff_inner", "armpit")):
                points[index[f"{side}_{cuff}"]] = points[index[f"{side}_{end}"]]
                confidence[f"{side}_{cuff}"] = confidence[f"{side}_{end}"]
    outlined = on_outline(points, mask >= 128)
    return GarmentLandmarks(
        {name: outlined[i] if name not in _INSIDE else points[i] for name, i in index.items()},
        confidence,
        sleeve,
    )


def on_outline(points: Points, solid: Flags, settings: LandmarkSettings = LANDMARKS) -> Points:
    """Return points, float32 (n, 2), moved to the outline of an area, bool (h, w), if close to it."""
    contours, _ = cv2.findContours(solid.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = np.concatenate([contour[:, 0] for contour in contours]).astype(np.float32) + 0.5
    distance, nearest = cKDTree(outline).query(points)
    close = distance <= settings.reach * float(np.linalg.norm(np.ptp(outline, axis=0)))
    return np.where(close[:, None], outline[nearest], points).astype(np.float32)


def _attributes(reading: GarmentReading) -> dict[str, Any]:
    """Return each attribute's most probable value with its probability, as JSON values."""
    return {
        name: {"value": reading.best(name), "probability": round(float(values.max()), 3)}
        for name, values in reading.attributes.items()
    }


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
