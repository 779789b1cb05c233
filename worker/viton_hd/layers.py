"""The layers that torch does not offer in this form: a spectral-normalised convolution, and a fixed one."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class SpectralConv2d(nn.Module):
    """A convolution whose weight is divided by its largest singular value (Miyato et al. 2018, eq. 8–9).

        W = W_orig / σ,   σ = uᵀ W_orig v

    with W_orig flattened to (out, in·k·k) and u, v its leading singular vectors, of which each training
    step improves the estimate by one power iteration. The keys are those of the published files.
    """

    weight_u: Tensor
    weight_v: Tensor

    def __init__(self, inputs: int, outputs: int, size: int, *, stride: int = 1, bias: bool = True) -> None:
        super().__init__()
        convolution = nn.Conv2d(inputs, outputs, size, bias=bias)  # for its initial values
        self.stride = stride
        self.padding = size // 2
        self.bias = convolution.bias
        self.weight_orig = convolution.weight
        self.register_buffer("weight_u", functional.normalize(torch.randn(outputs), dim=0))
        self.register_buffer("weight_v", functional.normalize(torch.randn(inputs * size * size), dim=0))

    def weight(self) -> Tensor:
        """Return the normalised weight, (out, in, k, k)."""
        if not self.training:
            return self.weight_orig / self._largest()
        # In mixed precision too, the power iteration is no place for 8 bits of mantissa.
        with torch.autocast(self.weight_orig.device.type, enabled=False):
            matrix = self.weight_orig.detach().flatten(1)
            self.weight_v = functional.normalize(matrix.t() @ self.weight_u, dim=0)
            self.weight_u = functional.normalize(matrix @ self.weight_v, dim=0)
            return self.weight_orig / self._largest()

    def _largest(self) -> Tensor:
        """Return the estimate of the largest singular value."""
        return self.weight_u @ (self.weight_orig.flatten(1) @ self.weight_v)

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of x (b, in, h, w): (b, out, h, w)."""
        return functional.conv2d(x, self.weight(), self.bias, stride=self.stride, padding=self.padding)


class FixedConvolution:
    """A convolution of channels-last activations that learns no more: its weight lies ready in their type."""

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> None:
        self.weight = weight.detach().to(dtype, memory_format=torch.channels_last)
        self.bias = None if bias is None else bias.detach().to(dtype)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the convolution of x (b, in, h, w) of any type: (b, out, h, w), channels-last."""
        x = x.to(self.weight.dtype, memory_format=torch.channels_last)
        return functional.conv2d(x, self.weight, self.bias, padding=self.weight.shape[2] // 2)
