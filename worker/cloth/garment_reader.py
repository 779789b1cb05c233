"""Reads a garment photograph with the garment network: first the whole photograph, then an upright crop."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from worker.cloth.garment_model import load_forward
from worker.cloth.garment_output import (
    ATTRIBUTES,
    HEATMAP_STRIDE,
    MASK_STRIDE,
    PADDING,
    SLEEVES,
    Forward,
    GarmentOutput,
)
from worker.cloth.landmarks import MIRROR, NAMES
from worker.images.frame import opencv_matrix


@dataclass(frozen=True)
class ReaderSettings:
    """How a photograph is read.

    Attributes:
        size: side of the network's input, pixels; the size it was trained at.
        margin: padding around the photograph in the first pass, share of its longer side: landmarks may be
            slightly outside.
        crop_margin: padding around the garment in the second pass, share of its longer side; in training
            garments fill 50–98 % of the input.
        grey: value of the padding, as in training.
        window: cells on each side of a heatmap's peak that are averaged for the landmark's position.
        min_confidence: a landmark of the first pass with less is not used for the crop of the second.
        mirrored: whether each pass also reads the mirrored picture and averages both.
        passes: most passes: the whole photograph, then upright crops.
        structure_window: side of the window in which a picture is looked at for structure, input pixels.
        min_structure: least difference of brightness in a window with structure, grey levels; a plain ground
            has less, JPEG artefacts included.
        min_structured: a region of the mask with less structure, share of its pixels, is blank ground that
            the network has taken for a garment: a garment has at least an outline.
        upright: rotation of a garment in a crop below which no further pass follows, degrees; most training
            inputs are rotated by less.
    """

    size: int = 160
    margin: float = 0.05
    crop_margin: float = 0.09
    grey: int = PADDING
    window: int = 3
    min_confidence: float = 0.3
    mirrored: bool = True
    passes: int = 4
    upright: float = 12.0
    structure_window: int = 7
    min_structure: int = 8
    min_structured: float = 0.05


SETTINGS = ReaderSettings()

SLEEVE_LENGTHS: Mapping[str, tuple[float, float]] = {
    **{"cap": (0.20, 0.08), "short": (0.44, 0.10), "elbow": (0.68, 0.12), "long": (1.4, 0.35)},
}
"""Sleeve -> mean and standard deviation of the length of its outer edge, shoulder widths.

Measured on the 110 labelled `train` photographs; `elbow`, of which they have one, on drawn garments.
"""

_TOP_END = ("r_neck", "l_neck", "neck_front", "r_shoulder", "l_shoulder")
_BOTTOM_END = ("r_hem", "l_hem", "hem_centre")
"""Landmarks from whose middles a garment's rotation is measured."""

MIN_END_CONFIDENCE = 0.1
"""Least confidence of the best landmark at an end: below it the place is a guess."""

MIN_SLEEVE_CONFIDENCE = 0.25
"""A shoulder or cuff with less confidence is not used to measure a sleeve."""

MIN_LENGTH_LIKELIHOOD = 1e-3
"""Added to every likelihood of a sleeve's length, so that an unusual length excludes no kind of sleeve."""

_TINY = 1e-12
"""Keeps a division by a sum of probabilities finite."""

_REGION_THRESHOLD = 0.1
"""A region of the mask extends to this probability."""

MASK_THRESHOLD = 0.5
"""A pixel of the mask with this probability or more is garment."""


@dataclass(frozen=True)
class GarmentReading:
    """What the network reads in a photograph.

    Attributes:
        mask: float32 (h, w), 0..1: the probability that a pixel of the last input is garment.
        mask_to_photo: float64 (2, 3), from pixels of `mask` to pixels of the photograph.
        points: float32 (14, 2), the landmarks of NAMES: x, y in pixels of the photograph, pixel centres at
            whole numbers plus one half. They may be slightly outside.
        confidence: float32 (14,), 0..1: that the garment has the landmark, and has it at this point.
        attributes: each of ATTRIBUTES -> probabilities of its values, float32.
        rotation: clockwise angle from the photograph's up to the garment's up, degrees, −180..180.
    """

    mask: NDArray[np.float32]
    mask_to_photo: NDArray[np.float64]
    points: NDArray[np.float32]
    confidence: NDArray[np.float32]
    attributes: dict[str, NDArray[np.float32]]
    rotation: float

    def best(self, attribute: str) -> str:
        """Return the most probable value of an attribute."""
        return ATTRIBUTES[attribute][int(np.argmax(self.attributes[attribute]))]

    def probability(self, attribute: str, values: Sequence[str]) -> float:
        """Return the probability that an attribute has one of these values."""
        indices = [ATTRIBUTES[attribute].index(value) for value in values]
        return float(self.attributes[attribute][indices].sum())

    def sure(self, attribute: str, value: str, probability: float) -> bool:
        """Return whether an attribute has a value with at least this probability."""
        return self.probability(attribute, (value,)) >= probability

    def moved(self, matrix: NDArray[np.float64]) -> "GarmentReading":
        """Return the reading of the photograph after a similarity transform.

        matrix: float64 (2, 3), from points of the photograph to points of the transformed photograph.
        """
        whole = np.vstack([self.mask_to_photo, [0, 0, 1]])
        points = self.points @ matrix[:, :2].T + matrix[:, 2]
        return replace(
            self,
            mask_to_photo=matrix @ whole,
            points=points.astype(np.float32),
            rotation=_wrap(self.rotation + _angle_of(matrix)),
        )

    def mask_of_photo(self, height: int, width: int) -> NDArray[np.float32]:
        """Return the mask at the photograph's resolution, float32 (height, width), 0..1."""
        return _warped(self.mask, self.mask_to_photo, (width, height), 0.0)


