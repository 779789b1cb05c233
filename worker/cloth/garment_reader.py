"""Reads a garment photograph with the garment network: first all of it, then an upright close crop."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from config.errors import GarmentMaskError
from worker.cloth.garment_network import (
    ATTRIBUTES,
    HEATMAP_STRIDE,
    MASK_STRIDE,
    SLEEVES,
    GarmentNetwork,
    NetworkOutput,
    normalize,
)
from worker.cloth.landmarks import NAMES
from worker.weights.checkpoint import load_state_dict, shapes

WEIGHTS = Path(__file__).parent / "model" / "garment.safetensors"


@dataclass(frozen=True)
class ReaderSettings:
    """How a photograph is read.

    Attributes:
        size: sides of the network's input, pixels; what it was trained at.
        margin: room left around the photograph in the first pass, share of its longer side: landmarks may lie
            a little outside.
        crop_margin: room left around the garment in the second pass, share of its longer side; the
            training shows garments that fill 50–98 % of the input.
        grey: level around the photograph, as in training.
        window: cells on each side of a map's peak whose mean is the landmark's place.
        sure: confidence from which a landmark of the first pass counts for the second's crop.
        mirrored: whether each pass reads the mirrored picture too and takes the mean.
        passes: 1 or 2.
    """

    size: int = 160
    margin: float = 0.05
    crop_margin: float = 0.09
    grey: int = 128
    window: int = 3
    sure: float = 0.3
    mirrored: bool = True
    passes: int = 2


SETTINGS = ReaderSettings()

SLEEVE_LENGTHS: Mapping[str, tuple[float, float]] = {
    **{"cap": (0.20, 0.08), "short": (0.44, 0.10), "elbow": (0.68, 0.12), "long": (1.4, 0.35)},
}
"""Sleeve -> mean and standard deviation of its outer edge's length in shoulder widths.

Measured on the 110 labelled `train` photographs; that of `elbow`, of which those have one, by drawn garments.
"""

UPPER_BODY = ("top", "outerwear", "dress")
"""Kinds that are worn on the upper body."""

UPPER_BODY_SURE = 0.5
"""Probability from which a photograph is taken for one of those: the likelier answer wins."""

MIRROR = tuple(
    NAMES.index({"r_": "l_", "l_": "r_"}[name[:2]] + name[2:]) if name[:2] in ("r_", "l_") else index
    for index, name in enumerate(NAMES)
)
"""For each landmark the index of the one that takes its place in a mirrored picture."""


@dataclass(frozen=True)
class GarmentReading:
    """What the network reads in a photograph.

    Attributes:
        mask: float32 (h, w), 0..1: how surely each pixel of the network's last input is garment.
        mask_to_photo: float64 (2, 3), from pixels of `mask` to pixels of the photograph.
        points: float32 (14, 2), the landmarks of NAMES: x, y in pixels of the photograph, pixel centres at
            whole numbers plus one half. They may lie a little outside.
        confidence: float32 (14,), 0..1: that the garment has the landmark and that it is there.
        attributes: each of ATTRIBUTES -> probabilities of its values, float32.
        rotation: degrees by which the garment's up is turned clockwise from the photograph's, −180..180.
    """

    mask: NDArray[np.float32]
    mask_to_photo: NDArray[np.float64]
    points: NDArray[np.float32]
    confidence: NDArray[np.float32]
    attributes: dict[str, NDArray[np.float32]]
    rotation: float

    def best(self, attribute: str) -> str:
        """Return the likeliest value of an attribute."""
        return ATTRIBUTES[attribute][int(np.argmax(self.attributes[attribute]))]

    def probability(self, attribute: str, values: Sequence[str]) -> float:
        """Return how likely it is that an attribute has one of these values."""
        indices = [ATTRIBUTES[attribute].index(value) for value in values]
        return float(self.attributes[attribute][indices].sum())

    def mask_of_photo(self, height: int, width: int) -> NDArray[np.float32]:
        """Return the mask at the photograph's resolution, float32 (height, width), 0..1."""
        return _warped(self.mask, self.mask_to_photo, (width, height), 0.0)


@dataclass(frozen=True)
class _Pass:
    """One look at the photograph, in pixels of the network's input."""

    mask: NDArray[np.float32]
    points: NDArray[np.float64]
    confidence: NDArray[np.float32]
    attributes: dict[str, NDArray[np.float32]]
    rotation: float


