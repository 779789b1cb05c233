"""The losses that the paper trains its networks with, each a mean over the batch."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from worker.viton_hd.spline import POINTS, control_points

Judgement = Sequence[Sequence[Tensor]]
"""What a multi-scale discriminator says: for each scale its layers' features, the scores the last."""

_LEAST = 1e-8
"""Below it a score is taken for this: the logarithm of 0 teaches nothing."""


def cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the mean over pixels of -log Ŝ_y, with y the true label (paper, section 3.2).

    The generator ends in a sigmoid for each label, so its scores do not add up to 1; Ŝ = score / Σ scores is
    what does. Without that, all scores 1 would be the best answer.

    Args:
        scores: (b, n, h, w) in (0, 1).
        labels: int64 (b, h, w).
    """
    scores = scores.clamp(min=_LEAST)
    return functional.nll_loss(scores.log() - scores.sum(1, keepdim=True).log(), labels)


def least_squares(judgement: Judgement, target: float) -> Tensor:
    """Return the mean of (score - target)² (LSGAN, Mao et al. 2017): target 1 is real, 0 is made."""
    return _over_scales([(scores - target).square().mean() for *_, scores in judgement])


def hinge_discriminator(real: Judgement, made: Judgement) -> Tensor:
    """Return E[max(0, 1 - D(real))] + E[max(0, 1 + D(made))] (Lim and Ye 2017)."""
    return _over_scales([(1 - scores).relu().mean() for *_, scores in real]) + _over_scales(
        [(1 + scores).relu().mean() for *_, scores in made]
    )


def hinge_generator(made: Judgement) -> Tensor:
    """Return -E[D(made)]."""
    return _over_scales([-scores.mean() for *_, scores in made])


def feature_matching(real: Judgement, made: Judgement) -> Tensor:
    """Return Σᵢ 1/Kᵢ |Dᵢ(real) - Dᵢ(made)|₁ over the discriminator's layers (Wang et al. 2018)."""
    return _over_scales([layers(one[:-1], other[:-1]) for one, other in zip(real, made, strict=True)])


def layers(real: Sequence[Tensor], made: Sequence[Tensor]) -> Tensor:
    """Return the sum over layers of the mean absolute difference; `real` is taken as it is."""
    differences = [functional.l1_loss(a, b.detach()) for a, b in zip(made, real, strict=True)]
    return torch.stack(differences).sum()


def warp(warped: Tensor, warped_mask: Tensor, photo: Tensor, worn: Tensor) -> Tensor:
    """Return the mean of |W(c, θ) - I_c|: the bent garment against the worn one (paper, section 3.3).

    Each is cut out by its own mask, on a ground of 0, the middle grey. Compared within the worn region alone,
    a plain garment that is bent far too large would be as good as one that fits; on its own light ground, a
    white one.

    Args:
        warped, warped_mask: (b, 3, h, w) and (b, 1, h, w): the bent garment and its mask.
        photo, worn: (b, 3, h, w) and (b, 1, h, w): the photograph, and where the garment is worn in it.
    """
    return functional.l1_loss(warped * warped_mask, photo * worn)


def second_order(theta: Tensor) -> Tensor:
    """Return how unevenly and crookedly the control points lie (Yang et al. 2020; paper, section 3.3).

        Σₚ | |p p₀| - |p p₁| | + | S(p, p₀) - S(p, p₁) |

    over the control points p and their neighbours p₀ and p₁ on both sides, along rows and along columns. The
    slopes S are compared multiplied out, since those of vertical lines are infinite: the second term is the
    magnitude of the cross product of p₀ p and p p₁, which is 0 where the three lie on a line.

    Args:
        theta: (b, 50), the control points' offsets, as `worker.viton_hd.spline.grid` takes them.
    """
    points = (control_points().to(theta) + theta.unflatten(1, (2, -1)).transpose(1, 2)).unflatten(
        1, (POINTS, POINTS)
    )
    total = theta.new_zeros(len(theta))
    for along in (1, 2):
        steps = points.diff(dim=along)
        before, after = steps.narrow(along, 0, POINTS - 2), steps.narrow(along, 1, POINTS - 2)
        uneven = (_length(before) - _length(after)).abs()
        crooked = (before[..., 0] * after[..., 1] - before[..., 1] * after[..., 0]).abs()
        total = total + (uneven + crooked).sum((1, 2))
    return total.mean()


def _length(steps: Tensor) -> Tensor:
    # Two points on the same place have no direction, and the root there no gradient.
    return steps.square().sum(-1).clamp(min=1e-12).sqrt()


def _over_scales(values: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(values)).mean()
