"""What each of the three networks is taught: its inputs, its losses, and pictures of what it has learnt.

The paper's code has no training. What could be looked up is that of the work it builds on: pix2pixHD (Wang
et al. 2018: LSGAN, Adam with β 0.5 and 0.999, feature matching of weight 10), CP-VTON for the matching (Wang
et al. 2018: Adam with the same β), SPADE (Park et al. 2019: hinge, Adam with β 0 and 0.9, rates 1e-4 and
4e-4, feature matching and perception of weight 10) and HR-VITON (Lee et al. 2022), whose descendant of ALIAS
is trained with just SPADE's values. All of them can lower the rate linearly to zero in the end, and where
they say over how much of the training, it is the second half. Not confirmed, for want of the paper's
supplement, are the recipes' batch sizes and steps, the rates of segmentation and matching, and the weights
10 of the cross-entropy and 0.04 of the second-order constraint.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from worker.lab.cascade_training import losses
from worker.lab.cascade_training.data import Batch
from worker.lab.cascade_training.discriminator import MultiScaleDiscriminator
from worker.lab.cascade_training.perceptual import PerceptualLoss
from worker.lab.cascade_training.sizes import Size
from worker.parsing.palette import colourise
from worker.viton_hd import spline
from worker.viton_hd.inputs import HALF_LEVEL, divided_parse, matching_inputs, pixels, segmentation_inputs
from worker.viton_hd.labels import SEGMENTATION
from worker.viton_hd.matching import GeometricMatching
from worker.viton_hd.noise import segmentation_noise
from worker.viton_hd.segmentation import INPUTS as SEGMENTATION_INPUTS

LAMBDA_CROSS_ENTROPY = 10.0
LAMBDA_SECOND_ORDER = 0.04
LAMBDA_FEATURE_MATCHING = 10.0
LAMBDA_PERCEPTUAL = 10.0

Panels = list[tuple[str, np.ndarray]]


@dataclass(frozen=True)
class Recipe:
    """How long and how fast a network learns by default."""

    learning_rate: float
    judge_rate: float
    betas: tuple[float, float]
    batch: int
    steps: int


class Objective(ABC):
    """A network, who judges it, and their optimisers.

    Args:
        generator: the network to train.
        judge: the discriminator, where there is one.
        learning_rate: the generator's; None for the recipe's. The judge's stays in proportion.
        precision: of the networks' convolutions; parameters, statistics and losses are float32.
    """

    RECIPE: Recipe

    def __init__(
        self,
        generator: nn.Module,
        judge: nn.Module | None,
        *,
        device: torch.device,
        precision: torch.dtype,
        learning_rate: float | None,
    ) -> None:
        self.device = device
        self.precision = precision
        self.generator = generator.to(device)
        self.networks = {"generator": self.generator}
        rates = {"generator": self.RECIPE.learning_rate}
        if judge is not None:
            self.networks["judge"] = self.judge = judge.to(device)
            rates["judge"] = self.RECIPE.judge_rate
        times = 1 if learning_rate is None else learning_rate / self.RECIPE.learning_rate
        self.rates = {name: times * rate for name, rate in rates.items()}
        self.optimisers = {
            name: torch.optim.Adam(network.parameters(), lr=self.rates[name], betas=self.RECIPE.betas)
            for name, network in self.networks.items()
        }

    @abstractmethod
    def step(self, batch: Batch, seed: int) -> dict[str, Tensor]:
        """Learn from a batch; return the losses before it. All that is random follows from the seed."""

    @abstractmethod
    def panels(self, batch: Batch) -> list[Panels]:
        """Return titled pictures for each example, RGB uint8: what goes in, what is made, what is right."""

    def pace(self, done: float) -> None:
        """Set the learning rates for a part of the training done: full for a half, then linearly to zero."""
        for name, optimiser in self.optimisers.items():
            for group in optimiser.param_groups:
                group["lr"] = self.rates[name] * min(1, 2 * (1 - done))

    def state(self) -> dict[str, Any]:
        """Return all that the next step depends on."""
        return {
            "networks": {name: network.state_dict() for name, network in self.networks.items()},
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned."""
        for name, network in self.networks.items():
            network.load_state_dict(state["networks"][name], strict=True)
            self.optimisers[name].load_state_dict(state["optimisers"][name])

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """Use the generator, not teach it."""
        self.generator.eval()
        try:
            with torch.inference_mode():
                yield
        finally:
            self.generator.train()

    def mixed(self) -> torch.autocast:
        """Return the context in which convolutions take the precision."""
        return torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32)

    def descend(self, name: str, loss: Tensor) -> None:
        """Move a network one step down its loss."""
        optimiser = self.optimisers[name]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    def judged(self, condition: Tensor, picture: Tensor) -> list[list[Tensor]]:
        """Return what the judge says of a picture that belongs to the condition, float32."""
        with self.mixed():
            judgement = self.judge(torch.cat([condition, picture], 1))
        return [[layer.float() for layer in scale] for scale in judgement]


