"""The training objective of each of the three networks: inputs, losses and sample pictures.

The published code of VITON-HD has no training. The recipes' values are those of the work that it builds on:

- pix2pixHD (Wang et al. 2018): LSGAN, Adam with β 0.5 and 0.999, feature matching with the weight 10.
- CP-VTON (Wang et al. 2018), for the matching: Adam with the same β.
- SPADE (Park et al. 2019), for ALIAS: hinge loss, Adam with β 0 and 0.9, rates 1e-4 and 4e-4, feature
  matching and perceptual loss with the weight 10. HR-VITON (Lee et al. 2022) trains a descendant of ALIAS
  with these values.
- All of them can lower the rate linearly to zero at the end; where they say when, it is the second half.

Not confirmed, because the paper's supplement is not available: the batch sizes and steps, the rates of
segmentation and matching, and the weights 10 of the cross-entropy and 0.04 of the second-order constraint.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, TypedDict, Unpack

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from worker.images.arrays import Image
from worker.lab.cascade_training import losses
from worker.lab.cascade_training.checkpoints import NetworkStates
from worker.lab.cascade_training.data import Batch
from worker.lab.cascade_training.discriminator import MultiScaleDiscriminator
from worker.lab.cascade_training.perceptual import PerceptualLoss
from worker.lab.cascade_training.sizes import Size
from worker.lab.demo.sheet import Panel
from worker.parsing.palette import colourise
from worker.viton_hd import spline
from worker.viton_hd.alias import LABELS, NoiseSource
from worker.viton_hd.inputs import (
    HALF_LEVEL,
    divided_parse,
    matching_inputs,
    segmentation_inputs,
    to_image,
    warped_garment,
)
from worker.viton_hd.labels import SEGMENTATION
from worker.viton_hd.matching import GeometricMatching
from worker.viton_hd.noise import segmentation_noise
from worker.viton_hd.segmentation import INPUTS as SEGMENTATION_INPUTS

LAMBDA_CROSS_ENTROPY = 10.0
"""Weight of the segmentation's cross-entropy."""

LAMBDA_SECOND_ORDER = 0.04
"""Weight of the matching's second-order constraint."""

LAMBDA_FEATURE_MATCHING = 10.0
"""Weight of ALIAS's feature matching."""

LAMBDA_PERCEPTUAL = 10.0
"""Weight of ALIAS's perceptual loss."""

GENERATOR, DISCRIMINATOR = "generator", "judge"
"""The networks of an objective in `state.pth`; "judge" is also the discriminator's loss in `losses.csv`."""

_COLOURS = 3
"""Channels of a picture."""


@dataclass(frozen=True)
class Recipe:
    """The default training of a network.

    Attributes:
        learning_rate: the generator's.
        discriminator_rate: the discriminator's learning rate.
        betas: Adam's decay rates of the gradient's two moments.
        batch: pairs in a step.
        steps: length of the training.
    """

    learning_rate: float
    discriminator_rate: float
    betas: tuple[float, float]
    batch: int
    steps: int


class ObjectiveOptions(TypedDict):
    """How an objective trains.

    Attributes:
        device: where it trains.
        precision: type of the networks' convolutions; parameters, statistics and losses are float32.
        learning_rate: the generator's; None for the recipe's. The discriminator's stays in proportion.
    """

    device: torch.device
    precision: torch.dtype
    learning_rate: float | None


class Objective(ABC):
    """A network, its discriminator, and their optimisers.

    Args:
        generator: the network to train.
        discriminator: None for an objective without one.
        options: see `ObjectiveOptions`.
    """

    RECIPE: ClassVar[Recipe]

    def __init__(
        self, generator: nn.Module, discriminator: nn.Module | None, **options: Unpack[ObjectiveOptions]
    ) -> None:
        self.device, self.precision = options["device"], options["precision"]
        self.generator = generator.to(self.device)
        self.networks = {GENERATOR: self.generator}
        rates = {GENERATOR: self.RECIPE.learning_rate}
        if discriminator is not None:
            self.networks[DISCRIMINATOR] = self.discriminator = discriminator.to(self.device)
            rates[DISCRIMINATOR] = self.RECIPE.discriminator_rate
        learning_rate = options["learning_rate"]
        factor = 1 if learning_rate is None else learning_rate / self.RECIPE.learning_rate
        self.rates = {name: factor * rate for name, rate in rates.items()}
        self.optimisers = {
            name: torch.optim.Adam(network.parameters(), lr=self.rates[name], betas=self.RECIPE.betas)
            for name, network in self.networks.items()
        }

    @abstractmethod
    def step(self, batch: Batch, seed: int) -> dict[str, Tensor]:
        """Train on a batch; return the losses before the update. All random numbers follow from the seed."""

    @abstractmethod
    def panels(self, batch: Batch) -> list[list[Panel]]:
        """Return titled pictures for each example: the inputs, the output and the truth."""

    def set_learning_rates(self, progress: float) -> None:
        """Set the learning rates for a progress of 0 to 1: full for the first half, then linearly to zero."""
        for name, optimiser in self.optimisers.items():
            for group in optimiser.param_groups:
                group["lr"] = self.rates[name] * min(1, 2 * (1 - progress))

    def state(self) -> NetworkStates:
        """Return everything that the next step depends on."""
        return {
            "networks": {name: network.state_dict() for name, network in self.networks.items()},
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()},
        }

    def restore(self, state: NetworkStates) -> None:
        """Restore what `state` returned."""
        for name, network in self.networks.items():
            network.load_state_dict(state["networks"][name], strict=True)
            self.optimisers[name].load_state_dict(state["optimisers"][name])

    @contextmanager
    def inference(self) -> Iterator[None]:
        """Use the generator without training it."""
        self.generator.eval()
        try:
            with torch.inference_mode():
                yield
        finally:
            self.generator.train()

    def autocast(self) -> torch.autocast:
        """Return the context in which convolutions have the type `precision`."""
        return torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32)

    def minimise(self, name: str, loss: Tensor) -> None:
        """Update a network by one optimiser step on its loss."""
        optimiser = self.optimisers[name]
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimiser.step()

    def discriminate(self, condition: Tensor, picture: Tensor) -> list[list[Tensor]]:
        """Return the discriminator's output for a picture and its condition, float32."""
        with self.autocast():
            output = self.discriminator(torch.cat([condition, picture], 1))
        return [[layer.float() for layer in scale] for scale in output]


