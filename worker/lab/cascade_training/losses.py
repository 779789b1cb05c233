"""The losses of the paper's training, each a mean over the batch."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from worker.viton_hd.spline import POINTS, control_points, point_offsets

DiscriminatorOutput = Sequence[Sequence[Tensor]]
"""The output of a multi-scale discriminator: for each scale the features of its layers, then the scores."""

MIN_SCORE = 1e-8
"""Smaller scores are clamped to this: the logarithm of 0 is infinite."""

MIN_SQUARED_LENGTH = 1e-12
"""Smaller squared lengths are clamped to this: the square root has no gradient at 0."""


def cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the mean over pixels of -log Ŝ_y, with y the true label (paper, section 3.2).

    The generator ends in a sigmoid for each label, so its scores do not add up to 1. They are normalised,
    Ŝ = score / Σ scores; otherwise, 1 for every score would have the lowest loss.

    Args:
        scores: (b, n, h, w) in (0, 1).
        labels: int64 (b, h, w).
    """
    scores = scores.clamp(min=MIN_SCORE)
    return functional.nll_loss(scores.log() - scores.sum(1, keepdim=True).log(), labels)


def least_squares(output: DiscriminatorOutput, target: float) -> Tensor:
    """Return the mean of (score - target)² (LSGAN, Mao et al. 2017): target 1 is real, 0 is generated."""
    return _mean_over_scales([(scores - target).square().mean() for *_, scores in output])


def hinge_discriminator(real: DiscriminatorOutput, generated: DiscriminatorOutput) -> Tensor:
    """Return E[max(0, 1 - D(real))] + E[max(0, 1 + D(generated))] (Lim and Ye 2017)."""
    real_loss = _mean_over_scales([(1 - scores).relu().mean() for *_, scores in real])
    return real_loss + _mean_over_scales([(1 + scores).relu().mean() for *_, scores in generated])


def hinge_generator(generated: DiscriminatorOutput) -> Tensor:
    """Return -E[D(generated)]."""
    return _mean_over_scales([-scores.mean() for *_, scores in generated])


def feature_matching(real: DiscriminatorOutput, generated: DiscriminatorOutput) -> Tensor:
    """Return Σᵢ 1/Kᵢ |Dᵢ(real) - Dᵢ(generated)|₁ over the discriminator's layers (Wang et al. 2018)."""
    scales = zip(real, generated, strict=True)
    return _mean_over_scales(
        [
            layer_difference(real_layers[:-1], generated_layers[:-1])
            for real_layers, generated_layers in scales
        ]
    )


def layer_difference(real: Sequence[Tensor], generated: Sequence[Tensor]) -> Tensor:
    """Return the sum over layers of the mean absolute difference; there is no gradient to `real`."""
    differences = [functional.l1_loss(a, b.detach()) for a, b in zip(generated, real, strict=True)]
    return torch.stack(differences).sum()


def warp(warped: Tensor, warped_mask: Tensor, photo: Tensor, worn_mask: Tensor) -> Tensor:
    """Return the mean of |W(c, θ) - I_c|: the warped garment against the worn one (paper, section 3.3).

    Each garment is cut out by its own mask, with 0, the middle grey, outside. A comparison inside the worn
    region alone would accept a plain garment that is far too large; a comparison with the garment picture's
    light background would accept this for a white garment.

    Args:
        warped, warped_mask: (b, 3, h, w) and (b, 1, h, w): the warped garment and its mask.
        photo, worn_mask: (b, 3, h, w) and (b, 1, h, w): the photograph and the worn garment's region in it.
    """
    return functional.l1_loss(warped * warped_mask, photo * worn_mask)


def second_order(theta: Tensor) -> Tensor:
    """Return how uneven and crooked the grid of control points is (Yang et al. 2020; paper, section 3.3).

        Σₚ | |p p₀| - |p p₁| | + | S(p, p₀) - S(p, p₁) |

    over the control points p and their neighbours p₀ and p₁ on both sides, along rows and along columns. The
    slopes S of vertical lines are infinite, so the second term is multiplied out: it is the magnitude of the
    cross product of p₀ p and p p₁, which is 0 when the three points are on a line.

    Args:
        theta: (b, 50), the offsets of the control points, as for `worker.viton_hd.spline.grid`.
    """
    points = (control_points().to(theta) + point_offsets(theta)).reshape(len(theta), POINTS, POINTS, 2)
    total = theta.new_zeros(len(theta))
    for axis in (1, 2):
        steps = points.diff(dim=axis)
        before, after = steps.narrow(axis, 0, POINTS - 2), steps.narrow(axis, 1, POINTS - 2)
        uneven = (_length(before) - _length(after)).abs()
        crooked = (before[..., 0] * after[..., 1] - before[..., 1] * after[..., 0]).abs()
        total = total + (uneven + crooked).sum((1, 2))
    return total.mean()


def _length(steps: Tensor) -> Tensor:
    return steps.square().sum(-1).clamp(min=MIN_SQUARED_LENGTH).sqrt()


def _mean_over_scales(values: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(values)).mean()
