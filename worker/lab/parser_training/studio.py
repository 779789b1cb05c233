"""Makes studio photographs out of street photographs: the person alone in front of a light wall."""

import cv2
import numpy as np

from worker.images.arrays import Floats, Image, Labels
from worker.lab.parser_training.ccp import BACKGROUND


def on_wall(image: Image, classes: Labels, rng: np.random.Generator) -> Image:
    """Return the picture, RGB uint8 (h, w, 3), with a plain light wall behind the person.

    Shops photograph people in front of walls from mid grey to white, unevenly lit, with a smooth shadow.
    The outline is blurred by about a pixel, so that the network cannot learn the edge of the cut-out.

    Args:
        image: RGB uint8 (h, w, 3).
        classes: uint8 (h, w), BACKGROUND where the wall goes.
        rng: chooses wall, light and shadow.
    """
    rows, columns = classes.shape
    person = (classes != BACKGROUND).astype(np.float32)
    wall = _wall(rows, columns, rng)
    if rng.random() < 0.5:
        shift = np.array([[1, 0, rng.uniform(-25, 25)], [0, 1, rng.uniform(0, 15)]])
        shadow = cv2.GaussianBlur(cv2.warpAffine(person, shift, (columns, rows)), (0, 0), rng.uniform(8, 20))
        wall *= 1 - rng.uniform(0.05, 0.25) * shadow[..., None]
    # The labels' outline contains a rim of street: erode it before blurring.
    inner = cv2.erode(person, np.ones((3, 3), np.uint8))
    alpha = cv2.GaussianBlur(inner, (0, 0), rng.uniform(0.5, 1.0))[..., None]
    blended = alpha * image + (1 - alpha) * wall
    return np.asarray(np.clip(np.rint(blended), 0, 255), np.uint8)


def _wall(rows: int, columns: int, rng: np.random.Generator) -> Floats:
    """Return a tinted grey wall with a gradient, vignette and grain, float64 (rows, columns, 3), levels."""
    light = rng.uniform(170, 252)
    tint = rng.normal(0, 2.5, 3)
    y, x = np.mgrid[0 : 1 : rows * 1j, 0 : 1 : columns * 1j]
    gradient = rng.normal(0, 8) * (x - 0.5) + rng.normal(0, 10) * (y - 0.5)
    vignette = -rng.uniform(0, 15) * ((x - 0.5) ** 2 + (y - 0.5) ** 2)
    grain = rng.normal(0, rng.uniform(0, 1.5), (rows, columns))
    return np.asarray((light + gradient + vignette + grain)[..., None] + tint)
