"""A training example of any source, and the record in which it is stored."""

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.cloth.garment_output import ATTRIBUTES, PADDING
from worker.cloth.landmarks import NAMES

UNKNOWN = -1
"""An attribute or presence without a label: the loss ignores it."""

SIZE = 240
"""Side of a stored picture, pixels: more than that of the network's input, so that crops stay sharp."""


@dataclass
class Example:
    """A picture and its labels.

    Attributes:
        rgba: uint8 (SIZE, SIZE, 4). For a layer, alpha is the garment's. For a photograph, the picture is
            letterboxed, and alpha is the garment's mask if `mask_known`.
        photo: x0, y0, x1, y1 of the photograph in the picture, pixels; the whole picture for a layer.
        points: float32 (14, 2), x and y in pixels of the picture.
        weights: float32 (14,), the weight of each point in the loss; 0 if it is unknown.
        present: int8 (14,), whether the garment has the point: 0, 1 or UNKNOWN.
        attributes: each of ATTRIBUTES -> index of its value, or UNKNOWN.
        rotation: clockwise angle of the garment's up, degrees; NaN if it is unknown.
        layer: whether the picture is a garment without background, to be composited onto one.
        mask_known: whether alpha separates garment and background.
    """

    rgba: NDArray[np.uint8]
    photo: tuple[float, float, float, float] = (0.0, 0.0, float(SIZE), float(SIZE))
    points: NDArray[np.float32] = field(default_factory=lambda: np.zeros((len(NAMES), 2), np.float32))
    weights: NDArray[np.float32] = field(default_factory=lambda: np.zeros(len(NAMES), np.float32))
    present: NDArray[np.int8] = field(default_factory=lambda: np.full(len(NAMES), UNKNOWN, np.int8))
    attributes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ATTRIBUTES, UNKNOWN))
    rotation: float = float("nan")
    layer: bool = False
    mask_known: bool = False


def attribute(name: str, value: str | None) -> int:
    """Return the index of an attribute's value, UNKNOWN for None. Raises ValueError for another."""
    return UNKNOWN if value is None else ATTRIBUTES[name].index(value)


RECORD = np.dtype(
    [
        ("photo", np.float32, 4),
        ("points", np.float32, (len(NAMES), 2)),
        ("weights", np.float32, len(NAMES)),
        ("present", np.int8, len(NAMES)),
        ("attributes", np.int8, len(ATTRIBUTES)),
        ("rotation", np.float32),
        ("layer", np.bool_),
        ("mask_known", np.bool_),
    ]
)
"""The stored form of an Example without its picture."""


def record(example: Example) -> bytes:
    """Return the labels of an example as the bytes of one RECORD."""
    row = np.zeros((), RECORD)
    row["photo"], row["points"], row["weights"] = example.photo, example.points, example.weights
    row["present"] = example.present
    row["attributes"] = [example.attributes[name] for name in ATTRIBUTES]
    row["rotation"], row["layer"], row["mask_known"] = example.rotation, example.layer, example.mask_known
    return row.tobytes()


def from_record(rgba: NDArray[np.uint8], row: np.void) -> Example:
    """Return the example of a stored picture and its RECORD."""
    x0, y0, x1, y1 = (float(value) for value in row["photo"])
    return Example(
        rgba,
        (x0, y0, x1, y1),
        row["points"].copy(),
        row["weights"].copy(),
        row["present"].copy(),
        {name: int(value) for name, value in zip(ATTRIBUTES, row["attributes"], strict=True)},
        float(row["rotation"]),
        bool(row["layer"]),
        bool(row["mask_known"]),
    )


def letterbox(
    photo: NDArray[np.uint8], mask: NDArray[np.uint8] | None = None
) -> tuple[NDArray[np.uint8], tuple[float, float, float, float], float]:
    """Fit a photograph, uint8 (h, w, 3), into a stored picture.

    Returns the picture, uint8 (SIZE, SIZE, 4) with the mask as alpha, the box of the photograph in it
    (x0, y0, x1, y1, pixels), and the scale from the photograph to the picture.
    """
    height, width = photo.shape[:2]
    scale = SIZE / max(height, width)
    wide, high = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (SIZE - wide) // 2, (SIZE - high) // 2
    picture = np.full((SIZE, SIZE, 4), PADDING, np.uint8)
    picture[..., 3] = 0
    inside = picture[top : top + high, left : left + wide]
    inside[..., :3] = cv2.resize(photo, (wide, high), interpolation=cv2.INTER_AREA)
    if mask is not None:
        inside[..., 3] = cv2.resize(mask, (wide, high), interpolation=cv2.INTER_AREA)
    return picture, (float(left), float(top), float(left + wide), float(top + high)), scale
