"""VITON-HD from end to end: a person and a garment in, the person wearing it out."""

import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from worker.images.frame import HEIGHT, WIDTH
from worker.viton_hd import spline
from worker.viton_hd.alias import AliasGenerator
from worker.viton_hd.alias import Noise as NoiseSource
from worker.viton_hd.dense_alias import DenseAlias
from worker.viton_hd.enlarge import enlarge, fast_enlarge
from worker.viton_hd.fast_alias import FastAlias
from worker.viton_hd.inputs import (
    HALF_LEVEL,
    Tensors,
    TryOnInput,
    divided_parse,
    levels,
    matching_inputs,
    one_hot,
    segmentation_inputs,
    tensors,
)
from worker.viton_hd.labels import SYNTHESIS, synthesis_labels
from worker.viton_hd.matching import GeometricMatching
from worker.viton_hd.noise import Noise, segmentation_noise
from worker.viton_hd.segmentation import SegmentationGenerator
from worker.weights.checkpoint import load_state_dict, shapes

log = logging.getLogger(__name__)

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
    """What the ALIAS generator draws from, float32 with a batch of one or more.

    Attributes:
        pose, agnostic, warped: (b, 3, h, w) in [-1, 1].
        warped_mask: (b, 1, h, w) in [0, 1].
        parse: (b, 7, h, w), one-hot.
    """

    pose: Tensor
    agnostic: Tensor
    warped: Tensor
    warped_mask: Tensor
    parse: Tensor


class Cascade:
    """The three networks and what lies between them (arXiv 2103.16874, section 3).

    On a CUDA device nothing between the transfer of the inputs and that of the pictures waits for the device:
    the host queues all batches, and then waits once.

    Args:
        segmenter, matcher, generator: the networks, with their weights. The fast path copies what it needs
            of the generator: whoever keeps it besides keeps its memory.
        device: where they run.
        plain: every step as its definition reads, in float32: slow, the measure of the fast path.
        dense: whether the fast ALIAS generator is `DenseAlias` or `FastAlias`; None for the one that suits
            the device.
        dtype: of the fast ALIAS generator's convolutions, float32 (equal to the plain path to rounding),
            bfloat16 or float16; None for `fast_dtype`. The other two networks are small and stay float32: a
            label decided by the larger of two scores does not bear less.
        compile: whether the fast ALIAS generator is compiled, if it can be, and its launches recorded.
        batch: how many pictures are drawn at once, at the most. On processors more than one only costs
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
        dense: bool | None = None,
        dtype: torch.dtype | None = None,
        compile: bool = True,
        batch: int = 1,
    ) -> None:
        self.device = torch.device(device)
        on_card = self.device.type == "cuda"
        if on_card:
            # TF32 keeps ten bits: a label decided by the larger of two scores does not bear that.
            torch.backends.cudnn.allow_tf32 = False
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
            kind = DenseAlias if (on_card if dense is None else dense) else FastAlias
            dtype = dtype or fast_dtype(self.device)
            self.enlarge, self.grid = fast_enlarge, spline.fast_grid
            self.generate = kind(generator, dtype, compile=compile)
            log.info("the ALIAS generator runs as %s in %s on %s", kind.__name__, dtype, self.device)

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
        queued: list[Tensor] = []
        on_card = self.device.type == "cuda"
        with torch.cuda.device(self.device) if on_card else nullcontext():
            while rest := items[sum(map(len, queued)) :]:
                # Powers of two: the fast path on a card prepares itself for each size.
                size = 2 ** (min(len(rest), self.batch).bit_length() - 1)
                queued.append(self._queue(rest[:size]))
            if on_card:
                torch.cuda.current_stream().synchronize()
        return [_drawn(kept) for outcome in queued for kept in outcome.numpy()]

    def prepare(self) -> None:
        """Draw empty canvases in every size of batch: compile and record before the first job."""
        picture, labels = np.zeros((HEIGHT, WIDTH, 3), np.uint8), np.zeros((HEIGHT, WIDTH), np.uint8)
        empty = TryOnInput(picture, picture, labels, picture, labels)
        for power in range(self.batch.bit_length()):
            self([empty] * 2**power)

    def _queue(self, items: Sequence[TryOnInput]) -> Tensor:
        """Return the `outcome` of the items on the host, there once the device has done all it is told to."""
        seeds = [item.seed for item in items]
        dressed = [
            self.dress(tensors(items[some], self.device), segmentation_noise(seeds[some], self.device))
            for some in self.dressed_at_once(len(items))
        ]
        picture = self.synthesise(dressed, Noise(seeds, self.device))
        return outcome(picture, dressed).to("cpu", non_blocking=True)  # into pinned memory

    def dressed_at_once(self, count: int) -> list[slice]:
        """Return which of a batch's items segmentation and matching see together."""
        # Where it gains nothing, one at a time: a label is decided by the larger of two scores, so that the
        # rounding of another batch size could turn it.
        at_once = count if self.device.type == "cuda" else 1
        return [slice(start, start + at_once) for start in range(0, count, at_once)]

    def dress(self, given: Tensors, noise: Tensor) -> Dressed:
        """Return the items' new parses and bent garments; the noise is `segmentation_noise`."""
        parse = self.segment(given, noise)
        warped, warped_mask = self.bend(given, parse)
        return Dressed(given.pose, given.agnostic, warped, warped_mask, parse)

    def segment(self, given: Tensors, noise: Tensor) -> Tensor:
        """Return the persons' parse once the garment is worn, one-hot (b, 7, h, w) (section 3.2)."""
        return self.parse_of(self.enlarge(self.scores(given, noise), *given.pose.shape[2:]))

    def scores(self, given: Tensors, noise: Tensor) -> Tensor:
        """Return each segmentation label's score at the size that the network works at, (b, 13, 256, 192)."""
        scores: Tensor = self.segmenter(segmentation_inputs(given, noise))
        return scores

    def parse_of(self, scores: Tensor) -> Tensor:
        """Return the best labels of the enlarged scores (b, 13, h, w) as the synthesis's, (b, 7, h, w)."""
        return one_hot(synthesis_labels(scores.argmax(1)), len(SYNTHESIS))

    def bend(self, given: Tensors, parse: Tensor) -> tuple[Tensor, Tensor]:
        """Return the garments (b, 3, h, w) and masks (b, 1, h, w), bent onto the persons (section 3.3)."""
        theta = self.matcher(*matching_inputs(given, parse))
        grid = self.grid(theta, *given.pose.shape[2:])
        garment = torch.cat([given.garment, given.garment_mask], 1)
        warped = functional.grid_sample(garment, grid, padding_mode="border", align_corners=False)
        return warped[:, :3], warped[:, 3:]

    def synthesise(self, dressed: Sequence[Dressed], noise: NoiseSource) -> Tensor:
        """Return the pictures, (b, 3, h, w) in [-1, 1] (section 3.4)."""
        parse = torch.cat([given.parse for given in dressed])
        divided, misaligned = divided_parse(parse, torch.cat([given.warped_mask for given in dressed]))
        seen = torch.cat([torch.cat([given.agnostic, given.pose, given.warped], 1) for given in dressed])
        return self.generate(seen, parse, divided, misaligned, noise)


