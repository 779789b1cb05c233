"""The ALIAS generator on a processor, at a fraction of the arithmetic: the same picture to rounding."""

from collections.abc import Iterator
from dataclasses import dataclass

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
    Noise,
    nearest,
)
from worker.viton_hd.labels import UPPER
from worker.viton_hd.layers import FixedConvolution
from worker.viton_hd.modulation import EAGER, Kernels, compiled

_CHUNK = 4096  # windows whose γ and β are worked out together: bounds the memory that takes
_BAND = 2**21  # numbers of the shortcut's activations that lie normalised in memory at a time


class FastAlias:
    """Draws what an `AliasGenerator` draws, for inference on a processor.

    Most of the generator's arithmetic makes γ and β, 79 % that of the last three levels alone. At a pixel
    they depend only on the 5×5 labels around it, and a picture has few distinct such windows: each is
    worked out once and looked up. Normalisation, modulation and leaky ReLU are one compiled pass over
    memory. Activations lie channels-last, and none outlives its use.

    Args:
        generator: the network; the normalised weights of its convolutions are copied.
        dtype: of the main convolutions and of the activations between them, float32 or bfloat16; statistics,
            γ and β are float32 in any case.
        compile: whether to compile the passes over memory (see `worker.viton_hd.modulation.compiled`).
    """

    def __init__(
        self, generator: AliasGenerator, dtype: torch.dtype = torch.float32, *, compile: bool = True
    ) -> None:
        self.dtype = dtype
        kernels = compiled() if compile else EAGER
        self.blocks = [_Block(block, dtype, kernels) for block in generator.blocks()]
        self.views = [FixedConvolution(view.weight, view.bias, dtype) for view in generator.views()]
        self.last = FixedConvolution(generator.conv_img.weight, generator.conv_img.bias, dtype)

    def __call__(
        self, inputs: Tensor, parse: Tensor, divided: Tensor, misaligned: Tensor, noise: Noise | None = None
    ) -> Tensor:
        """Return the picture, float32 (b, 3, h, w) in [-1, 1], for the arguments of `AliasGenerator`.

        `parse` has to be one-hot; `divided` is not read, since it follows from `parse` and `misaligned`.
        """
        labels = parse.argmax(1)
        x = inputs.new_empty(0)
        for level, block in enumerate(self.blocks):
            x = self._joined(x, inputs, level)
            # Every level's size divides the picture's, so that the nearest pixel is each so many-th one.
            every = labels.shape[1] // x.shape[2]
            seen = labels[:, ::every, ::every]
            mask = misaligned[:, 0, ::every, ::every] if block.masked else None
            at = LabelWindows.whole(seen) if mask is None else LabelWindows.divided(seen, mask)
            # In two steps, so that the widest activations are gone before the second.
            x, shortcut = block.first(x, at, mask, noise)
            x = block.second(x, shortcut, at, mask, noise)
        return torch.tanh(self.last(functional.leaky_relu_(x, SLOPE)).float())

    def _joined(self, x: Tensor, inputs: Tensor, level: int) -> Tensor:
        """Return x at twice its size with the level's view of the inputs behind it, channels-last."""
        smaller = 2 ** (len(self.blocks) - 1 - level)
        rows, columns = inputs.shape[2] // smaller, inputs.shape[3] // smaller
        view = self.views[level](nearest(inputs, rows, columns).to(self.dtype))
        if level == 0:
            return view
        batch, channels, _, _ = x.shape
        joined = x.new_empty(batch, rows, columns, channels + view.shape[1])
        quads = joined[..., :channels].unflatten(1, (-1, 2)).unflatten(3, (-1, 2))
        quads.copy_(x.permute(0, 2, 3, 1)[:, :, None, :, None])
        joined[..., channels:] = view.permute(0, 2, 3, 1)
        return joined.permute(0, 3, 1, 2)