class Segmentation(Objective):
    """L = L_cGAN + λ_CE L_CE, the adversarial part as LSGAN has it (paper, section 3.2)."""

    RECIPE = Recipe(4e-4, 4e-4, (0.5, 0.999), batch=8, steps=200_000)

    def __init__(self, size: Size, **options: Any) -> None:
        judge = MultiScaleDiscriminator(SEGMENTATION_INPUTS + len(SEGMENTATION), size.judge)
        super().__init__(size.segmenter(), judge, **options)
        self.size = size

    def step(self, batch: Batch, seed: int) -> dict[str, Tensor]:
        """Learn from a batch."""
        seen, labels = self._seen(batch, seed), self._labels(batch)
        with self.mixed():
            scores = self.generator(seen)
        scores = scores.float()
        self.judge.requires_grad_(False)
        entropy = losses.cross_entropy(scores, labels)
        adversarial = losses.least_squares(self.judged(seen, scores), 1)
        self.descend("generator", adversarial + LAMBDA_CROSS_ENTROPY * entropy)
        self.judge.requires_grad_(True)
        real = functional.one_hot(labels, len(SEGMENTATION)).permute(0, 3, 1, 2).float()
        judging = (
            losses.least_squares(self.judged(seen, real), 1)
            + losses.least_squares(self.judged(seen, scores.detach()), 0)
        ) / 2
        self.descend("judge", judging)
        return {"cross_entropy": entropy, "adversarial": adversarial, "judge": judging}

    def panels(self, batch: Batch) -> list[Panels]:
        """Show the garment, the parse without it, the parse made and the true one."""
        with self.drawing():
            made = self.generator(self._seen(batch, 0)).argmax(1)
        known = batch.seen.parse_agnostic.argmax(1)
        return [
            [
                ("garment", pixels(batch.seen.garment[i] + HALF_LEVEL)),
                ("parse-agnostic", _coloured(known[i])),
                ("made", _coloured(made[i])),
                ("true", _coloured(self._labels(batch)[i])),
            ]
            for i in range(len(batch))
        ]

    def _seen(self, batch: Batch, seed: int) -> Tensor:
        seeds = range(seed, seed + len(batch))
        return segmentation_inputs(batch.seen, segmentation_noise(seeds, self.device, self.size.network))

    def _labels(self, batch: Batch) -> Tensor:
        small = functional.interpolate(batch.labels[:, None].float(), self.size.network, mode="nearest")
        return small[:, 0].long()


class Matching(Objective):
    """L = |W(c, θ) - I_c|₁ + λ L_const (paper, section 3.3)."""

    RECIPE = Recipe(2e-4, 0.0, (0.5, 0.999), batch=8, steps=50_000)

    def __init__(self, size: Size, **options: Any) -> None:
        super().__init__(size.matcher(), None, **options)
        self.size = size

    def step(self, batch: Batch, seed: int) -> dict[str, Tensor]:
        """Learn from a batch."""
        with self.mixed():
            theta = self.generator(*matching_inputs(batch.seen, batch.parse, self.size.network))
        theta = theta.float()
        difference = losses.warp(*bend(theta, batch), batch.photo, batch.worn)
        uneven = losses.second_order(theta)
        self.descend("generator", difference + LAMBDA_SECOND_ORDER * uneven)
        return {"warp": difference, "second_order": uneven}

    def panels(self, batch: Batch) -> list[Panels]:
        """Show the garment, where it has to go, the bent garment there, and the photograph."""
        with self.drawing():
            theta = self.generator(*matching_inputs(batch.seen, batch.parse, self.size.network))
            warped, mask = bend(theta, batch)
        on_person = batch.seen.agnostic * (1 - mask) + warped * mask
        worn = batch.photo * batch.worn + (1 - batch.worn)
        pictures = {
            "garment": batch.seen.garment,
            "worn (true)": worn,
            "bent": warped,
            "bent, on the person": on_person,
            "photograph": batch.photo,
        }
        return _titled(pictures)


