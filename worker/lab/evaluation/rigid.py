"""Moves a plane mesh so that some points lie where they should and the rest bends as little as it can."""

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

_ROUNDS = 30
_LOOSE = 1e-6  # how strongly every point is held where it began, lest a loose piece have no place


def as_rigid_as_possible(
    points: np.ndarray,
    edges: np.ndarray,
    begin: np.ndarray,
    held: np.ndarray,
    targets: np.ndarray,
    pull: float,
) -> np.ndarray:
    """Return where a plane mesh's points go, float64 (n, 2).

    Sorkine and Alexa, "As-Rigid-As-Possible Surface Modeling", SGP 2007, in the plane with equal weights:
    by turns each point's rotation is fitted to its edges, and all points to the rotations.

    Args:
        points: float64 (n, 2), the mesh as it is.
        edges: int (m, 2), pairs of neighbours.
        begin: float64 (n, 2), a first guess.
        held: int (k,), points of the mesh that are held; one may be held more than once.
        targets: float64 (k, 2), where those are to lie.
        pull: how strongly they are held, beside an edge's 1.
    """
    n = len(points)
    one, two = np.concatenate([edges, edges[:, ::-1]]).T
    neighbours = sparse.coo_matrix((np.ones(len(one)), (one, two)), (n, n))
    weight = np.bincount(one, minlength=n) + pull * np.bincount(held, minlength=n) + _LOOSE
    solve = splu((sparse.diags(weight) - neighbours).tocsc()).solve
    fixed = pull * _sums(held, targets, n) + _LOOSE * begin
    # As complex numbers a rotation is one product.
    rest = _complex(points[one] - points[two])
    moved = begin
    for _ in range(_ROUNDS):
        now = _complex(moved[one] - moved[two])
        turn = np.exp(1j * np.angle(_complex(_sums(one, _pairs(now * rest.conj()), n))))
        moved = solve(_sums(one, _pairs(rest * (turn[one] + turn[two]) / 2), n) + fixed)
    return np.asarray(moved)


def _sums(index: np.ndarray, values: np.ndarray, n: int) -> np.ndarray:
    """Return for each of n numbers the sum of the values (k, 2) whose index it is, float64 (n, 2)."""
    return np.column_stack([np.bincount(index, values[:, axis], n) for axis in (0, 1)])


def _complex(pairs: np.ndarray) -> np.ndarray:
    return np.asarray(pairs[:, 0] + 1j * pairs[:, 1])


def _pairs(numbers: np.ndarray) -> np.ndarray:
    return np.column_stack([numbers.real, numbers.imag])
