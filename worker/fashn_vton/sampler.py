"""Draws pictures with the transformer: rectified flow from noise to picture (Liu et al. 2022, section 2)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from worker.fashn_vton.network import PICTURE_CHANNELS, Conditions, TryOnTransformer

Quality = Literal["fast", "balanced", "quality"]

STEPS: dict[Quality, int] = {"fast": 20, "balanced": 30, "quality": 50}
"""Steps of each quality level, as the authors of the weights recommend."""

SHIFT = 1.5
"""μ of the schedule's time shift: more steps near the noise. As in the training."""

GUIDANCE = 1.5
"""How far the velocity goes from the unconditional beyond the conditional one (Ho and Salimans 2022)."""


Velocities = Callable[[Tensor, Tensor, Conditions], Tensor]
"""Noisy pictures (b, 3, h, w), times (b,) and conditions -> velocities, (b, 3, h, w)."""


@dataclass(frozen=True)
class Inputs:
    """The prepared inputs of b pictures, each in [-1, 1].

    Attributes:
        person, garment: (b, 3, h, w).
        person_pose, garment_pose: (b, 1, h, w).
        category: int64 (b,): 1 tops, 2 bottoms, 3 one-pieces.
    """

    person: Tensor
    garment: Tensor
    person_pose: Tensor
    garment_pose: Tensor
    category: Tensor

    def with_unconditional(self) -> "Inputs":
        """Return the inputs followed by as many with every picture, pose and category set to 0: 2b items."""
        parts = (self.person, self.garment, self.person_pose, self.garment_pose, self.category)
        return Inputs(*(torch.cat([part, torch.zeros_like(part)]) for part in parts))


def schedule(steps: int) -> list[float]:
    """Return the `steps` + 1 times from 0 to 1: shifted linear (Esser et al. 2024, section 5.3.2)."""
    linear = torch.linspace(1, 0, steps + 1)
    shifted = math.exp(-SHIFT) / (math.exp(-SHIFT) + (1 / linear - 1))
    return shifted.flip(0).tolist()


def seeded_noise(seeds: Sequence[int], rows: int, columns: int) -> Tensor:
    """Return standard normal noise on the CPU, float32 (b, 3, rows, columns), an item of each seed."""
    shape = PICTURE_CHANNELS, rows, columns
    return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


@torch.inference_mode()
def sample(
    network: TryOnTransformer,
    inputs: Inputs,
    noise: Tensor,
    steps: int,
    between: Callable[[int, int], None] | None = None,
    velocities: Velocities | None = None,
) -> Tensor:
    """Return the pictures, (b, 3, h, w); the caller clamps them to [-1, 1].

    Conditional and unconditional velocity are computed in one pass. The last step uses the conditional one
    alone, because guidance there oversaturates colours. The sum of the steps keeps the noise's type:
    float32, because bfloat16 would lose what a short step adds.

    Args:
        network: the transformer, on the device and in the type of the inputs.
        inputs: the conditions of b items.
        noise: (b, 3, h, w), float32.
        steps: Euler steps, at least 1.
        between: called after each step with its number from 1 and `steps`; it may raise to end the drawing.
        velocities: computes the network's velocities, for example compiled; None for the network itself.
    """
    velocities = velocities or network
    doubled = inputs.with_unconditional()
    conditions = network.conditions(
        doubled.person, doubled.garment, doubled.person_pose, doubled.garment_pose, doubled.category
    )
    picture, times = noise, schedule(steps)
    for step, (now, following) in enumerate(pairwise(times), start=1):
        time = torch.full((2 * len(picture),), now, dtype=torch.float32, device=picture.device)
        doubled_picture = torch.cat([picture, picture]).to(doubled.person.dtype)
        conditional, unconditional = velocities(doubled_picture, time, conditions).to(picture.dtype).chunk(2)
        guided = conditional
        if step < steps:
            guided = unconditional + GUIDANCE * (conditional - unconditional)
        picture = picture + (following - now) * guided
        if between is not None:
            between(step, steps)
    return picture