@dataclass(frozen=True)
class LabelWindows:
    """The distinct 5×5 windows of a level's labels, and the distinct 3×3 ones that those are made of.

    Attributes:
        labels: float32 (k, 63 or 72), each 3×3 window's labels as channels; zero beyond the picture.
        inside: bool (k, 1), whether the middle of the 3×3 window is in the picture.
        parts: int64 (n, 9), which 3×3 windows lie about the inner places of each 5×5 one, row by row.
        index: int64 (b, h, w), which 5×5 window each pixel is the middle of.
    """

    labels: Tensor
    inside: Tensor
    parts: Tensor
    index: Tensor

    @classmethod
    def whole(cls, labels: Tensor) -> "LabelWindows":
        """Return the windows of the synthesis labels (b, h, w)."""
        return cls._of(labels, torch.eye(LABELS, device=labels.device))

    @classmethod
    def divided(cls, labels: Tensor, misaligned: Tensor) -> "LabelWindows":
        """Return the windows of the divided parse: the labels (b, h, w) and the misalignment, alike.

        Where the garment's edge is soft, each degree of misalignment counts as a label of its own.
        """
        degree, which = misaligned.unique(return_inverse=True)
        soft = torch.where(misaligned > 0, LABELS + which, labels)
        channels = torch.zeros(LABELS + len(degree), LABELS + 1, device=labels.device)
        channels[:LABELS, :LABELS] = torch.eye(LABELS, device=labels.device)
        channels[LABELS:, UPPER] = 1 - degree
        channels[LABELS:, LABELS] = degree
        return cls._of(soft, channels)

    @classmethod
    def _of(cls, labels: Tensor, channels: Tensor) -> "LabelWindows":
        """Return the windows of label maps whose labels stand for these rows of channels."""
        outside = len(channels)
        found, index = windows.distinct(labels, outside)
        channels = functional.pad(channels, (0, 0, 0, 1))  # what lies outside has no label
        small, parts = windows.parts(found, outside + 1)
        return cls(
            labels=channels[small].permute(0, 3, 1, 2).flatten(1),
            inside=small[:, 1, 1, None] != outside,
            parts=parts,
            index=index,
        )

    def gain_and_shift(self, norm: "_Norm") -> tuple[Tensor, Tensor]:
        """Return 1 + γ and β of each window, float32 (n, channels)."""
        shared = torch.addmm(norm.shared_bias, self.labels, norm.shared_weight).relu_()
        # The second convolution pads with zeros, not with what the first would give beyond the picture.
        shared = shared.mul_(self.inside)
        tables = [shared.new_empty(len(self.parts), len(norm.noise_scale)) for _ in norm.weights]
        for start in range(0, len(self.parts), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            seen = shared[self.parts[chunk]].flatten(1)
            for table, weight, bias in zip(tables, norm.weights, norm.biases, strict=True):
                torch.addmm(bias, seen, weight, out=table[chunk])
        return tables[0], tables[1]


class _Block:
    """An `AliasBlock` with its normalised weights at hand."""

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
        self, x: Tensor, labels: LabelWindows, mask: Tensor | None, noise: Noise | None
    ) -> tuple[Tensor, Tensor]:
        """Return the first convolution's and the shortcut's outputs; x is used up, the mask (b, h, w)."""
        shortcut = x.clone() if self.norm_s is None else self._shortcut(x, self.norm_s, labels, mask, noise)
        return self.conv_0(self._rectified(x, self.norm_0, labels, mask, noise)), shortcut

    def second(
        self, x: Tensor, shortcut: Tensor, labels: LabelWindows, mask: Tensor | None, noise: Noise | None
    ) -> Tensor:
        """Return what the `AliasBlock` returns, for what `first` returned; both are used up."""
        return shortcut.add_(self.conv_1(self._rectified(x, self.norm_1, labels, mask, noise)))

    def _shortcut(
        self, x: Tensor, norm: "_Norm", labels: LabelWindows, mask: Tensor | None, noise: Noise | None
    ) -> Tensor:
        """Return the 1×1 convolution of normalised x, a band of rows at a time: each stays in the cache."""
        gain, shift = labels.gain_and_shift(norm)
        batch, channels, rows, columns = x.shape
        weight = self.conv_s.weight.flatten(1).T
        out = x.new_empty(batch, rows, columns, weight.shape[1])
        number = max(1, rows * columns * channels // _BAND)
        edges = [rows * band // number for band in range(number + 1)]
        for item, given in enumerate(self._items(x, norm, mask, noise)):
            means, scales = self.kernels.statistics(*given)
            activations, drawn, noise_scale, region = given
            for here in map(slice, edges, edges[1:]):
                normed = torch.empty_like(activations[here])
                inside = None if region is None else region[here]
                at = means, scales, labels.index[item, here], gain, shift
                self.kernels.modulate(activations[here], drawn[here], noise_scale, inside, *at, normed, False)
                torch.mm(normed.flatten(0, 1), weight, out=out[item, here].flatten(0, 1))
        return out.permute(0, 3, 1, 2)

    def _rectified(
        self, x: Tensor, norm: "_Norm", labels: LabelWindows, mask: Tensor | None, noise: Noise | None
    ) -> Tensor:
        """Return x, normalised, modulated and rectified in its own memory."""
        gain, shift = labels.gain_and_shift(norm)
        for item, given in enumerate(self._items(x, norm, mask, noise)):
            at = *self.kernels.statistics(*given), labels.index[item], gain, shift
            self.kernels.modulate(*given, *at, given[0], True)
        return x

    def _items(
        self, x: Tensor, norm: "_Norm", mask: Tensor | None, noise: Noise | None
    ) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor | None]]:
        """Yield each item's activations, noise, its scale and the mask, as the kernels take them.

        An item at a time: its numbers then do not depend on the batch it is in.
        """
        batch, _, rows, columns = x.shape
        drawn = x.new_zeros(batch, 1, rows, columns, dtype=torch.float32)
        if noise is not None:
            drawn = noise(rows, columns)
        for item in range(batch):
            region = None if mask is None else mask[item, ..., None].contiguous()
            yield x[item].permute(1, 2, 0), drawn[item, 0].contiguous(), norm.noise_scale, region


class _Norm:
    """An `AliasNorm`'s weights as the tables need them: plain tensors, γ and β as matrices."""

    def __init__(self, norm: AliasNorm) -> None:
        layers = norm.conv_shared[0], norm.conv_gamma, norm.conv_beta
        shared, gamma, beta = (dict(layer.named_parameters()) for layer in layers)
        # torch.compile takes a parameter's size for fixed, and would compile anew for each.
        self.noise_scale = norm.noise_scale.detach()
        self.shared_weight, self.shared_bias = shared["weight"].detach().flatten(1).T, shared["bias"].detach()
        # The places first, then the shared channels, as the windows' parts lie.
        self.weights = [part["weight"].detach().permute(2, 3, 1, 0).flatten(0, 2) for part in (gamma, beta)]
        self.biases = gamma["bias"].detach() + 1, beta["bias"].detach()