class GarmentReader:
    """Reads photographs with a network that is in evaluation mode."""

    def __init__(
        self, network: GarmentNetwork, size: int | None = None, settings: ReaderSettings = SETTINGS
    ) -> None:
        self.network = network.eval().to(memory_format=torch.channels_last)
        self.settings = settings
        self.size = size or settings.size

    @classmethod
    def load(cls, file: Path = WEIGHTS, settings: ReaderSettings = SETTINGS) -> "GarmentReader":
        """Return a reader with the weights of a safetensors file. Raises WeightsMissingError, see there."""
        network = GarmentNetwork()
        weights = load_state_dict(file, shapes(network))
        network.load_state_dict({key: value.float() if value.is_floating_point() else value
                                 for key, value in weights.items()})  # fmt: skip
        return cls(network, settings=settings)

    def read(self, photo: NDArray[np.uint8]) -> GarmentReading:
        """Return what is seen in a photograph, RGB uint8 (h, w, 3)."""
        height, width = photo.shape[:2]
        to_input = self._whole(height, width)
        seen = self._look(photo, to_input)
        if self.settings.passes > 1:
            closer = self._closer(seen, to_input)
            again = self._look(photo, closer)
            turned = _turn_of(to_input) - _turn_of(closer)
            rotation = _wrapped(again.rotation + turned)
            # A close crop cannot tell whether the garment goes on outside: the first look can.
            attributes = {
                name: np.asarray((first + again.attributes[name]) / 2, np.float32)
                for name, first in seen.attributes.items()
            }
            attributes["whole"] = seen.attributes["whole"]
            attributes["sleeve"] = sleeve_by_length(attributes["sleeve"], again.points, again.confidence)
            seen, to_input = again, closer
        else:
            rotation, attributes = seen.rotation, seen.attributes
        to_photo = np.asarray(cv2.invertAffineTransform(to_input), np.float64)
        points = seen.points @ to_photo[:, :2].T + to_photo[:, 2]
        mask_scale = np.diag([MASK_STRIDE, MASK_STRIDE, 1.0])
        mask_to_photo = to_photo @ mask_scale
        return GarmentReading(
            seen.mask, mask_to_photo, points.astype(np.float32), seen.confidence, attributes, rotation
        )

    def read_upper_body(self, photo: NDArray[np.uint8]) -> GarmentReading:
        """Return what is seen. Raises GarmentMaskError when it is no upper-body garment."""
        reading = self.read(photo)
        if not is_upper_body(reading):
            kind = reading.best("kind")
            named = "something else than a garment" if kind == "other" else kind
            raise GarmentMaskError(
                f"The photograph shows {named}: use one of a garment for the upper body, alone and whole."
            )
        return reading

    def _whole(self, height: int, width: int) -> NDArray[np.float64]:
        """Return the map from photograph to input that shows all of it."""
        scale = self.size / (max(height, width) * (1 + 2 * self.settings.margin))
        shift = self.size / 2 - scale * np.array([width, height]) / 2
        return np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])

    def _closer(self, seen: _Pass, to_input: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the map from photograph to input that shows the garment upright and close."""
        angle = np.deg2rad(-seen.rotation)
        spin = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        corners = _outline_points(seen, self.settings.sure) @ spin.T
        low, high = corners.min(0), corners.max(0)
        scale = self.size / (float((high - low).max()) * (1 + 2 * self.settings.crop_margin))
        linear = scale * spin
        shift = self.size / 2 - scale * (low + high) / 2
        return np.column_stack([linear @ to_input[:, :2], linear @ to_input[:, 2] + shift])

    def _look(self, photo: NDArray[np.uint8], to_input: NDArray[np.float64]) -> _Pass:
        picture = _shrunk_and_warped(photo, to_input, self.size, self.settings.grey)
        batch = np.stack([picture, picture[:, ::-1]]) if self.settings.mirrored else picture[None]
        pictures = normalize(torch.from_numpy(np.ascontiguousarray(batch)))
        with torch.inference_mode():
            output = self.network(pictures.contiguous(memory_format=torch.channels_last))
        return decode(output, self.settings)


def sleeve_by_length(
    probabilities: NDArray[np.float32],
    points: NDArray[np.float64],
    confidence: NDArray[np.float32],
    least: float = 0.25,
) -> NDArray[np.float32]:
    """Return the sleeve's probabilities, weighed by how long the landmarks show the sleeves to be.

    How likely it is that there are sleeves at all stays; only which kind they are changes. A side counts
    whose shoulder and cuff are at least so confident; without one nothing changes.

    Args:
        probabilities: of each of SLEEVES.
        points, confidence: of each of NAMES, (14, 2) and (14,).
        least: confidence that a landmark needs.
    """
    index = {name: i for i, name in enumerate(NAMES)}
    width = float(np.linalg.norm(points[index["l_shoulder"]] - points[index["r_shoulder"]]))
    lengths = [
        float(np.linalg.norm(points[index[f"{side}_cuff_outer"]] - points[index[f"{side}_shoulder"]]))
        for side in "rl"
        if min(confidence[index[f"{side}_{name}"]] for name in ("shoulder", "cuff_outer")) >= least
    ]
    if not lengths or width <= 0:
        return probabilities
    length = float(np.mean(lengths)) / width
    weighed = probabilities.astype(np.float64)
    chosen = [SLEEVES.index(name) for name in SLEEVE_LENGTHS]
    likely = [
        np.exp(-0.5 * ((length - mean) / spread) ** 2) / spread + 1e-3
        for mean, spread in SLEEVE_LENGTHS.values()
    ]
    weighed[chosen] *= likely
    weighed[chosen] *= float(probabilities[chosen].sum()) / max(float(weighed[chosen].sum()), 1e-12)
    return weighed.astype(np.float32)


def is_upper_body(reading: GarmentReading, sure: float = UPPER_BODY_SURE) -> bool:
    """Return whether the garment is worn on the upper body, a dress among them."""
    return reading.probability("kind", UPPER_BODY) >= sure


@cache
def reader() -> GarmentReader:
    """Return the reader with the shipped weights, loaded once per process."""
    return GarmentReader.load()


def decode(output: NetworkOutput, settings: ReaderSettings = SETTINGS) -> _Pass:
    """Return what the network's output for one picture, or for a picture and its mirror image, says."""
    maps = output.maps.float().flatten(2).softmax(2).view_as(output.maps)
    mask, present = output.mask.float().sigmoid(), output.present.float().sigmoid()
    turn = output.rotation.float()
    if len(maps) == 2:
        order = list(MIRROR)
        maps = (maps[:1] + maps[1:].flip(3)[:, order]) / 2
        mask = (mask[:1] + mask[1:].flip(3)) / 2
        present = (present[:1] + present[1:, order]) / 2
        turn = turn[:1] + turn[1:] * torch.tensor([-1.0, 1.0])
    points, mass = peaks(maps[0].numpy(), settings.window)
    attributes = {
        name: logits.float().softmax(1).mean(0).numpy() for name, logits in output.attributes.items()
    }
    rotation = float(np.rad2deg(np.arctan2(float(turn[0, 0]), float(turn[0, 1]))))
    return _Pass(mask[0, 0].numpy(), points, mass * present[0].numpy(), attributes, rotation)


def peaks(maps: NDArray[np.float32], window: int) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return the landmarks of probability maps, (n, h, w), in input pixels (n, 2), and the mass there (n,).

    The place is the mean over a window about the highest cell: finer than a cell, and not pulled away by a
    second peak as the mean over the whole map would be.
    """
    count, height, width = maps.shape
    points, mass = np.zeros((count, 2)), np.zeros(count, np.float32)
    for index, single in enumerate(maps):
        row, column = divmod(int(np.argmax(single)), width)
        rows = np.arange(max(0, row - window), min(height, row + window + 1))
        columns = np.arange(max(0, column - window), min(width, column + window + 1))
        part = single[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.float64)
        total = max(float(part.sum()), 1e-12)
        x, y = float((part.sum(0) * columns).sum() / total), float((part.sum(1) * rows).sum() / total)
        points[index] = (x + 0.5) * HEATMAP_STRIDE, (y + 0.5) * HEATMAP_STRIDE
        mass[index] = total
    return points, mass


def _outline_points(seen: _Pass, sure: float) -> NDArray[np.float64]:
    """Return points of the input that hold the garment: sure landmarks and the mask's outline, (n, 2)."""
    found = [seen.points[seen.confidence >= sure]]
    solid = (seen.mask >= 0.5).astype(np.uint8)
    contours, _ = cv2.findContours(solid, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if contours:
        largest = max(contours, key=cv2.contourArea)
        found.append((largest[:, 0].astype(np.float64) + 0.5) * MASK_STRIDE)
    corners = np.concatenate(found)
    if len(corners) < 3:
        side = seen.mask.shape[0] * MASK_STRIDE
        return np.array([[0, 0], [side, 0], [0, side], [side, side]], float)
    return corners


def _shrunk_and_warped(
    photo: NDArray[np.uint8], to_input: NDArray[np.float64], size: int, grey: int
) -> NDArray[np.uint8]:
    """Return the input; a large photograph is shrunk by whole pixels' means first, which leaves no moiré."""
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
    """Return a picture moved by a map between coordinates whose pixel centres are at halves."""
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    whole = np.linalg.inv(half) @ np.vstack([matrix, [0, 0, 1]]) @ half
    moved = cv2.warpAffine(
        picture,
        whole[:2],
        size,
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(fill,) * 4,
    )
    return np.asarray(moved, np.float32)


def _turn_of(matrix: NDArray[np.float64]) -> float:
    """Return by how many degrees a similarity turns clockwise, as the picture is seen."""
    return float(np.rad2deg(np.arctan2(matrix[1, 0], matrix[0, 0])))


def _wrapped(degrees: float) -> float:
    return (degrees + 180) % 360 - 180
