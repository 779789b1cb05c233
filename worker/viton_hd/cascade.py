"""VITON-HD from end to end: a person and a garment in, the picture of the person in the garment out."""

import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, TypeVar, Unpack

import numpy as np
import torch
from torch import Tensor

from worker.images.arrays import Canvas, Image, Labels, Mask
from worker.images.frame import HEIGHT, WIDTH
from worker.machine.compiling import in_prepared_sizes, prepared_sizes
from worker.viton_hd import spline
from worker.viton_hd.alias import AliasGenerator, NoiseSource
from worker.viton_hd.dense_alias import DenseAlias
from worker.viton_hd.enlarge import enlarge, fast_enlarge
from worker.viton_hd.fast_alias import FastAlias
from worker.viton_hd.inputs import (
    HALF_LEVEL,
    InputMaps,
    TryOnInput,
    divided_parse,
    input_maps,
    matching_inputs,
    one_hot,
    segmentation_inputs,
    to_uint8,
    warped_garment,
)
from worker.viton_hd.labels import SYNTHESIS, synthesis_labels
from worker.viton_hd.matching import GeometricMatching
from worker.viton_hd.noise import SeededNoise, segmentation_noise
from worker.viton_hd.segmentation import SegmentationGenerator
from worker.weights.checkpoint import load_state_dict, shapes

log = logging.getLogger(__name__)

Network = TypeVar("Network", SegmentationGenerator, GeometricMatching, AliasGenerator)

Generate = Callable[[Tensor, Tensor, Tensor, Tensor, NoiseSource | None], Tensor]
"""An ALIAS generator: the arguments of `AliasGenerator.forward` -> the picture, (b, 3, h, w) in [-1, 1]."""

MIN_BFLOAT16_CAPABILITY = (8, 0)
"""CUDA compute capability from which a GPU has bfloat16 units; earlier ones emulate them."""


@dataclass(frozen=True)
class TryOnOutput:
    """A person in a garment, on the canvas.

    Attributes:
        image: RGB uint8 (1024, 768, 3).
        parse: the predicted parse, labels of `worker.viton_hd.labels.SYNTHESIS`, uint8 (1024, 768).
        warped: the warped garment with its own background, RGB uint8 (1024, 768, 3).
        warped_mask: its alpha mask, uint8 (1024, 768).
    """

    image: Canvas
    parse: Labels
    warped: Canvas
    warped_mask: Mask


@dataclass(frozen=True)
class SynthesisInput:
    """The input of the ALIAS generator, float32 with a batch of one or more.

    Attributes:
        pose, agnostic, warped: (b, 3, h, w) in [-1, 1]: pose, agnostic person, warped garment.
        warped_mask: (b, 1, h, w) in [0, 1].
        parse: (b, 7, h, w), one-hot.
    """

    pose: Tensor
    agnostic: Tensor
    warped: Tensor
    warped_mask: Tensor
    parse: Tensor


class CascadeOptions(TypedDict, total=False):
    """The keyword arguments of `Cascade`."""

    device: torch.device | str
    plain: bool
    dense: bool | None
    dtype: torch.dtype | None
    compile: bool
    batch: int


