"""The discriminator: scores patches as real or generated at two scales (Wang et al. 2018, section 3.2)."""

from torch import Tensor, nn
from torch.nn import functional

from worker.viton_hd.layers import SpectralConv2d

SCALES = 2
"""The picture and its half."""

SLOPE = 0.2
"""Slope of the leaky ReLUs below zero."""


class MultiScaleDiscriminator(nn.Module):
    """One patch discriminator for the picture and one for its half.

    Args:
        inputs: channels of the condition and the picture together.
        channels: channels of the first level.
    """

    def __init__(self, inputs: int, channels: int = 64) -> None:
        super().__init__()
        self.scales = nn.ModuleList(PatchDiscriminator(inputs, channels) for _ in range(SCALES))

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        """Return for each scale the features of its layers, then the patches' scores; x is (b, n, h, w)."""
        outputs: list[list[Tensor]] = []
        for number, scale in enumerate(self.scales):
            if number:
                x = functional.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
            outputs.append(scale(x))
        return outputs


class PatchDiscriminator(nn.Module):
    """Three halvings, a convolution and the scores; spectral and instance normalisation, as in SPADE."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, channels, 4, stride=2, padding=2)
        self.inner = nn.ModuleList(
            SpectralConv2d(multiple * channels, 2 * multiple * channels, 4, stride=stride, bias=False)
            for multiple, stride in ((1, 2), (2, 2), (4, 1))
        )
        self.scores = nn.Conv2d(8 * channels, 1, 4, padding=2)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the features of the layers, then the patches' scores, (b, 1, h', w')."""
        features = [functional.leaky_relu(self.first(x), SLOPE)]
        for convolution in self.inner:
            features.append(functional.leaky_relu(functional.instance_norm(convolution(features[-1])), SLOPE))
        return [*features, self.scores(features[-1])]