class Segmentation(Objective):
    """L = L_cGAN + λ_CE L_CE, with the adversarial loss of LSGAN (paper, section 3.2)."""

    RECIPE = Recipe(4e-4, 4e-4, (0.5, 0.999), batch=8, steps=200_000)

    def __init__(self, size: Size, **options: Unpack[ObjectiveOptions]) -> None:
        discriminator = MultiScaleDiscriminator(SEGMENTATION_INPUTS + len(SEGMENTATION), size.judge)
        super().__init__(size.segmenter(), discriminator, **options)
        self.size = size

    def step(self, batch: Batch, seed: int) -> dict[str, Tensor]:
        """Train on a batch."""
        inputs, labels = self._inputs(batch, seed), self._labels(batch)
        with self.autocast():
            scores = self.generator(inputs)
        scores = scores.float()
        self.discriminator.requires_grad_(False)
        entropy = losses.cross_entropy(scores, labels)
        adversarial = losses.least_squares(self.discriminate(inputs, scores), 1)
        self.minimise(GENERATOR, adversarial + LAMBDA_CROSS_ENTROPY * entropy)
        self.discriminator.requires_grad_(True)
        real = functional.one_hot(labels, len(SEGMENTATION)).permute(0, 3, 1, 2).float()
        discriminator_loss = (
            losses.least_squares(self.discriminate(inputs, real), 1)
            + losses.least_squares(self.discriminate(inputs, scores.detach()), 0)
        ) / 2
        self.minimise(DISCRIMINATOR, discriminator_loss)
        return {"cross_entropy": entropy, "adversarial": adversarial, DISCRIMINATOR: discriminator_loss}

    def panels(self, batch: Batch) -> list[list[Panel]]:
        """Return the garment, the parse without it, the predicted parse and the true one."""
        with self.inference():
            predicted = self.generator(self._inputs(batch, 0)).argmax(1)
        agnostic = batch.maps.parse_agnostic.argmax(1)
        return [
            [
                ("garment", to_image(batch.maps.garment[i] + HALF_LEVEL)),
                ("parse-agnostic", _coloured(agnostic[i])),
                ("predicted", _coloured(predicted[i])),
                ("true", _coloured(self._labels(batch)[i])),
            ]
            for i in range(len(batch))
        ]

    def _inputs(self, batch: Batch, seed: int) -> Tensor:
        seeds = range(seed, seed + len(batch))
        return segmentation_inputs(batch.maps, segmentation_noise(seeds, self.device, self.size.network))

    def _labels(self, batch: Batch) -> Tensor:
        small = functional.interpolate(batch.labels[:, None].float(), self.size.network, mode="nearest")
        return small[:, 0].long()


class Matching(Objective):
    """L = |W(c, θ) - I_c|₁ + λ L_const (paper, section 3.3)."""

    RECIPE = Recipe(2e-4, 0.0, (0.5, 0.999), batch=8, steps=50_000)

    def __init__(self, size: Size, **options: Unpack[ObjectiveOptions]) -> None:
        super().__init__(size.matcher(), None, **options)
        self.size = size

    def step(self, batch: Batch, seed: int) -> dict[str, Tensor]:
        """Train on a batch; there are no random numbers."""
        with self.autocast():
            theta = self.generator(*matching_inputs(batch.maps, batch.parse, self.size.network))
        theta = theta.float()
        difference = losses.warp(*warp(theta, batch), batch.photo, batch.worn_mask)
        uneven = losses.second_order(theta)
        self.minimise(GENERATOR, difference + LAMBDA_SECOND_ORDER * uneven)
        return {"warp": difference, "second_order": uneven}

    def panels(self, batch: Batch) -> list[list[Panel]]:
        """Return the garment, the worn garment, the warped one, alone and on the person, the photograph."""
        with self.inference():
            theta = self.generator(*matching_inputs(batch.maps, batch.parse, self.size.network))
            warped, mask = warp(theta, batch)
        on_person = batch.maps.agnostic * (1 - mask) + warped * mask
        worn = batch.photo * batch.worn_mask + (1 - batch.worn_mask)
        pictures = {
            "garment": batch.maps.garment,
            "worn (true)": worn,
            "warped": warped,
            "warped, on the person": on_person,
            "photograph": batch.photo,
        }
        return _titled(pictures)