class Cascade:
    """The three networks and the steps between them (arXiv 2103.16874, section 3).

    On a CUDA device no step between the transfer of the inputs and that of the pictures waits for the device:
    the host queues all batches and then waits once.

    Args:
        segmenter, matcher, generator: the networks, with their weights. The fast path copies the weights of
            the generator that it needs: a caller that keeps a reference to the generator keeps both copies.
        device: where the networks run.
        plain: every step by its definition, in float32: slow, the reference of the fast path.
        dense: whether the fast ALIAS generator is `DenseAlias` or `FastAlias`; None for `DenseAlias` on a
            CUDA device, else `FastAlias`.
        dtype: type of the fast ALIAS generator's convolutions, float32 (equal to the plain path up to
            rounding), bfloat16 or float16; None for `fast_dtype`. The other two networks are small and stay
            float32: a label is the larger of two scores, which less precision would change.
        compile: whether the fast ALIAS generator is compiled, if possible, and recorded on a CUDA device.
        batch: the largest batch. On a processor, more than one costs memory and saves no time.
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
        on_cuda = self.device.type == "cuda"
        if on_cuda:
            # TF32 keeps ten bits of mantissa: too few for a label that is the larger of two scores.
            torch.backends.cudnn.allow_tf32 = False
        self.batch = batch
        self.segmenter = segmenter.eval().to(self.device)
        self.matcher = matcher.eval().to(self.device)
        generator = generator.eval().to(self.device)
        self.enlarge: Callable[[Tensor, int, int], Tensor]
        self.grid: Callable[[Tensor, int, int], Tensor]
        self.generate: Generate
        if plain:
            self.enlarge, self.grid, self.generate = enlarge, spline.grid, generator
        else:
            kind = DenseAlias if (on_cuda if dense is None else dense) else FastAlias
            dtype = dtype or fast_dtype(self.device)
            self.enlarge, self.grid = fast_enlarge, spline.fast_grid
            self.generate = kind(generator, dtype, compile=compile)
            log.info("the ALIAS generator runs as %s in %s on %s", kind.__name__, dtype, self.device)

    @classmethod
    def load(
        cls, segmenter: Path, matcher: Path, generator: Path, **options: Unpack[CascadeOptions]
    ) -> "Cascade":
        """Return the cascade with the weights of these files; the options are the constructor's.

        Raises WeightsMissingError when a file is missing, damaged, or not that network's state dict.
        """
        return cls(
            _load_network(SegmentationGenerator, segmenter),
            _load_network(GeometricMatching, matcher),
            _load_network(AliasGenerator, generator),
            **options,
        )

    @torch.inference_mode()
    def __call__(self, items: Sequence[TryOnInput]) -> list[TryOnOutput]:
        """Return the output of each item; it depends on the other items only by rounding."""
        on_cuda = self.device.type == "cuda"
        with torch.cuda.device(self.device) if on_cuda else nullcontext():
            queued = [self._queue(batch) for batch in in_prepared_sizes(items, self.batch)]
            if on_cuda:
                torch.cuda.current_stream().synchronize()
        return [_unpacked(item) for packed in queued for item in packed.numpy()]

    def warm_up(self) -> None:
        """Process empty canvases in every batch size: compiles and records before the first job."""
        picture, labels = np.zeros((HEIGHT, WIDTH, 3), np.uint8), np.zeros((HEIGHT, WIDTH), np.uint8)
        empty = TryOnInput(picture, picture, labels, picture, labels)
        for size in prepared_sizes(self.batch):
            self([empty] * size)

    def _queue(self, items: Sequence[TryOnInput]) -> Tensor:
        """Return the items' `packed_output` on the host; it is complete when the device has no work left."""
        seeds = [item.seed for item in items]
        inputs = [
            self.synthesis_input(
                input_maps(items[part], self.device), segmentation_noise(seeds[part], self.device)
            )
            for part in self.sub_batches(len(items))
        ]
        picture = self.synthesise(inputs, SeededNoise(seeds, self.device))
        return packed_output(picture, inputs).to("cpu", non_blocking=True)  # into pinned memory

    def sub_batches(self, count: int) -> list[slice]:
        """Return the parts of a batch of `count` items that segmentation and matching process together.

        On a processor, where batches save no time, it is one item at a time: a label is the larger of two
        scores, and the rounding of another batch size could change it.
        """
        size = count if self.device.type == "cuda" else 1
        return [slice(start, start + size) for start in range(0, count, size)]

    def synthesis_input(self, maps: InputMaps, noise: Tensor) -> SynthesisInput:
        """Return the items' predicted parses and warped garments; the noise is `segmentation_noise`."""
        parse = self.segment(maps, noise)
        warped, warped_mask = self.warp(maps, parse)
        return SynthesisInput(maps.pose, maps.agnostic, warped, warped_mask, parse)

    def segment(self, maps: InputMaps, noise: Tensor) -> Tensor:
        """Return the predicted parses in the new garments, one-hot (b, 7, h, w) (section 3.2)."""
        return self.parse_of(self.enlarge(self.scores(maps, noise), *maps.pose.shape[2:]))

    def scores(self, maps: InputMaps, noise: Tensor) -> Tensor:
        """Return the score of each segmentation label at the network's size, (b, 13, 256, 192)."""
        scores: Tensor = self.segmenter(segmentation_inputs(maps, noise))
        return scores

    def parse_of(self, scores: Tensor) -> Tensor:
        """Return the best labels of the enlarged scores (b, 13, h, w) as synthesis labels, (b, 7, h, w)."""
        return one_hot(synthesis_labels(scores.argmax(1)), len(SYNTHESIS))

    def warp(self, maps: InputMaps, parse: Tensor) -> tuple[Tensor, Tensor]:
        """Return the garments (b, 3, h, w) and masks (b, 1, h, w), warped to the persons (section 3.3)."""
        theta = self.matcher(*matching_inputs(maps, parse))
        return warped_garment(maps, self.grid(theta, *maps.pose.shape[2:]))

    def synthesise(self, inputs: Sequence[SynthesisInput], noise: NoiseSource) -> Tensor:
        """Return the pictures of all inputs, (b, 3, h, w) in [-1, 1] (section 3.4)."""
        parse = torch.cat([part.parse for part in inputs])
        divided, misaligned = divided_parse(parse, torch.cat([part.warped_mask for part in inputs]))
        channels = torch.cat([torch.cat([part.agnostic, part.pose, part.warped], 1) for part in inputs])
        return self.generate(channels, parse, divided, misaligned, noise)


def fast_dtype(device: torch.device) -> torch.dtype:
    """Return the default type of the fast ALIAS generator's convolutions on a device."""
    if device.type != "cuda":
        return torch.float32
    has_bfloat16 = torch.cuda.get_device_capability(device) >= MIN_BFLOAT16_CAPABILITY
    return torch.bfloat16 if has_bfloat16 else torch.float16


def packed_output(picture: Tensor, inputs: Sequence[SynthesisInput]) -> Tensor:
    """Return the content of the `TryOnOutput`s as one tensor.

    Args:
        picture: (b, 3, h, w) in [-1, 1].
        inputs: the inputs that the picture was generated from, b items in total.

    Returns:
        uint8 (b, h, w, 8): image 3, warped garment 3, its mask 1, parse 1.
    """
    warped = torch.cat([part.warped for part in inputs])
    mask = torch.cat([part.warped_mask for part in inputs])
    parse = torch.cat([part.parse for part in inputs])
    levels = to_uint8(picture), to_uint8(warped + HALF_LEVEL), to_uint8(mask * 2 - 1 + HALF_LEVEL)
    return torch.cat([*levels, parse.argmax(1)[..., None].to(torch.uint8)], 3)


def _unpacked(packed: Image) -> TryOnOutput:
    """Return the output of one item of `packed_output`, uint8 (h, w, 8)."""
    image, warped, mask, parse = map(np.ascontiguousarray, np.split(packed, (3, 6, 7), axis=2))
    return TryOnOutput(image, parse[..., 0], warped, mask[..., 0])


def _load_network(kind: type[Network], path: Path) -> Network:
    """Return the network with the weights of the file."""
    with torch.device("meta"):  # saves the time and memory of initial values
        network = kind()
    network.load_state_dict(load_state_dict(path, shapes(network)), strict=True, assign=True)
    return network
