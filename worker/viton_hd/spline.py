"""The thin-plate spline that warps the garment: from offsets of control points to a sampling grid."""

from functools import lru_cache

import torch
from torch import Tensor

POINTS = 5
"""Control points along each side."""

EXTENT = 0.9
"""Control points and grid without offsets span [-0.9, 0.9] of the picture's [-1, 1]: offsets of zero zoom in
to the central 90 % and are not the identity."""


def control_points() -> Tensor:
    """Return the control points without offsets, float64 (25, 2) as x, y; x changes slowest."""
    side = torch.linspace(-EXTENT, EXTENT, POINTS, dtype=torch.float64)
    return torch.cartesian_prod(side, side)


def point_offsets(theta: Tensor) -> Tensor:
    """Return θ (b, 50), first all x, then all y, as the x and y of each control point, (b, 25, 2)."""
    return theta.reshape(len(theta), 2, -1).transpose(1, 2)


def grid(theta: Tensor, height: int, width: int) -> Tensor:
    """Return the sampling grid by the spline's definition (Bookstein 1989; Rocco et al. 2017, section 3.3).

        f(p) = a₀ + aₓ x + a_y y + Σₖ wₖ U(|p - pₖ|²),   U(r²) = r² ln r²

    with the coefficients for which f(pₖ) = pₖ + θₖ, from the linear system

        | K  P | |w|   |p + θ|
        | Pᵀ 0 | |a| = |  0  |,   K_kl = U(|pₖ - pₗ|²),   P = [1 x y]

    Args:
        theta: (b, 50): the offsets of the 25 control points in x, then in y.
        height, width: rows and columns of the grid.

    Returns:
        (b, height, width, 2), x and y in [-1, 1] for `torch.nn.functional.grid_sample`.
    """
    points = control_points().to(theta.device)
    # Solved in float64: in float32 the rounding of the system alone changes the warped picture by 1e-4.
    coefficients = _solution_matrix(points) @ (points + point_offsets(theta).double())
    terms = _terms(height, width, points.to(theta.dtype))
    return (terms @ coefficients.to(theta.dtype)).reshape(len(theta), height, width, 2)


@lru_cache(maxsize=4)
def basis(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return (rest, response): the grid is rest + response · θ, because it is linear in the offsets.

    Computed once, in float64, and kept on the device.

    Returns:
        rest: float32 (height·width, 2), the grid for offsets of zero.
        response: float32 (height·width, 25), the effect of each control point's offset, for x and y alike.
    """
    points = control_points()
    response = _terms(height, width, points) @ _solution_matrix(points)
    return (response @ points).float().to(device), response.float().to(device)


def fast_grid(theta: Tensor, height: int, width: int) -> Tensor:
    """Return the same as `grid`, by one matrix product with the spline's basis."""
    rest, response = basis(height, width, theta.device)
    return (rest + response @ point_offsets(theta)).reshape(len(theta), height, width, 2)


def _solution_matrix(points: Tensor) -> Tensor:
    """Return the matrix (28, 25) from the control points' targets (25, 2) to the coefficients w and a."""
    count = len(points)
    system = points.new_zeros(count + 3, count + 3)
    system[:count, :count] = _kernel(points, points)
    system[:count, count] = 1
    system[:count, count + 1 :] = points
    system[count:, :count] = system[:count, count:].T
    inverse: Tensor = torch.linalg.inv(system)
    return inverse[:, :count]


def _terms(height: int, width: int, points: Tensor) -> Tensor:
    """Return the factors of the coefficients at each pixel of the grid, (height·width, 28)."""
    y = torch.linspace(-EXTENT, EXTENT, height, dtype=points.dtype, device=points.device)
    x = torch.linspace(-EXTENT, EXTENT, width, dtype=points.dtype, device=points.device)
    pixels = torch.cartesian_prod(y, x).flip(1)
    return torch.cat([_kernel(pixels, points), torch.ones_like(pixels[:, :1]), pixels], 1)


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    """Return U of the squared distances between the points a (n, 2) and b (m, 2): (n, m)."""
    squared = (a[:, None] - b).square().sum(2)
    kernel: Tensor = torch.special.xlogy(squared, squared)
    return kernel
