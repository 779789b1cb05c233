"""Layers that torch does not provide in this form: spectral-normalised and fixed convolutions."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class SpectralConv2d(nn.Module):
    """A convolution whose weight is divided by its largest singular value (Miyato et al. 2018, eq. 8-9).

        W = W_orig / σ,   σ = uᵀ W_orig v

    W_orig is flattened to (out, in·k·k); u and v are estimates of its leading singular vectors. Each training
    step improves them by one power iteration. The state dict has the keys of the published files.

    Args:
        inputs, outputs: channels.
        size: side of the kernel, odd for an output of the input's size.
        stride: step of the kernel, pixels.
        bias: whether a bias is added.
    """

    weight_u: Tensor
    weight_v: Tensor

    def __init__(self, inputs: int, outputs: int, size: int, *, stride: int = 1, bias: bool = True) -> None:
        super().__init__()
        convolution = nn.Conv2d(inputs, outputs, size, bias=bias)  # provides the initial values
        self.stride = stride
        self.padding = size // 2
        self.bias = convolution.bias
        self.weight_orig = convolution.weight
        self.register_buffer("weight_u", functional.normalize(torch.randn(outputs), dim=0))
        self.register_buffer("weight_v", functional.normalize(torch.randn(inputs * size * size), dim=0))

    def weight(self) -> Tensor:
        """Return the normalised weight, (out, in, k, k); in training, after one power iteration."""
        if not self.training:
            return self.weight_orig / self._largest_singular_value()
        # Autocast is off: 8 bits of mantissa are too few for the power iteration.
        with torch.autocast(self.weight_orig.device.type, enabled=False):
            matrix = self.weight_orig.detach().flatten(1)
            self.weight_v = functional.normalize(matrix.t() @ self.weight_u, dim=0)
            self.weight_u = functional.normalize(matrix @ self.weight_v, dim=0)
            return self.weight_orig / self._largest_singular_value()

    def _largest_singular_value(self) -> Tensor:
        return self.weight_u @ (self.weight_orig.flatten(1) @ self.weight_v)

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of x (b, in, h, w): (b, out, h, w) for stride 1 and an odd kernel."""
        return functional.conv2d(x, self.weight(), self.bias, stride=self.stride, padding=self.padding)


class FixedConvolution:
    """A convolution for inference on channels-last activations, with its weight already in their type.

    Args:
        weight: (out, in, k, k), k odd.
        bias: (out,), or None.
        dtype: type of the weight, the bias and the result.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> None:
        self.weight = weight.detach().to(dtype, memory_format=torch.channels_last)
        self.bias = None if bias is None else bias.detach().to(dtype)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the convolution of x (b, in, h, w) of any type: (b, out, h, w), channels-last."""
        x = x.to(self.weight.dtype, memory_format=torch.channels_last)
        return functional.conv2d(x, self.weight, self.bias, padding=self.weight.shape[2] // 2)


def detached_parameters(layer: nn.Module) -> dict[str, Tensor]:
    """Return the layer's parameters by name, without gradients; they share the layer's memory."""
    return {name: parameter.detach() for name, parameter in layer.named_parameters()}
