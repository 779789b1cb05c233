"""The ALIAS generator for a GPU: convolutions in low precision, everything between them compiled."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional

from worker.machine.compiling import can_compile, log_duration
from worker.machine.graphs import CudaGraphs
from worker.viton_hd.alias import (
    LABELS,
    SLOPE,
    AliasBlock,
    AliasGenerator,
    AliasNorm,
    NoiseSource,
    double_size,
    level_size,
    resize_nearest,
)
from worker.viton_hd.layers import FixedConvolution, detached_parameters
from worker.viton_hd.modulation import normalise, statistics


class DenseAlias:
    """Generates the picture of an `AliasGenerator`, for inference, and never waits for the device.

    γ and β are convolutions at every pixel, as the definition says. `FastAlias` looks them up in tables of
    the distinct label windows, which is a fifth of the arithmetic. But finding the windows needs a sort, and
    their number must be known on the host: a GPU would be idle while it waits for that number, and it is
    fast at convolutions.

    The whole generator is compiled for each batch size, which fuses the operations between two convolutions.
    On a CUDA device its kernel launches are recorded as a graph and replayed.

    Args:
        generator: the network; the normalised weights of its convolutions are copied.
        dtype: type of the convolutions and of the activations between them. Statistics and modulation are
            always float32.
        compile: whether to compile the generator, if there is a compiler, and to record it on a CUDA device.
    """

    def __init__(self, generator: AliasGenerator, dtype: torch.dtype, *, compile: bool = True) -> None:
        self.dtype = dtype
        self.blocks = [_Block(block, dtype) for block in generator.blocks()]
        self.input_convolutions = [
            FixedConvolution(convolution.weight, convolution.bias, dtype)
            for convolution in generator.input_convolutions()
        ]
        self.last = FixedConvolution(generator.conv_img.weight, generator.conv_img.bias, dtype)
        device = self.last.weight.device
        self._prepared_shapes: set[torch.Size] = set()
        self._run: Callable[..., Tensor] = self.generate
        if compile and can_compile(device.type):
            self._run = torch.compile(self.generate, fullgraph=True, dynamic=False)
        if compile and device.type == "cuda":
            self._run = CudaGraphs(self._run)

    def __call__(
        self,
        inputs: Tensor,
        parse: Tensor,
        divided: Tensor,
        misaligned: Tensor,
        noise: NoiseSource | None = None,
    ) -> Tensor:
        """Return the picture, float32 (b, 3, h, w) in [-1, 1]; the arguments are `AliasGenerator`'s."""
        arguments = inputs, parse, divided, misaligned, *self._noise_maps(inputs, noise)
        if inputs.shape in self._prepared_shapes:
            return self._run(*arguments)
        with log_duration(f"preparing the ALIAS generator for batches of {len(inputs)} in {self.dtype}"):
            picture = self._run(*arguments)
        self._prepared_shapes.add(inputs.shape)
        return picture

    def generate(
        self, inputs: Tensor, parse: Tensor, divided: Tensor, misaligned: Tensor, *noise_maps: Tensor
    ) -> Tensor:
        """Return the picture from tensors alone: the noise of each norm is one tensor, (b, 1, rows, columns).

        The other arguments are those of `AliasGenerator`.
        """
        noise = iter(noise_maps)
        # An eighth label that never occurs: matrix units need the channels in multiples of eight.
        parse = functional.pad(parse, (0, 0, 0, 0, 0, 1))
        x = inputs
        for level, (block, convolution) in enumerate(zip(self.blocks, self.input_convolutions, strict=True)):
            rows, columns = level_size(inputs, level)
            features = convolution(resize_nearest(inputs, rows, columns))
            x = torch.cat([double_size(x), features], 1) if level else features
            labels = resize_nearest(divided if block.masked else parse, rows, columns)
            mask = resize_nearest(misaligned, rows, columns) if block.masked else None
            x = block(x, labels, mask, noise)
        return torch.tanh(self.last(functional.leaky_relu(x, SLOPE)).float())

    def _noise_maps(self, inputs: Tensor, noise: NoiseSource | None) -> Iterator[Tensor]:
        """Yield the noise of each norm, in the order in which the generator uses it; zeros without noise."""
        for level, block in enumerate(self.blocks):
            rows, columns = level_size(inputs, level)
            for _ in range(block.norm_count):
                if noise is None:
                    yield inputs.new_zeros(len(inputs), 1, rows, columns)
                else:
                    yield noise(rows, columns)


class _Block:
    """An `AliasBlock` for inference, with its weights already normalised."""

    def __init__(self, block: AliasBlock, dtype: torch.dtype) -> None:
        self.masked = block.masked
        self.conv_0 = FixedConvolution(block.conv_0.weight(), block.conv_0.bias, dtype)
        self.conv_1 = FixedConvolution(block.conv_1.weight(), block.conv_1.bias, dtype)
        self.norm_0, self.norm_1 = _Norm(block.norm_0, dtype), _Norm(block.norm_1, dtype)
        self.norm_count = 2
        self.shortcut: tuple[_Norm, FixedConvolution] | None = None
        if block.learned_shortcut:
            self.norm_count = 3
            convolution = FixedConvolution(block.conv_s.weight(), None, dtype)
            self.shortcut = _Norm(block.norm_s, dtype), convolution

    def __call__(self, x: Tensor, labels: Tensor, mask: Tensor | None, noise: Iterator[Tensor]) -> Tensor:
        """Return the result of the `AliasBlock` in the type of the convolutions; labels are (b, 8, h, w)."""
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
        layers = norm.conv_shared[0], norm.conv_gamma, norm.conv_beta
        shared, gamma, beta = map(detached_parameters, layers)
        missing_labels = LABELS + 1 - shared["weight"].shape[1]
        self.noise_scale = norm.noise_scale.detach()
        self.shared = FixedConvolution(
            functional.pad(shared["weight"], (0, 0, 0, 0, 0, missing_labels)), shared["bias"], dtype
        )
        self.gain_and_shift = FixedConvolution(
            torch.cat([gamma["weight"], beta["weight"]]), torch.cat([gamma["bias"], beta["bias"]]), dtype
        )

    def __call__(self, x: Tensor, labels: Tensor, mask: Tensor | None, noise: Tensor) -> Tensor:
        """Return x (b, c, h, w), normalised and modulated, float32."""
        features = self.gain_and_shift(functional.relu(self.shared(labels)))
        gain, shift = features.permute(0, 2, 3, 1).float().chunk(2, 3)
        region = None if mask is None else mask[:, 0, ..., None]
        activations = x.permute(0, 2, 3, 1)
        means, scales = statistics(activations, noise[:, 0], self.noise_scale, region)
        normalised = normalise(activations, noise[:, 0], self.noise_scale, region, means, scales)
        return (normalised * (1 + gain) + shift).permute(0, 3, 1, 2)
