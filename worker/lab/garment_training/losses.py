"""The loss of the garment network."""

from dataclasses import dataclass, field

import torch
from torch.nn import functional

from worker.cloth.garment_output import ATTRIBUTES, HEATMAP_STRIDE
from worker.lab.garment_training.network import NetworkOutput


@dataclass(frozen=True)
class LossSettings:
    """The weight of each part.

    Attributes:
        maps: landmarks, the most important output.
        spread: standard deviation of a landmark's target, cells; about the noise of the labels.
        mask: cross-entropy and Dice loss of the mask.
        present: whether the garment has a landmark.
        attributes: each attribute -> its weight.
        smoothing: label smoothing of the attributes, share of the target; some labels are wrong.
    """

    maps: float = 1.0
    spread: float = 1.1
    mask: float = 1.5
    present: float = 0.5
    attributes: dict[str, float] = field(
        default_factory=lambda: {
            **{"kind": 2.5, "sleeve": 2.0, "neckline": 0.7, "front": 1.5},
            **{"view": 1.0, "support": 1.5, "whole": 1.2},
        }
    )
    smoothing: float = 0.05


SETTINGS = LossSettings()


@dataclass
class Targets:
    """A batch's targets as tensors, see compose.Sample; mask is float32 0..1 (n, 1, h / 2, w / 2)."""

    mask: torch.Tensor
    mask_known: torch.Tensor
    points: torch.Tensor
    weights: torch.Tensor
    present: torch.Tensor
    attributes: torch.Tensor


def loss(
    output: NetworkOutput, targets: Targets, settings: LossSettings = SETTINGS
) -> tuple[torch.Tensor, dict[str, float]]:
    """Return the weighted sum of the parts, and each weighted part."""
    parts = {
        "maps": settings.maps * _maps(output.maps.float(), targets, settings.spread),
        "mask": settings.mask * _mask(output.mask.float(), targets),
        "present": settings.present * _present(output.present.float(), targets.present),
    }
    for index, name in enumerate(ATTRIBUTES):
        logits, wanted = output.attributes[name].float(), targets.attributes[:, index].long()
        known = wanted >= 0
        if known.any():
            single = functional.cross_entropy(
                logits[known], wanted[known], label_smoothing=settings.smoothing, reduction="sum"
            )
            parts[name] = settings.attributes[name] * single / len(logits)
    total = torch.stack(list(parts.values())).sum()
    return total, {name: float(part.detach()) for name, part in parts.items()}


def _maps(maps: torch.Tensor, targets: Targets, spread: float) -> torch.Tensor:
    """Return the cross-entropy between each landmark's heatmap and a Gaussian around its position."""
    height, width = maps.shape[2:]
    cells = targets.points / HEATMAP_STRIDE - 0.5
    x = torch.arange(width).float() - cells[..., :1]
    y = torch.arange(height).float() - cells[..., 1:]
    along = torch.exp(-(x**2) / (2 * spread**2))
    down = torch.exp(-(y**2) / (2 * spread**2))
    wanted = down[..., :, None] * along[..., None, :]
    wanted = wanted / wanted.sum((2, 3), keepdim=True).clamp_min(1e-6)
    single = -(wanted * maps.flatten(2).log_softmax(2).view_as(maps)).sum((2, 3))
    return (single * targets.weights).sum() / targets.weights.sum().clamp_min(1)


def _mask(mask: torch.Tensor, targets: Targets) -> torch.Tensor:
    known = targets.mask_known
    if not known.any():
        return mask.sum() * 0
    logits, wanted = mask[known], targets.mask[known]
    cross = functional.binary_cross_entropy_with_logits(logits, wanted)
    share = logits.sigmoid()
    both, either = (share * wanted).sum((1, 2, 3)), (share + wanted).sum((1, 2, 3))
    return cross + (1 - (2 * both + 1) / (either + 1)).mean()


def _present(logits: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    known = (present >= 0).float()
    single = functional.binary_cross_entropy_with_logits(
        logits, present.clamp_min(0).float(), reduction="none"
    )
    return (single * known).sum() / known.sum().clamp_min(1)