def fast_dtype(device: torch.device) -> torch.dtype:
    """Return the type that the fast ALIAS generator's convolutions have by default on a device."""
    if device.type != "cuda":
        return torch.float32
    native = torch.cuda.get_device_capability(device) >= (8, 0)  # earlier cards emulate bfloat16
    return torch.bfloat16 if native else torch.float16


def outcome(picture: Tensor, dressed: Sequence[Dressed]) -> Tensor:
    """Return what a `Drawn` is made of, uint8 (b, h, w, 8): image 3, bent garment 3, its mask 1, parse 1."""
    warped, mask, parse = (
        torch.cat([getattr(given, name) for given in dressed]) for name in ("warped", "warped_mask", "parse")
    )
    parts = levels(picture), levels(warped + HALF_LEVEL), levels(mask * 2 - 1 + HALF_LEVEL)
    return torch.cat([*parts, parse.argmax(1)[..., None].to(torch.uint8)], 3)


def _drawn(kept: np.ndarray) -> Drawn:
    """Return one item's part of the `outcome`."""
    image, warped, mask, parse = map(np.ascontiguousarray, np.split(kept, (3, 6, 7), axis=2))
    return Drawn(image, parse[..., 0], warped, mask[..., 0])


def _loaded(kind: type[Network], path: Path) -> Network:
    """Return the network with the file's weights."""
    with torch.device("meta"):  # no time and memory for initial values
        network = kind()
    network.load_state_dict(load_state_dict(path, shapes(network)), strict=True, assign=True)
    return network
