"""The ALIAS generator on a graphics card: every convolution in low precision, everything else fused."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional

from worker.viton_hd.alias import (
    LABELS,
    LEVELS,
    SLOPE,
    AliasBlock,
    AliasGenerator,
    AliasNorm,
    Noise,
    double,
    nearest,
)
from worker.viton_hd.graphs import Graphs
from worker.viton_hd.layers import FixedConvolution
from worker.viton_hd.modulation import can_compile, normalised, statistics, told


class DenseAlias:
    """Draws what an `AliasGenerator` draws, for inference, and never waits for the device.

    γ and β are convolutions at every pixel, as the definition has them. `FastAlias` looks them up in tables
    of the distinct label windows, a fifth of the arithmetic; but to find the windows it sorts, and has to
    know on the host how many there are. A card would stand idle while that number comes back, and the
    convolutions are what its matrix units are made for.

    The whole generator is compiled, for each batch size: what lies between two convolutions becomes a few
    passes over memory. On a CUDA device its launches are recorded as a graph and replayed as one.

    Args:
        generator: the network; the normalised weights of its convolutions are copied.
        dtype: of the convolutions and of the activations between them; statistics and modulation are float32
            in any case.
        compile: whether to compile it, if there is a compiler, and on a CUDA device to record it.
    """

    def __init__(self, generator: AliasGenerator, dtype: torch.dtype, *, compile: bool = True) -> None:
        self.dtype = dtype
        self.blocks = [_Block(block, dtype) for block in generator.blocks()]
        self.views = [FixedConvolution(view.weight, view.bias, dtype) for view in generator.views()]
        self.last = FixedConvolution(generator.conv_img.weight, generator.conv_img.bias, dtype)
        device = self.last.weight.device
        self._known: set[torch.Size] = set()
        self._run: Callable[..., Tensor] = self.draw
        if compile and can_compile(device.type):
            self._run = torch.compile(self.draw, fullgraph=True, dynamic=False)
        if compile and device.type == "cuda":
            self._run = Graphs(self._run)

    def __call__(
        self, inputs: Tensor, parse: Tensor, divided: Tensor, misaligned: Tensor, noise: Noise | None = None
    ) -> Tensor:
        """Return the picture, float32 (b, 3, h, w) in [-1, 1], for the arguments of `AliasGenerator`."""
        given = inputs, parse, divided, misaligned, *self._drawn(inputs, noise)
        if inputs.shape in self._known:
            return self._run(*given)
        with told(f"preparing the ALIAS generator for {len(inputs)} at once in {self.dtype}"):
            picture = self._run(*given)
        self._known.add(inputs.shape)
        return picture

    def draw(
        self, inputs: Tensor, parse: Tensor, divided: Tensor, misaligned: Tensor, *drawn: Tensor
    ) -> Tensor:
        """Return the picture from tensors alone: the noise as it is drawn, (b, 1, rows, columns) each."""
        noise = iter(drawn)
        # An eighth label that never occurs: matrix units take channels by the eight.
        parse = functional.pad(parse, (0, 0, 0, 0, 0, 1))
        x = inputs
        for level, block in enumerate(self.blocks):
            smaller = 2 ** (LEVELS - 1 - level)
            rows, columns = inputs.shape[2] // smaller, inputs.shape[3] // smaller
            view = self.views[level](nearest(inputs, rows, columns))
            x = torch.cat([double(x), view], 1) if level else view
            labels = nearest(divided if block.masked else parse, rows, columns)
            mask = nearest(misaligned, rows, columns) if block.masked else None
            x = block(x, labels, mask, noise)
        return torch.tanh(self.last(functional.leaky_relu(x, SLOPE)).float())

    def _drawn(self, inputs: Tensor, noise: Noise | None) -> Iterator[Tensor]:
        """Yield the noise of each normalisation, in the order in which the generator draws it."""
        for level, block in enumerate(self.blocks):
            smaller = 2 ** (LEVELS - 1 - level)
            rows, columns = inputs.shape[2] // smaller, inputs.shape[3] // smaller
            for _ in range(block.norms):
                yield (
                    inputs.new_zeros(len(inputs), 1, rows, columns) if noise is None else noise(rows, columns)
                )


class _Block:
    """An `AliasBlock` with its normalised weights at hand."""

    def __init__(self, block: AliasBlock, dtype: torch.dtype) -> None:
        self.masked = block.masked
        self.conv_0 = FixedConvolution(block.conv_0.weight(), block.conv_0.bias, dtype)
        self.conv_1 = FixedConvolution(block.conv_1.weight(), block.conv_1.bias, dtype)
        self.norm_0, self.norm_1 = _Norm(block.norm_0, dtype), _Norm(block.norm_1, dtype)
        self.norms = 2
        self.shortcut: tuple[_Norm, FixedConvolution] | None = None
        if block.learned_shortcut:
            self.norms = 3
            convolution = FixedConvolution(block.conv_s.weight(), None, dtype)
            self.shortcut = _Norm(block.norm_s, dtype), convolution

    def __call__(self, x: Tensor, labels: Tensor, mask: Tensor | None, noise: Iterator[Tensor]) -> Tensor:
        """Return what the `AliasBlock` returns, in the convolutions' type; the labels are (b, 8, h, w)."""
        shortcut = x
        if self.shortcut is not None:
            norm, convolution = self.shortcut
            shortcut = convolution(norm(x, labels, mask, next(noise)))
        x = self.conv_0(functional.leaky_relu(self.norm_0(x, labels, mask, next(noise)), SLOPE))
        x = self.conv_1(functional.leaky_relu(self.norm_1(x, labels, mask, next(noise)), SLOPE))
        return shortcut + x


class _Norm:
    """An `AliasNorm` whose γ and β come from one convolution."""

    def __init__(self, norm: AliasNorm, dtype: torch.dtype) -> None:
        shared = norm.conv_shared[0]
        assert isinstance(shared, torch.nn.Conv2d)
        gamma, beta = norm.conv_gamma, norm.conv_beta
        assert gamma.bias is not None
        assert beta.bias is not None
        missing = LABELS + 1 - shared.in_channels
        self.noise_scale = norm.noise_scale.detach()
        self.shared = FixedConvolution(
            functional.pad(shared.weight, (0, 0, 0, 0, 0, missing)), shared.bias, dtype
        )
        self.gain_and_shift = FixedConvolution(
            torch.cat([gamma.weight, beta.weight]), torch.cat([gamma.bias, beta.bias]), dtype
        )

    def __call__(self, x: Tensor, labels: Tensor, mask: Tensor | None, noise: Tensor) -> Tensor:
        """Return x (b, c, h, w), normalised and modulated, float32."""
        features = self.gain_and_shift(functional.relu(self.shared(labels)))
        gain, shift = features.permute(0, 2, 3, 1).float().chunk(2, 3)
        region = None if mask is None else mask[:, 0, ..., None]
        given = x.permute(0, 2, 3, 1), noise[:, 0], self.noise_scale, region
        modulated = normalised(*given, *statistics(*given)) * (1 + gain) + shift
        return modulated.permute(0, 3, 1, 2)
