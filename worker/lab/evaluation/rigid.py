"""As-rigid-as-possible deformation of a plane mesh: some points go to their targets, the rest follows."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu

from worker.images.arrays import Floats, Indices, Points

_ITERATIONS = 30

_REGULARISATION = 1e-6
"""Weight that ties every point to its initial position: without it a part without anchors is singular."""


def as_rigid_as_possible(
    points: Points, edges: Indices, initial: Points, anchors: Indices, targets: Points, anchor_weight: float
) -> Points:
    """Return the deformed mesh's points, float64 (n, 2).

    Sorkine and Alexa, "As-Rigid-As-Possible Surface Modeling", SGP 2007, in the plane with equal edge
    weights: each iteration fits a rotation to the edges of every point, then solves for the points.

    Args:
        points: float64 (n, 2), the mesh before.
        edges: int (m, 2), pairs of neighbours.
        initial: float64 (n, 2), the first estimate of the result.
        anchors: int (k,), points that have targets; a point may have several.
        targets: float64 (k, 2).
        anchor_weight: weight of a target relative to an edge, whose weight is 1.
    """
    n = len(points)
    first, second = np.concatenate([edges, edges[:, ::-1]]).T
    adjacency = sparse.coo_matrix((np.ones(len(first)), (first, second)), (n, n))
    diagonal = (
        np.bincount(first, minlength=n) + anchor_weight * np.bincount(anchors, minlength=n) + _REGULARISATION
    )
    solve = splu((sparse.diags(diagonal) - adjacency).tocsc()).solve
    fixed = anchor_weight * _sum_by_index(anchors, targets, n) + _REGULARISATION * initial
    # As complex numbers, a rotation is one product.
    rest = _to_complex(points[first] - points[second])
    moved = initial
    for _ in range(_ITERATIONS):
        edge = _to_complex(moved[first] - moved[second])
        correlation = _sum_by_index(first, _to_pairs(edge * rest.conj()), n)
        rotation = np.exp(1j * np.angle(_to_complex(correlation)))
        rotated = rest * (rotation[first] + rotation[second]) / 2
        moved = solve(_sum_by_index(first, _to_pairs(rotated), n) + fixed)
    return np.asarray(moved)


def _sum_by_index(index: Indices, values: Floats, n: int) -> Floats:
    """Return, for each of n indices, the sum of its values, (k, 2): float64 (n, 2)."""
    return np.column_stack([np.bincount(index, values[:, axis], n) for axis in (0, 1)])


def _to_complex(pairs: Floats) -> NDArray[np.complex128]:
    return np.asarray(pairs[:, 0] + 1j * pairs[:, 1])


def _to_pairs(numbers: NDArray[np.complex128]) -> Floats:
    return np.column_stack([numbers.real, numbers.imag])