@dataclass(frozen=True)
class _Pass:
    """The result of one pass, in pixels of the network's input.

    `structured`, bool (14,), is whether the input has any structure at each point.
    """

    mask: NDArray[np.float32]
    points: NDArray[np.float64]
    confidence: NDArray[np.float32]
    attributes: dict[str, NDArray[np.float32]]
    rotation: float
    structured: NDArray[np.bool_]


class GarmentReader:
    """Reads photographs with a garment network.

    Args:
        forward: runs the network.
        size: side of the input, pixels; None for that of the settings.
        settings: how a photograph is read.
    """

    def __init__(
        self, forward: Forward, size: int | None = None, settings: ReaderSettings = SETTINGS
    ) -> None:
        self.forward = forward
        self.settings = settings
        self.size = size or settings.size

    @classmethod
    def load(cls, file: Path, settings: ReaderSettings = SETTINGS) -> "GarmentReader":
        """Return a reader with an ONNX file of `tryon garment export`. Raises WeightsMissingError."""
        return cls(load_forward(file), settings=settings)

    def read(self, photo: NDArray[np.uint8]) -> GarmentReading:
        """Return the reading of a photograph, RGB uint8 (h, w, 3)."""
        height, width = photo.shape[:2]
        to_input = self._letterbox(height, width)
        first = last = self._run(photo, to_input)
        for number in range(1, self.settings.passes):
            if number > 1 and abs(last.rotation) < self.settings.upright:
                break
            to_input = self._upright_crop(last, to_input)
            last = self._run(photo, to_input)
        attributes = first.attributes if last is first else _merge(first, last)
        rotation = _wrap(last.rotation - _angle_of(to_input))
        to_photo = np.asarray(cv2.invertAffineTransform(to_input), np.float64)
        points = last.points @ to_photo[:, :2].T + to_photo[:, 2]
        mask_to_photo = to_photo @ np.diag([MASK_STRIDE, MASK_STRIDE, 1.0])
        return GarmentReading(
            last.mask, mask_to_photo, points.astype(np.float32), last.confidence, attributes, rotation
        )

    def _letterbox(self, height: int, width: int) -> NDArray[np.float64]:
        """Return the map to an input that shows the whole photograph, (2, 3)."""
        scale = self.size / (max(height, width) * (1 + 2 * self.settings.margin))
        shift = self.size / 2 - scale * np.array([width, height]) / 2
        return np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])

    def _upright_crop(self, first: _Pass, to_input: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the map from the photograph to an upright crop around the garment, (2, 3)."""
        angle = np.deg2rad(-first.rotation)
        spin = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        corners = _enclosing_points(first, self.settings.min_confidence) @ spin.T
        low, high = corners.min(0), corners.max(0)
        scale = self.size / (float((high - low).max()) * (1 + 2 * self.settings.crop_margin))
        linear = scale * spin
        shift = self.size / 2 - scale * (low + high) / 2
        return np.column_stack([linear @ to_input[:, :2], linear @ to_input[:, 2] + shift])

    def _run(self, photo: NDArray[np.uint8], to_input: NDArray[np.float64]) -> _Pass:
        """Return the result of the network for the input that a map makes of the photograph."""
        picture = _resample(photo, to_input, self.size, self.settings.grey)
        batch = np.stack([picture, picture[:, ::-1]]) if self.settings.mirrored else picture[None]
        output = self.forward(np.ascontiguousarray(batch))
        return decode(output, _structure(picture, self.settings), self.settings)


def sleeve_by_length(
    probabilities: NDArray[np.float32],
    points: NDArray[np.float64],
    confidence: NDArray[np.float32],
    min_confidence: float = MIN_SLEEVE_CONFIDENCE,
) -> NDArray[np.float32]:
    """Return the sleeve's probabilities, multiplied by the likelihood of the measured sleeve length.

    Only the kinds in SLEEVE_LENGTHS change; the sum of their probabilities stays.

    Args:
        probabilities: of each of SLEEVES.
        points, confidence: of each of NAMES, (14, 2) and (14,).
        min_confidence: a side is measured if its shoulder and cuff have at least this confidence; without
            such a side the probabilities are returned unchanged.
    """
    index = {name: i for i, name in enumerate(NAMES)}
    width = float(np.linalg.norm(points[index["l_shoulder"]] - points[index["r_shoulder"]]))
    lengths = [
        float(np.linalg.norm(points[index[f"{side}_cuff_outer"]] - points[index[f"{side}_shoulder"]]))
        for side in "rl"
        if min(confidence[index[f"{side}_{name}"]] for name in ("shoulder", "cuff_outer")) >= min_confidence
    ]
    if not lengths or width <= 0:
        return probabilities
    length = float(np.mean(lengths)) / width
    posterior = probabilities.astype(np.float64)
    measured = [SLEEVES.index(name) for name in SLEEVE_LENGTHS]
    posterior[measured] *= [
        np.exp(-0.5 * ((length - mean) / spread) ** 2) / spread + MIN_LENGTH_LIKELIHOOD
        for mean, spread in SLEEVE_LENGTHS.values()
    ]
    posterior[measured] *= float(probabilities[measured].sum()) / max(float(posterior[measured].sum()), _TINY)
    return posterior.astype(np.float32)


def _merge(first: _Pass, second: _Pass) -> dict[str, NDArray[np.float32]]:
    """Return the attributes of both passes: their mean, except where one of them knows better."""
    attributes = {
        name: np.asarray((values + second.attributes[name]) / 2, np.float32)
        for name, values in first.attributes.items()
    }
    # A crop does not show whether the garment continues outside of it; the whole photograph does.
    attributes["whole"] = first.attributes["whole"]
    attributes["sleeve"] = sleeve_by_length(attributes["sleeve"], second.points, second.confidence)
    return attributes


def decode(output: GarmentOutput, structure: NDArray[np.bool_], settings: ReaderSettings = SETTINGS) -> _Pass:
    """Return the result of the network's output for one picture, or for a picture and its mirror image.

    structure: bool (size, size), where the picture is not blank.
    """
    maps = softmax(output.maps, axis=(2, 3))
    mask, present = expit(output.mask), expit(output.present)
    if len(maps) == 2:
        order = list(MIRROR)
        maps = (maps[:1] + maps[1:, order, :, ::-1]) / 2
        mask = (mask[:1] + mask[1:, ..., ::-1]) / 2
        present = (present[:1] + present[1:, order]) / 2
    points, mass = peaks(maps[0], settings.window)
    attributes = {
        name: np.asarray(softmax(logits, axis=1).mean(0), np.float32)
        for name, logits in output.attributes.items()
    }
    confidence = mass * present[0]
    rotation = rotation_of(points, confidence)
    inside = np.clip(np.floor(points).astype(int), 0, len(structure) - 1)
    structured = np.asarray(structure[inside[:, 1], inside[:, 0]])
    garment = _without_blank_regions(np.asarray(mask[0, 0], np.float32), structure, settings)
    return _Pass(garment, points, confidence, attributes, rotation, structured)


def _structure(picture: NDArray[np.uint8], settings: ReaderSettings) -> NDArray[np.bool_]:
    """Return where an input, RGB uint8 (size, size, 3), is not blank, bool (size, size)."""
    window = np.ones((settings.structure_window,) * 2, np.uint8)
    span = cv2.dilate(picture, window).astype(np.int16) - cv2.erode(picture, window)
    return np.asarray(span.max(2) >= settings.min_structure)


def _without_blank_regions(
    mask: NDArray[np.float32], structure: NDArray[np.bool_], settings: ReaderSettings
) -> NDArray[np.float32]:
    """Return the mask, float32 (h, w), without the regions in which the picture shows nothing."""
    high, wide = mask.shape
    small = cv2.resize(structure.astype(np.uint8), (wide, high), interpolation=cv2.INTER_NEAREST) > 0
    # Down to a low probability, so that no rim of a removed region stays.
    count, regions = cv2.connectedComponents((mask >= _REGION_THRESHOLD).astype(np.uint8), connectivity=4)
    kept = mask.copy()
    for number in range(1, count):
        region = regions == number
        solid = region & (mask >= MASK_THRESHOLD)
        if solid.any() and float(small[solid].mean()) < settings.min_structured:
            kept[region] = 0
    return kept


def rotation_of(points: NDArray[np.float64], confidence: NDArray[np.float32]) -> float:
    """Return the clockwise rotation of a garment's up, degrees: from the middle of its hem to its neck.

    The network's features hardly tell a garment from its mirror image, so that a head of the network would
    confuse a garment that lies on its left with one on its right; the landmarks' places do not.

    Args:
        points: the landmarks, (14, 2).
        confidence: of each, (14,). Without hem or neck, or with both at one place, the garment counts as
            upright.
    """
    ends = []
    for names in (_TOP_END, _BOTTOM_END):
        weights = confidence[[NAMES.index(name) for name in names]].astype(np.float64)
        if weights.max() < MIN_END_CONFIDENCE:
            return 0.0
        ends.append(weights @ points[[NAMES.index(name) for name in names]] / weights.sum())
    x, y = ends[0] - ends[1]
    if np.hypot(x, y) < HEATMAP_STRIDE:
        return 0.0
    return float(np.rad2deg(np.arctan2(x, -y)))


def peaks(maps: NDArray[np.float32], window: int) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return the positions of heatmaps' peaks, input pixels (n, 2), and the probability around them, (n,).

    A position is the mean over a window around the highest cell: more precise than a cell, and not affected
    by a second peak, as the mean over the whole heatmap would be.

    Args:
        maps: probabilities, (n, h, w).
        window: cells on each side of the highest cell.
    """
    count, height, width = maps.shape
    points, mass = np.zeros((count, 2)), np.zeros(count, np.float32)
    for index, single in enumerate(maps):
        row, column = divmod(int(np.argmax(single)), width)
        rows = np.arange(max(0, row - window), min(height, row + window + 1))
        columns = np.arange(max(0, column - window), min(width, column + window + 1))
        part = single[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.float64)
        total = max(float(part.sum()), _TINY)
        x, y = float((part.sum(0) * columns).sum() / total), float((part.sum(1) * rows).sum() / total)
        points[index] = (x + 0.5) * HEATMAP_STRIDE, (y + 0.5) * HEATMAP_STRIDE
        mass[index] = total
    return points, mass


def _enclosing_points(result: _Pass, min_confidence: float) -> NDArray[np.float64]:
    """Return points around the garment, input pixels (n, 2): landmarks and the outline of the mask."""
    # A landmark is on an outline: where the picture is blank there is none.
    parts = [result.points[(result.confidence >= min_confidence) & result.structured]]
    solid = (result.mask >= MASK_THRESHOLD).astype(np.uint8)
    contours, _ = cv2.findContours(solid, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if contours:
        largest = max(contours, key=cv2.contourArea)
        parts.append((largest[:, 0].astype(np.float64) + 0.5) * MASK_STRIDE)
    corners = np.concatenate(parts)
    if len(corners) < 3:
        side = result.mask.shape[0] * MASK_STRIDE
        return np.array([[0, 0], [side, 0], [0, side], [side, side]], float)
    return corners


def _resample(
    photo: NDArray[np.uint8], to_input: NDArray[np.float64], size: int, grey: int
) -> NDArray[np.uint8]:
    """Return the input, RGB uint8 (size, size, 3); a large photograph is first shrunk by area: no moiré."""
    scale = float(np.sqrt(abs(np.linalg.det(to_input[:, :2]))))
    if scale < 1:
        height, width = photo.shape[:2]
        small = (max(1, round(width * scale)), max(1, round(height * scale)))
        photo = np.asarray(cv2.resize(photo, small, interpolation=cv2.INTER_AREA), np.uint8)
        to_input = to_input @ np.diag([width / small[0], height / small[1], 1.0])
    return np.asarray(_warped(photo, to_input, (size, size), grey), np.uint8)


def _warped(
    picture: NDArray[np.floating[Any] | np.integer[Any]],
    matrix: NDArray[np.float64],
    size: tuple[int, int],
    fill: float,
) -> NDArray[np.float32]:
    """Return a picture resampled by a map of its points, (2, 3), to a picture of (width, height)."""
    moved = cv2.warpAffine(
        picture,
        opencv_matrix(matrix)[:2],
        size,
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(fill,) * 4,
    )
    return np.asarray(moved, np.float32)


def _angle_of(matrix: NDArray[np.float64]) -> float:
    """Return the clockwise rotation of a similarity transform, degrees."""
    return float(np.rad2deg(np.arctan2(matrix[1, 0], matrix[0, 0])))


def _wrap(degrees: float) -> float:
    """Return the same angle in −180..180 degrees."""
    return (degrees + 180) % 360 - 180
