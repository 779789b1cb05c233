"""The ALIAS generator at a fraction of the arithmetic: the same picture to rounding."""

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
    masked_norm,
    nearest,
)
from worker.viton_hd.labels import UPPER
from worker.viton_hd.modulation import EAGER, Kernels, compiled

_CHUNK = 4096  # windows whose γ and β are worked out together: bounds the memory that takes


class FastAlias:
    """Draws what an `AliasGenerator` draws, for inference.

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
        self.views = [_Convolution(view.weight, view.bias, dtype) for view in generator.views()]
        self.last = _Convolution(generator.conv_img.weight, generator.conv_img.bias, dtype)

    def __call__(
        self, inputs: Tensor, parse: Tensor, divided: Tensor, misaligned: Tensor, noise: Noise | None = None
    ) -> Tensor:
        """Return the picture, float32 (b, 3, h, w) in [-1, 1], for the arguments of `AliasGenerator`.

        `parse` has to be one-hot; `divided` is not read, since it follows from `parse` and `misaligned`.
        """
        x = inputs.new_empty(0)
        for level, block in enumerate(self.blocks):
            x = self._joined(x, inputs, level)
            rows, columns = x.shape[2:]
            labels = nearest(parse, rows, columns).argmax(1)
            if block.masked:
                mask = nearest(misaligned, rows, columns)
                x = block(x, LabelWindows.divided(labels, mask), mask, noise)
            else:
                x = block(x, LabelWindows.whole(labels), None, noise)
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
    """The distinct 5×5 windows of a level's labels.

    Attributes:
        labels: float32 (n, 7 or 8, 5, 5), each window's labels as channels; zero beyond the picture.
        inside: bool (n, 1, 3, 3), which of the inner places are in the picture.
        index: int64 (b, h·w), which window each pixel is the middle of.
    """

    labels: Tensor
    inside: Tensor
    index: Tensor

    @classmethod
    def whole(cls, labels: Tensor) -> "LabelWindows":
        """Return the windows of the synthesis labels (b, h, w)."""
        return cls._of(labels, torch.eye(LABELS, device=labels.device))

    @classmethod
    def divided(cls, labels: Tensor, misaligned: Tensor) -> "LabelWindows":
        """Return the windows of the divided parse: the labels (b, h, w) and the misalignment (b, 1, h, w).

        Where the garment's edge is soft, each degree of misalignment counts as a label of its own.
        """
        degree, which = misaligned[:, 0].unique(return_inverse=True)
        soft = torch.where(misaligned[:, 0] > 0, LABELS + which, labels)
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
        return cls(
            labels=channels[found].permute(0, 3, 1, 2).contiguous(),
            inside=(found != outside)[:, None, 1:-1, 1:-1],
            index=index.flatten(1),
        )

    def gain_and_shift(self, norm: AliasNorm) -> tuple[Tensor, Tensor]:
        """Return 1 + γ and β of each window, float32 (n, channels)."""
        weight, bias = norm.gain_and_shift_weights()
        tables = weight.new_empty(len(self.labels), len(weight))
        for start in range(0, len(tables), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            shared = norm.shared(self.labels[chunk])
            # The second convolution pads with zeros, not with what the first would give beyond the picture.
            shared *= self.inside[chunk]
            torch.addmm(bias, shared.flatten(1), weight.flatten(1).T, out=tables[chunk])
        gain, shift = tables.chunk(2, 1)
        return gain.contiguous(), shift.contiguous()


class _Block:
    """An `AliasBlock` with its normalised weights at hand."""

    def __init__(self, block: AliasBlock, dtype: torch.dtype, kernels: Kernels) -> None:
        self.masked = block.masked
        self.kernels = kernels
        self.norm_0, self.norm_1 = block.norm_0, block.norm_1
        self.conv_0 = _Convolution(block.conv_0.weight(), block.conv_0.bias, dtype)
        self.conv_1 = _Convolution(block.conv_1.weight(), block.conv_1.bias, dtype)
        self.norm_s = block.norm_s if block.learned_shortcut else None
        if block.learned_shortcut:
            self.conv_s = _Convolution(block.conv_s.weight(), None, dtype)

    def __call__(self, x: Tensor, labels: LabelWindows, mask: Tensor | None, noise: Noise | None) -> Tensor:
        shortcut = x
        if self.norm_s is not None:
            shortcut = self.conv_s(self._normalised(x, self.norm_s, labels, mask, noise, rectified=False))
        x = self._normalised(x, self.norm_0, labels, mask, noise)
        x = self.conv_0(x)
        x = self._normalised(x, self.norm_1, labels, mask, noise)
        return self.conv_1(x).add_(shortcut)

    def _normalised(
        self,
        x: Tensor,
        norm: AliasNorm,
        labels: LabelWindows,
        mask: Tensor | None,
        noise: Noise | None,
        *,
        rectified: bool = True,
    ) -> Tensor:
        """Return x (b, c, h, w) normalised and modulated as `AliasNorm` does, then rectified."""
        gain, shift = labels.gain_and_shift(norm)
        batch, _, rows, columns = x.shape
        noise_scale = norm.noise_scale.detach()  # torch.compile takes a parameter's size for fixed
        drawn = x.new_zeros(batch, 1, rows, columns).float() if noise is None else noise(rows, columns)
        if mask is not None:
            noisy = x.float() + drawn * noise_scale[:, None, None]
            modulated = _by_pixel(masked_norm(noisy, mask)) * gain[labels.index] + shift[labels.index]
            if rectified:
                functional.leaky_relu_(modulated, SLOPE)
            return _by_channel(modulated.to(x.dtype), rows, columns)
        out = torch.empty_like(x)
        modulate = self.kernels.modulate_and_rectify if rectified else self.kernels.modulate
        for each, own, index, into in zip(
            _by_pixel(x), drawn.flatten(1), labels.index, _by_pixel(out), strict=True
        ):
            mean, scale = self.kernels.statistics(each, own, noise_scale)
            modulate(each, own, noise_scale, mean, scale, index, gain, shift, into)
        return out


class _Convolution:
    """A convolution of channels-last activations, its weight in their type."""

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> None:
        self.weight = weight.detach().to(dtype, memory_format=torch.channels_last)
        self.bias = None if bias is None else bias.detach().to(dtype)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the convolution of x (b, in, h, w): (b, out, h, w), channels-last."""
        x = x.contiguous(memory_format=torch.channels_last)
        return functional.conv2d(x, self.weight, self.bias, padding=self.weight.shape[2] // 2)


def _by_pixel(x: Tensor) -> Tensor:
    """Return channels-last x (b, c, h, w) as (b, h·w, c), the same memory."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)


def _by_channel(x: Tensor, rows: int, columns: int) -> Tensor:
    """Return x (b, h·w, c) as channels-last (b, c, h, w), the same memory."""
    return x.unflatten(1, (rows, columns)).permute(0, 3, 1, 2)