class Alias(Objective):
    """L = L_cGAN + λ_FM L_FM + λ_percept L_percept, adversarial with the hinge (paper, section 3.4).

    Args:
        matcher: geometric matching, trained; it stays as it is.
        perceptual: the perceptual loss, or None to do without.
    """

    RECIPE = Recipe(1e-4, 4e-4, (0.0, 0.9), batch=4, steps=200_000)

    def __init__(
        self, size: Size, matcher: GeometricMatching, perceptual: PerceptualLoss | None, **options: Any
    ) -> None:
        judge = MultiScaleDiscriminator(8 + 3, size.judge)
        super().__init__(size.alias(), judge, **options)
        self.size = size
        self.matcher = matcher.eval().requires_grad_(False).to(self.device)
        self.perceptual = perceptual.to(self.device) if perceptual else None

    def step(self, batch: Batch, seed: int) -> dict[str, Tensor]:
        """Learn from a batch."""
        inputs, divided, misaligned, _ = self._seen(batch)
        with self.mixed():
            made = self.generator(inputs, batch.parse, divided, misaligned, self._noise(len(batch)))
        made = made.float()
        self.judge.requires_grad_(False)
        judgement, real = self.judged(divided, made), self.judged(divided, batch.photo)
        found = {
            "adversarial": losses.hinge_generator(judgement),
            "feature_matching": losses.feature_matching(real, judgement),
        }
        total = found["adversarial"] + LAMBDA_FEATURE_MATCHING * found["feature_matching"]
        if self.perceptual:
            with self.mixed():
                found["perceptual"] = self.perceptual(batch.photo, made).float()
            total = total + LAMBDA_PERCEPTUAL * found["perceptual"]
        self.descend("generator", total)
        self.judge.requires_grad_(True)
        judging = losses.hinge_discriminator(
            self.judged(divided, batch.photo), self.judged(divided, made.detach())
        )
        self.descend("judge", judging)
        # Not trained on: how far the picture is from the photograph, for people to follow.
        found["difference"] = functional.l1_loss(made.detach(), batch.photo)
        return found | {"judge": judging}

    def panels(self, batch: Batch) -> list[Panels]:
        """Show the person without the garment, the bent garment, the picture made and the photograph."""
        torch.manual_seed(0)
        with self.drawing():
            inputs, divided, misaligned, warped = self._seen(batch)
            made = self.generator(inputs, batch.parse, divided, misaligned, self._noise(len(batch)))
        pictures = {"agnostic": batch.seen.agnostic, "bent garment": warped, "made": made}
        return _titled(pictures | {"photograph": batch.photo})

    @torch.no_grad()
    def _seen(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the inputs, the divided parse, the misalignment and the bent garment."""
        theta = self.matcher(*matching_inputs(batch.seen, batch.parse, self.size.network))
        warped, mask = bend(theta, batch)
        divided, misaligned = divided_parse(batch.parse, mask)
        return torch.cat([batch.seen.agnostic, batch.seen.pose, warped], 1), divided, misaligned, warped

    def _noise(self, count: int) -> Any:
        return lambda rows, columns: torch.randn(count, 1, rows, columns, device=self.device)


def bend(theta: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the garment (b, 3, h, w) and its mask (b, 1, h, w), bent by the control points' offsets."""
    grid = spline.fast_grid(theta, *batch.photo.shape[2:])
    garment = torch.cat([batch.seen.garment, batch.seen.garment_mask], 1)
    warped = functional.grid_sample(garment, grid, padding_mode="border", align_corners=False)
    return warped[:, :3], warped[:, 3:]


def _titled(pictures: Mapping[str, Tensor]) -> list[Panels]:
    count = len(next(iter(pictures.values())))
    return [[(title, pixels(pictures[title][i] + HALF_LEVEL)) for title in pictures] for i in range(count)]


def _coloured(labels: Tensor) -> np.ndarray:
    """Return labels of SEGMENTATION, (h, w), in the colours of the CIHP labels that they stand for."""
    stands_for = np.array([olds[0] for olds in SEGMENTATION.values()], np.uint8)
    return colourise(stands_for[labels.cpu().numpy()])
