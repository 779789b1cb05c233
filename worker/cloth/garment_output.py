"""What the garment network takes and gives, for every way of running it."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

KINDS = ("top", "outerwear", "dress", "trousers", "skirt", "shoes", "other")
SLEEVES = ("none", "strap", "cap", "short", "elbow", "long")
NECKLINES = (
    *("crew", "v", "scoop", "boat", "square", "high"),
    *("collar", "halter", "off-shoulder", "strapless", "hood", "other"),
)
FRONTS = ("closed", "button", "open")
VIEWS = ("front", "back")
SUPPORTS = ("flat", "hanger", "mannequin", "worn", "folded")
WHOLES = ("cut off", "whole")

ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "kind": KINDS,
    "sleeve": SLEEVES,
    "neckline": NECKLINES,
    "front": FRONTS,
    "view": VIEWS,
    "support": SUPPORTS,
    "whole": WHOLES,
}
"""Each attribute that the network tells -> its values, in the order of the network's outputs."""

HEATMAP_STRIDE = 4
"""Input pixels per cell of a landmark's map."""

MASK_STRIDE = 2
"""Input pixels per cell of the mask."""

PADDING = 128
"""Level of the padding around a photograph in the input."""

SIZE_FACTOR = 32
"""The input's sides are multiples of this: the encoder halves them five times."""


class GarmentOutput(NamedTuple):
    """What the network returns for n pictures of (h, w), before any softmax; float32.

    Attributes:
        mask: (n, 1, h / 2, w / 2) logits of garment.
        maps: (n, 14, h / 4, w / 4) logits of where each landmark is; a softmax over all cells follows.
        present: (n, 14) logits of whether the garment has the landmark.
        attributes: each of ATTRIBUTES -> (n, number of values) logits.
    """

    mask: NDArray[np.float32]
    maps: NDArray[np.float32]
    present: NDArray[np.float32]
    attributes: dict[str, NDArray[np.float32]]


Forward = Callable[[NDArray[np.uint8]], GarmentOutput]
"""Runs the network on RGB pictures, uint8 (n, h, w, 3); h and w are multiples of SIZE_FACTOR."""