class Alias(Objective):
    """L = L_cGAN + λ_FM L_FM + λ_percept L_percept, with the adversarial hinge loss (paper, section 3.4).

    Args:
        size: sizes of networks and pictures.
        matcher: geometric matching, already trained; it is not changed.
        perceptual: the perceptual loss, or None to train without it.
        options: see `ObjectiveOptions`.
    """

    RECIPE = Recipe(1e-4, 4e-4, (0.0, 0.9), batch=4, steps=200_000)

    def __init__(
        self,
        size: Size,
        matcher: GeometricMatching,
        perceptual: PerceptualLoss | None,
        **options: Unpack[ObjectiveOptions],
    ) -> None:
        discriminator = MultiScaleDiscriminator(LABELS + 1 + _COLOURS, size.judge)
        super().__init__(size.alias(), discriminator, **options)
        self.size = size
        self.matcher = matcher.eval().requires_grad_(False).to(self.device)
        self.perceptual = perceptual.to(self.device) if perceptual else None

    def step(self, batch: Batch, seed: int) -> dict[str, Tensor]:
        """Train on a batch; the noise follows from torch's global seed."""
        inputs, divided, misaligned, _ = self._inputs(batch)
        with self.autocast():
            generated = self.generator(inputs, batch.parse, divided, misaligned, self._noise(len(batch)))
        generated = generated.float()
        self.discriminator.requires_grad_(False)
        output, real = self.discriminate(divided, generated), self.discriminate(divided, batch.photo)
        step_losses = {
            "adversarial": losses.hinge_generator(output),
            "feature_matching": losses.feature_matching(real, output),
        }
        total = step_losses["adversarial"] + LAMBDA_FEATURE_MATCHING * step_losses["feature_matching"]
        if self.perceptual:
            with self.autocast():
                step_losses["perceptual"] = self.perceptual(batch.photo, generated).float()
            total = total + LAMBDA_PERCEPTUAL * step_losses["perceptual"]
        self.minimise(GENERATOR, total)
        self.discriminator.requires_grad_(True)
        discriminator_loss = losses.hinge_discriminator(
            self.discriminate(divided, batch.photo), self.discriminate(divided, generated.detach())
        )
        self.minimise(DISCRIMINATOR, discriminator_loss)
        # Not minimised: the distance to the photograph is easier to follow than the other losses.
        step_losses["difference"] = functional.l1_loss(generated.detach(), batch.photo)
        return step_losses | {DISCRIMINATOR: discriminator_loss}

    def panels(self, batch: Batch) -> list[list[Panel]]:
        """Return the agnostic person, the warped garment, the generated picture and the photograph."""
        torch.manual_seed(0)
        with self.inference():
            inputs, divided, misaligned, warped = self._inputs(batch)
            generated = self.generator(inputs, batch.parse, divided, misaligned, self._noise(len(batch)))
        pictures = {"agnostic": batch.maps.agnostic, "warped garment": warped, "generated": generated}
        return _titled(pictures | {"photograph": batch.photo})

    @torch.no_grad()
    def _inputs(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the generator's inputs, the divided parse, the misalignment and the warped garment."""
        theta = self.matcher(*matching_inputs(batch.maps, batch.parse, self.size.network))
        warped, mask = warp(theta, batch)
        divided, misaligned = divided_parse(batch.parse, mask)
        return torch.cat([batch.maps.agnostic, batch.maps.pose, warped], 1), divided, misaligned, warped

    def _noise(self, count: int) -> NoiseSource:
        return lambda rows, columns: torch.randn(count, 1, rows, columns, device=self.device)


def warp(theta: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the garment (b, 3, h, w) and its mask (b, 1, h, w), warped by θ (b, 50)."""
    return warped_garment(batch.maps, spline.fast_grid(theta, *batch.photo.shape[2:]))


def _titled(pictures: Mapping[str, Tensor]) -> list[list[Panel]]:
    """Return the panels of each example, for pictures (b, 3, h, w) in [-1, 1] by title."""
    count = len(next(iter(pictures.values())))
    return [[(title, to_image(pictures[title][i] + HALF_LEVEL)) for title in pictures] for i in range(count)]


def _coloured(labels: Tensor) -> Image:
    """Return labels of SEGMENTATION, (h, w), in the colour of the first CIHP label of their group."""
    first_of_group = np.array([group[0] for group in SEGMENTATION.values()], np.uint8)
    return colourise(first_of_group[labels.cpu().numpy()])
