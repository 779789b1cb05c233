"""The one layer that torch does not offer in this form: a spectral-normalised convolution."""

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

    def __init__(self, inputs: int, outputs: int, size: int, *, bias: bool = True) -> None:
        super().__init__()
        convolution = nn.Conv2d(inputs, outputs, size, bias=bias)  # for its initial values
        self.padding = size // 2
        self.bias = convolution.bias
        self.weight_orig = convolution.weight
        self.register_buffer("weight_u", functional.normalize(torch.randn(outputs), dim=0))
        self.register_buffer("weight_v", functional.normalize(torch.randn(inputs * size * size), dim=0))

    def weight(self) -> Tensor:
        """Return the normalised weight, (out, in, k, k)."""
        matrix = self.weight_orig.flatten(1)
        if self.training:
            with torch.no_grad():
                self.weight_v = functional.normalize(matrix.t() @ self.weight_u, dim=0)
                self.weight_u = functional.normalize(matrix @ self.weight_v, dim=0)
        return self.weight_orig / (self.weight_u @ (matrix @ self.weight_v))

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of x (b, in, h, w): (b, out, h, w)."""
        return functional.conv2d(x, self.weight(), self.bias, padding=self.padding)
