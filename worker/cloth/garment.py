"""Cuts a garment out of its product photograph and lays it on the canvas."""

from dataclasses import dataclass

import numpy as np

from worker.frame import Frame


@dataclass(frozen=True)
class Garment:
    """A garment on the canvas.

    Attributes:
        image: RGB uint8 (1024, 768, 3), the garment on light grey (246), VITON-HD's background.
        mask: uint8 (1024, 768), its soft alpha; 128 and more is garment.
        frame: where the product photograph lies on the canvas.
    """

    image: np.ndarray
    mask: np.ndarray
    frame: Frame
