"""VITON-HD from end to end: a person and a garment in, the person wearing it out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from worker.checkpoint import load_state_dict, shapes
from worker.viton_hd import spline
from worker.viton_hd.alias import AliasGenerator
from worker.viton_hd.enlarge import enlarge, fast_enlarge
from worker.viton_hd.fast_alias import FastAlias
from worker.viton_hd.inputs import (
    HALF_LEVEL,
    Tensors,
    TryOnInput,
    divided_parse,
    matching_inputs,
    one_hot,
    pixels,
    segmentation_inputs,
    tensors,
)
from worker.viton_hd.labels import SYNTHESIS, SYNTHESIS_OF_SEGMENTATION
from worker.viton_hd.matching import GeometricMatching
from worker.viton_hd.noise import Noise, segmentation_noise
from worker.viton_hd.segmentation import SegmentationGenerator

Network = TypeVar("Network", SegmentationGenerator, GeometricMatching, AliasGenerator)


@dataclass(frozen=True)
class Drawn:
    """A person wearing a garment.

    Attributes:
        image: RGB uint8 (1024, 768, 3).
        parse: the new parse, labels of `worker.viton_hd.labels.SYNTHESIS`, uint8 (1024, 768).
        warped: the bent garment on its own background, RGB uint8 (1024, 768, 3).
        warped_mask: its soft mask, uint8 (1024, 768).
    """

    image: np.ndarray
    parse: np.ndarray
    warped: np.ndarray
    warped_mask: np.ndarray


@dataclass(frozen=True)
class Dressed:
    """What the ALIAS generator draws from, float32 with a batch of 1.

    Attributes:
        pose, agnostic, warped: (1, 3, h, w) in [-1, 1].
        warped_mask: (1, 1, h, w) in [0, 1].
        parse: (1, 7, h, w), one-hot.
    """

    pose: Tensor
    agnostic: Tensor
    warped: Tensor
    warped_mask: Tensor
    parse: Tensor


class Cascade:
    """The three networks and what lies between them (arXiv 2103.16874, section 3).

    Args:
        segmenter, matcher, generator: the networks, with their weights. The fast path copies what it needs
            of the generator: whoever keeps it besides keeps its memory.
        device: where they run.
        plain: every step as its definition reads, in float32: slow, the measure of the fast path.
        dtype: of the fast ALIAS generator's convolutions, float32 (equal to the plain path to rounding) or
            bfloat16. The other two networks are small and stay float32: a label decided by the larger of two
            scores does not bear less.
        compile: whether the fast ALIAS generator's passes over memory are compiled, if they can be.
        batch: how many pictures the ALIAS generator draws at once. On processors more than one only costs
            memory.
    """

    def __init__(
        self,
        segmenter: SegmentationGenerator,
        matcher: GeometricMatching,
        generator: AliasGenerator,
        *,
        device: torch.device | str = "cpu",
        plain: bool = False,
        dtype: torch.dtype = torch.float32,
        compile: bool = True,
        batch: int = 1,
    ) -> None:
        self.device = torch.device(device)
        self.batch = batch
        self.segmenter = segmenter.eval().to(self.device)
        self.matcher = matcher.eval().to(self.device)
        generator = generator.eval().to(self.device)
        self.enlarge: Callable[[Tensor, int, int], Tensor]
        self.grid: Callable[[Tensor, int, int], Tensor]
        self.generate: Callable[..., Tensor]
        if plain:
            self.enlarge, self.grid, self.generate = enlarge, spline.grid, generator
        else:
            self.enlarge, self.grid = fast_enlarge, spline.fast_grid
            self.generate = FastAlias(generator, dtype, compile=compile)

    @classmethod
    def load(cls, segmenter: Path, matcher: Path, generator: Path, **options: Any) -> "Cascade":
        """Return the cascade with the weights of these files; the options are the constructor's.

        Raises WeightsMissingError when a file is absent, damaged, or not that network's state dict.
        """
        return cls(
            _loaded(SegmentationGenerator, segmenter),
            _loaded(GeometricMatching, matcher),
            _loaded(AliasGenerator, generator),
            **options,
        )

    @torch.inference_mode()
    def __call__(self, items: Sequence[TryOnInput]) -> list[Drawn]:
        """Return each item's picture, which depends on the other items by no more than rounding."""
        drawn: list[Drawn] = []
        for start in range(0, len(items), self.batch):
            batch = items[start : start + self.batch]
            # One at a time up to here: a label is decided by the larger of two scores, so that the rounding
            # of another batch size could turn it.
            dressed = [self.dress(item) for item in batch]
            pictures = self.synthesise(dressed, [item.seed for item in batch])
            drawn += [
                Drawn(
                    image=pixels(picture),
                    parse=given.parse[0].argmax(0).to(torch.uint8).cpu().numpy(),
                    warped=pixels(given.warped[0] + HALF_LEVEL),
                    warped_mask=pixels(given.warped_mask[0] * 2 - 1 + HALF_LEVEL)[..., 0],
                )
                for picture, given in zip(pictures, dressed, strict=True)
            ]
        return drawn

    def dress(self, item: TryOnInput) -> Dressed:
        """Return the item's new parse and bent garment."""
        given = tensors(item, self.device)
        parse = self.segment(given, item.seed)
        warped, warped_mask = self.bend(given, parse)
        return Dressed(given.pose, given.agnostic, warped, warped_mask, parse)

    def segment(self, given: Tensors, seed: int) -> Tensor:
        """Return the person's parse once the garment is worn, one-hot (1, 7, h, w) (section 3.2)."""
        return self.parse_of(self.enlarge(self.scores(given, seed), *given.pose.shape[2:]))

    def scores(self, given: Tensors, seed: int) -> Tensor:
        """Return each segmentation label's score at the size that the network works at, (1, 13, 256, 192)."""
        noise = segmentation_noise(seed).to(self.device)
        scores: Tensor = self.segmenter(segmentation_inputs(given, noise))
        return scores

    def parse_of(self, scores: Tensor) -> Tensor:
        """Return the best labels of the enlarged scores (1, 13, h, w) as the synthesis's, (1, 7, h, w)."""
        groups = torch.from_numpy(SYNTHESIS_OF_SEGMENTATION).to(self.device)
        return one_hot(groups[scores.argmax(1)], len(SYNTHESIS))

    def bend(self, given: Tensors, parse: Tensor) -> tuple[Tensor, Tensor]:
        """Return the garment (1, 3, h, w) and its mask (1, 1, h, w), bent onto the person (section 3.3)."""
        theta = self.matcher(*matching_inputs(given, parse))
        grid = self.grid(theta, *given.pose.shape[2:])
        garment = torch.cat([given.garment, given.garment_mask], 1)
        warped = functional.grid_sample(garment, grid, padding_mode="border", align_corners=False)
        return warped[:, :3], warped[:, 3:]

    def synthesise(self, dressed: Sequence[Dressed], seeds: Sequence[int]) -> Tensor:
        """Return the pictures, (b, 3, h, w) in [-1, 1] (section 3.4)."""
        parse = torch.cat([given.parse for given in dressed])
        divided, misaligned = divided_parse(parse, torch.cat([given.warped_mask for given in dressed]))
        seen = torch.cat([torch.cat([given.agnostic, given.pose, given.warped], 1) for given in dressed])
        return self.generate(seen, parse, divided, misaligned, Noise(seeds, self.device))


def _loaded(kind: type[Network], path: Path) -> Network:
    """Return the network with the file's weights."""
    with torch.device("meta"):  # no time and memory for initial values
        network = kind()
    network.load_state_dict(load_state_dict(path, shapes(network)), strict=True, assign=True)
    return network
