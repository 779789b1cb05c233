"""Superpixels of a person, and the smoothing of probabilities over them along colour edges."""

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, diags_array
from scipy.sparse.linalg import SuperLU, splu
from skimage.segmentation import slic

from worker.images.arrays import Flags, Floats, Image, Indices

PIXELS_PER_CELL, MIN_CELLS, MAX_CELLS = 60, 200, 3000
"""Mean size of a superpixel of the whole picture, and the limits of their number."""

COMPACTNESS, ITERATIONS = 8, 5
"""SLIC's weight of the position against the colour, and its iterations."""

LAB_SCALE = (255 / 100, 1.0, 1.0)
"""From CIELAB to the 8-bit Lab of OpenCV, whose L goes to 255, apart from the offset of a and b."""

LIGHTNESS_WEIGHT, CHROMA_WEIGHT = 0.6, 1.2
"""Weights of L, and of a and b, in the difference between two superpixels: shading changes the lightness."""

EDGE_DIFFERENCE = 10.0
"""Difference of 8-bit Lab at which neighbours are connected by 1/e."""

MIN_CONNECTION = 1e-4
"""Added to each connection: the equations stay solvable."""

PRIOR_PULL = 0.35
"""Weight of a pixel's own probability, relative to 1 for a neighbouring superpixel of the same colour."""


class Superpixels:
    """The superpixels of the pixels of a mask, and the graph of their neighbours.

    Args:
        rgb: uint8 (h, w, 3).
        inside: bool (h, w), the pixels that count; n of them, in the order of `array[inside]`.
    """

    def __init__(self, rgb: Image, inside: Flags) -> None:
        lab = np.asarray(cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)
        cells = _cells(lab, inside)
        self.number: Indices = cells[inside]
        """The superpixel of each pixel, (n,)."""
        self.size = np.bincount(self.number)
        self._pull = PRIOR_PULL * self.size
        own = lab[inside] * np.array(LAB_SCALE, np.float32)
        colours = np.stack([np.bincount(self.number, own[:, i]) for i in range(3)], 1) / self.size[:, None]
        self._equations = _random_walks(cells, colours, self._pull)

    def smoothed(self, probabilities: Floats) -> Floats:
        """Return probabilities, float32 (kinds, n), smoothed by random walks that avoid colour edges.

        Random walker with priors (Grady, "Multilabel random walker image segmentation using prior
        models", CVPR 2005) on the graph of superpixels; each pixel keeps half of its own evidence.
        """
        logs = np.log(probabilities + 1e-6)
        mean = np.stack([np.bincount(self.number, plane) for plane in logs], 1) / self.size[:, None]
        prior = np.exp(mean)
        prior /= prior.sum(1, keepdims=True)
        solved = self._equations.solve(prior * self._pull[:, None])
        share = np.ascontiguousarray(np.clip(solved, 1e-6, 1).T, np.float32)
        mixed = np.sqrt(share[:, self.number] * np.clip(probabilities, 1e-4, 1))
        return np.asarray(mixed / mixed.sum(0))


def _cells(lab: NDArray[np.float32], inside: Flags) -> Indices:
    """Return the superpixel of each pixel inside, counted from 0, int (h, w); -1 outside."""
    # Masked SLIC of scikit-image starts with a k-means that takes longer than everything else here.
    count = int(np.clip(inside.size / PIXELS_PER_CELL, MIN_CELLS, MAX_CELLS))
    cells = slic(
        lab,
        count,
        compactness=COMPACTNESS,
        max_num_iter=ITERATIONS,
        convert2lab=False,
        enforce_connectivity=False,
        start_label=0,
    )
    used = np.bincount(cells[inside], minlength=int(cells.max()) + 1) > 0
    return np.where(inside, (used.cumsum() - 1)[cells], -1)


def _random_walks(cells: Indices, colours: Floats, pull: Floats) -> SuperLU:
    """Return the factorised equations of the walks between superpixels that touch."""
    count = len(colours)
    pairs = []
    for one, other in ((cells[:, :-1], cells[:, 1:]), (cells[:-1], cells[1:])):
        touching = (one != other) & (one >= 0) & (other >= 0)
        pairs.append(np.stack([one[touching], other[touching]], 1))
    edge = np.concatenate(pairs)
    weights = [LIGHTNESS_WEIGHT, CHROMA_WEIGHT, CHROMA_WEIGHT]
    apart = np.linalg.norm((colours[edge[:, 0]] - colours[edge[:, 1]]) * weights, axis=1)
    connection = np.exp(-np.square(apart / EDGE_DIFFERENCE)) + MIN_CONNECTION
    adjacency = coo_array((connection, (edge[:, 0], edge[:, 1])), (count, count)).tocsr()
    adjacency = adjacency + adjacency.T
    laplacian = diags_array(adjacency.sum(1) + pull) - adjacency
    return splu(laplacian.tocsc())
