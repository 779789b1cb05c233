"""Makes studio photographs of street photographs: the person alone, on a light wall, closer."""

import cv2
import numpy as np

from worker.lab.parser_training.ccp import BACKGROUND


def on_wall(image: np.ndarray, classes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the picture, uint8 (h, w, 3), with a plain light wall behind the person.

    Shops photograph people before walls from mid grey to white, lit unevenly, with a soft shadow. The
    outline is softened over a pixel so that the edge that the cut left is nothing to learn from.
    """
    rows, columns = classes.shape
    person = (classes != BACKGROUND).astype(np.float32)
    wall = _wall(rows, columns, rng)
    if rng.random() < 0.5:
        shift = np.array([[1, 0, rng.uniform(-25, 25)], [0, 1, rng.uniform(0, 15)]])
        shadow = cv2.GaussianBlur(cv2.warpAffine(person, shift, (columns, rows)), (0, 0), rng.uniform(8, 20))
        wall *= 1 - rng.uniform(0.05, 0.25) * shadow[..., None]
    # The labels' outline holds a rim of street: take it off before softening.
    inner = cv2.erode(person, np.ones((3, 3), np.uint8))
    alpha = cv2.GaussianBlur(inner, (0, 0), rng.uniform(0.5, 1.0))[..., None]
    mixed = alpha * image + (1 - alpha) * wall
    return np.clip(np.rint(mixed), 0, 255).astype(np.uint8)


def _wall(rows: int, columns: int, rng: np.random.Generator) -> np.ndarray:
    light = rng.uniform(170, 252)
    tint = rng.normal(0, 2.5, 3)
    y, x = np.mgrid[0 : 1 : rows * 1j, 0 : 1 : columns * 1j]
    slope = rng.normal(0, 8) * (x - 0.5) + rng.normal(0, 10) * (y - 0.5)
    vignette = -rng.uniform(0, 15) * ((x - 0.5) ** 2 + (y - 0.5) ** 2)
    grain = rng.normal(0, rng.uniform(0, 1.5), (rows, columns))
    wall: np.ndarray = (light + slope + vignette + grain)[..., None] + tint
    return wall
