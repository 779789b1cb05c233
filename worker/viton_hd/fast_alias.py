"""The ALIAS generator for a processor: the same picture up to rounding, with a fraction of the arithmetic."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from worker.viton_hd import windows
from worker.viton_hd.alias import (
    LABELS,
    SLOPE,
    AliasBlock,
    AliasGenerator,
    AliasNorm,
    NoiseSource,
    level_size,
    resize_nearest,
)
from worker.viton_hd.labels import UPPER
from worker.viton_hd.layers import FixedConvolution, detached_parameters
from worker.viton_hd.modulation import EAGER, Kernels, compiled

_WINDOWS_PER_STEP = 4096
"""Windows whose γ and β are computed together: limits the memory of that step."""

_ELEMENTS_PER_BAND = 2**21
"""Numbers of the shortcut's activations that are normalised at a time: a band stays in the cache."""


class FastAlias:
    """Generates the picture of an `AliasGenerator`, for inference on a processor.

    Most of the generator's arithmetic computes γ and β: 79 % in the last three levels alone. At a pixel they
    depend only on the 5×5 labels around it, and a picture has few distinct 5×5 windows. So γ and β are
    computed once for each distinct window and looked up. Normalisation, modulation and leaky ReLU are one
    compiled pass over memory. Activations are channels-last and are released after their last use.

    Args:
        generator: the network; the normalised weights of its convolutions are copied.
        dtype: type of the main convolutions and of the activations between them, float32 or bfloat16.
            Statistics, γ and β are always float32.
        compile: whether to compile the passes over memory (see `worker.viton_hd.modulation.compiled`).
    """

    def __init__(
        self, generator: AliasGenerator, dtype: torch.dtype = torch.float32, *, compile: bool = True
    ) -> None:
        self.dtype = dtype
        kernels = compiled() if compile else EAGER
        self.blocks = [_Block(block, dtype, kernels) for block in generator.blocks()]
        self.input_convolutions = [
            FixedConvolution(convolution.weight, convolution.bias, dtype)
            for convolution in generator.input_convolutions()
        ]
        self.last = FixedConvolution(generator.conv_img.weight, generator.conv_img.bias, dtype)

    def __call__(
        self,
        inputs: Tensor,
        parse: Tensor,
        divided: Tensor,
        misaligned: Tensor,
        noise: NoiseSource | None = None,
    ) -> Tensor:
        """Return the picture, float32 (b, 3, h, w) in [-1, 1]; the arguments are `AliasGenerator`'s.

        `parse` must be one-hot. `divided` is not read, because it follows from `parse` and `misaligned`.
        """
        labels = parse.argmax(1)
        x = inputs.new_empty(0)
        for level, block in enumerate(self.blocks):
            x = self._with_input_features(x, inputs, level)
            # The picture's size is a multiple of each level's size: the nearest pixel is every n-th one.
            step = labels.shape[1] // x.shape[2]
            level_labels = labels[:, ::step, ::step]
            if block.masked:
                mask = misaligned[:, 0, ::step, ::step]
                label_windows = LabelWindows.of_divided_parse(level_labels, mask)
            else:
                mask = None
                label_windows = LabelWindows.of_parse(level_labels)
            # Two steps, so that the widest activations are released before the second one.
            x, shortcut = block.first(x, label_windows, mask, noise)
            x = block.second(x, shortcut, label_windows, mask, noise)
        return torch.tanh(self.last(functional.leaky_relu_(x, SLOPE)).float())

    def _with_input_features(self, x: Tensor, inputs: Tensor, level: int) -> Tensor:
        """Return x at twice its size, joined with the level's input features, channels-last."""
        rows, columns = level_size(inputs, level)
        features = self.input_convolutions[level](resize_nearest(inputs, rows, columns).to(self.dtype))
        if level == 0:
            return features
        batch, channels, _, _ = x.shape
        joined = x.new_empty(batch, rows, columns, channels + features.shape[1])
        quads = joined[..., :channels].view(batch, rows // 2, 2, columns // 2, 2, channels)
        quads.copy_(x.permute(0, 2, 3, 1)[:, :, None, :, None])
        joined[..., channels:] = features.permute(0, 2, 3, 1)
        return joined.permute(0, 3, 1, 2)


@dataclass(frozen=True)
class LabelWindows:
    """The distinct 5×5 windows of a level's labels, and the distinct 3×3 windows that they contain.

    Attributes:
        labels: float32 (k, 63 or 72), the labels of each 3×3 window as channels; zero beyond the picture.
        inside: bool (k, 1), whether the centre of the 3×3 window is in the picture.
        parts: int64 (n, 9), the 3×3 windows around the inner pixels of each 5×5 window, row by row.
        index: int64 (b, h, w), the 5×5 window around each pixel.
    """

    labels: Tensor
    inside: Tensor
    parts: Tensor
    index: Tensor

    @classmethod
    def of_parse(cls, labels: Tensor) -> "LabelWindows":
        """Return the windows of the synthesis labels (b, h, w)."""
        return cls._of(labels, torch.eye(LABELS, device=labels.device))

    @classmethod
    def of_divided_parse(cls, labels: Tensor, misaligned: Tensor) -> "LabelWindows":
        """Return the windows of the divided parse, from the labels and the misalignment, (b, h, w) each.

        At a feathered edge of the garment, each value of the misalignment counts as a label of its own.
        """
        values, value_index = misaligned.unique(return_inverse=True)  # type: ignore[no-untyped-call]
        divided_labels = torch.where(misaligned > 0, LABELS + value_index, labels)
        channels = torch.zeros(LABELS + len(values), LABELS + 1, device=labels.device)
        channels[:LABELS, :LABELS] = torch.eye(LABELS, device=labels.device)
        channels[LABELS:, UPPER] = 1 - values
        channels[LABELS:, LABELS] = values
        return cls._of(divided_labels, channels)

    @classmethod
    def _of(cls, labels: Tensor, channels: Tensor) -> "LabelWindows":
        """Return the windows of label maps (b, h, w); channels (labels, 7 or 8) are each label's channels."""
        outside = len(channels)
        large, index = windows.distinct_windows(labels, outside)
        channels = functional.pad(channels, (0, 0, 0, 1))  # pixels beyond the picture have no label
        small, parts = windows.inner_windows(large, outside + 1)
        return cls(
            labels=channels[small].permute(0, 3, 1, 2).flatten(1),
            inside=small[:, 1, 1, None] != outside,
            parts=parts,
            index=index,
        )

    def gain_and_shift(self, norm: "_Norm") -> tuple[Tensor, Tensor]:
        """Return 1 + γ and β of each 5×5 window, float32 (n, channels)."""
        shared = torch.addmm(norm.shared_bias, self.labels, norm.shared_weight).relu_()
        # The second convolution pads with zeros, not with the output of the first one beyond the picture.
        shared = shared.mul_(self.inside)
        tables = [shared.new_empty(len(self.parts), len(norm.noise_scale)) for _ in norm.weights]
        for start in range(0, len(self.parts), _WINDOWS_PER_STEP):
            step = slice(start, start + _WINDOWS_PER_STEP)
            window_features = shared[self.parts[step]].flatten(1)
            for table, weight, bias in zip(tables, norm.weights, norm.biases, strict=True):
                torch.addmm(bias, window_features, weight, out=table[step])
        return tables[0], tables[1]


class _Item(NamedTuple):
    """One item of a batch: the first arguments of `worker.viton_hd.modulation.statistics` and `modulate`."""

    x: Tensor
    noise: Tensor
    noise_scale: Tensor
    mask: Tensor | None

    def rows(self, rows: slice) -> "_Item":
        """Return some rows of the item."""
        mask = None if self.mask is None else self.mask[rows]
        return _Item(self.x[rows], self.noise[rows], self.noise_scale, mask)


class _Block:
    """An `AliasBlock` for inference, with its weights already normalised."""

    def __init__(self, block: AliasBlock, dtype: torch.dtype, kernels: Kernels) -> None:
        self.masked = block.masked
        self.kernels = kernels
        self.norm_0, self.norm_1 = _Norm(block.norm_0), _Norm(block.norm_1)
        self.conv_0 = FixedConvolution(block.conv_0.weight(), block.conv_0.bias, dtype)
        self.conv_1 = FixedConvolution(block.conv_1.weight(), block.conv_1.bias, dtype)
        self.norm_s = _Norm(block.norm_s) if block.learned_shortcut else None
        if block.learned_shortcut:
            self.conv_s = FixedConvolution(block.conv_s.weight(), None, dtype)

    def first(
        self, x: Tensor, label_windows: LabelWindows, mask: Tensor | None, noise: NoiseSource | None
    ) -> tuple[Tensor, Tensor]:
        """Return the outputs of the first convolution and of the shortcut; x is overwritten.

        `mask` is (b, h, w) for a masked block, else None.
        """
        if self.norm_s is None:
            shortcut = x.clone()
        else:
            shortcut = self._shortcut(x, self.norm_s, label_windows, mask, noise)
        return self.conv_0(self._rectified(x, self.norm_0, label_windows, mask, noise)), shortcut

    def second(
        self,
        x: Tensor,
        shortcut: Tensor,
        label_windows: LabelWindows,
        mask: Tensor | None,
        noise: NoiseSource | None,
    ) -> Tensor:
        """Return the block's output for the two outputs of `first`; both are overwritten."""
        return shortcut.add_(self.conv_1(self._rectified(x, self.norm_1, label_windows, mask, noise)))

    def _shortcut(
        self,
        x: Tensor,
        norm: "_Norm",
        label_windows: LabelWindows,
        mask: Tensor | None,
        noise: NoiseSource | None,
    ) -> Tensor:
        """Return the 1×1 convolution of normalised x, computed in bands of rows that stay in the cache."""
        gain, shift = label_windows.gain_and_shift(norm)
        batch, channels, rows, columns = x.shape
        weight = self.conv_s.weight.flatten(1).T
        out = x.new_empty(batch, rows, columns, weight.shape[1])
        band_count = max(1, rows * columns * channels // _ELEMENTS_PER_BAND)
        edges = [rows * band // band_count for band in range(band_count + 1)]
        for number, item in enumerate(self._items(x, norm, mask, noise)):
            means, scales = self.kernels.statistics(*item)
            for band in map(slice, edges, edges[1:]):
                part = item.rows(band)
                normalised = torch.empty_like(part.x)
                index = label_windows.index[number, band]
                self.kernels.modulate(*part, means, scales, index, gain, shift, normalised, False)
                torch.mm(normalised.flatten(0, 1), weight, out=out[number, band].flatten(0, 1))
        return out.permute(0, 3, 1, 2)

    def _rectified(
        self,
        x: Tensor,
        norm: "_Norm",
        label_windows: LabelWindows,
        mask: Tensor | None,
        noise: NoiseSource | None,
    ) -> Tensor:
        """Return x, normalised, modulated and rectified in place."""
        gain, shift = label_windows.gain_and_shift(norm)
        for number, item in enumerate(self._items(x, norm, mask, noise)):
            means, scales = self.kernels.statistics(*item)
            index = label_windows.index[number]
            self.kernels.modulate(*item, means, scales, index, gain, shift, item.x, True)
        return x

    def _items(
        self, x: Tensor, norm: "_Norm", mask: Tensor | None, noise: NoiseSource | None
    ) -> Iterator[_Item]:
        """Yield the items of the batch as the kernels take them.

        They are processed one at a time, so that the result does not depend on the batch.
        """
        batch, _, rows, columns = x.shape
        if noise is None:
            noise_maps = x.new_zeros(batch, 1, rows, columns, dtype=torch.float32)
        else:
            noise_maps = noise(rows, columns)
        for number in range(batch):
            item_mask = None if mask is None else mask[number, ..., None].contiguous()
            activations = x[number].permute(1, 2, 0)
            yield _Item(activations, noise_maps[number, 0].contiguous(), norm.noise_scale, item_mask)


class _Norm:
    """The weights of an `AliasNorm` as the tables need them: plain tensors, γ and β as matrices."""

    def __init__(self, norm: AliasNorm) -> None:
        layers = norm.conv_shared[0], norm.conv_gamma, norm.conv_beta
        # Detached: torch.compile treats the size of a parameter as constant and would compile for each size.
        shared, gamma, beta = map(detached_parameters, layers)
        self.noise_scale = norm.noise_scale.detach()
        self.shared_weight, self.shared_bias = shared["weight"].flatten(1).T, shared["bias"]
        # Kernel positions first, then shared channels, in the order of the windows' parts.
        self.weights = [part["weight"].permute(2, 3, 1, 0).flatten(0, 2) for part in (gamma, beta)]
        self.biases = gamma["bias"] + 1, beta["bias"]
