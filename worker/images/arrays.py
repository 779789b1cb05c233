"""Types of the arrays that modules pass to each other: they name the content, not the exact size."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""An RGB picture of any size, (h, w, 3)."""

Canvas = NDArray[np.uint8]
"""An RGB picture of the canvas, (1024, 768, 3)."""

Mask = NDArray[np.uint8]
"""A mask, (h, w): 128 and more is inside. In an alpha mask the value is the coverage, 255 is full."""

Labels = NDArray[np.uint8]
"""One label per pixel, (h, w)."""

Flags = NDArray[np.bool_]
"""One truth value per pixel or item."""

Floats = NDArray[np.floating[Any]]
"""Real values of any shape: scores, weights, distances."""

Points = NDArray[np.floating[Any]]
"""Coordinates, (..., 2): x to the right, y down, pixels."""

Indices = NDArray[np.intp]
"""Positions in another array."""
