"""The segmentation generator: predicts the person's parse in the new garment (paper, section 3.2)."""

import torch
from torch import Tensor, nn

INPUTS = 21
"""Input channels: garment mask 1, garment 3, parse-agnostic 13, pose 3, noise 1."""

OUTPUTS = 13
"""The labels of `worker.viton_hd.labels.SEGMENTATION`."""

HEIGHT, WIDTH = 256, 192
"""Rows and columns of the generator's inputs and outputs."""

CHANNELS = 64
"""Channels of the first level."""

DROPOUT = 0.5
"""Share of the two deepest levels' activations that training sets to zero."""


class SegmentationGenerator(nn.Module):
    """A U-Net with instance normalisation: Ŝ = G_S(c, Sₐ, P, z) (section 3.2).

    Five levels of two convolutions with `channels` to 16 · `channels` channels. On the way up, each level is
    a nearest-neighbour doubling and a convolution, joined to the features of the same level on the way down.
    The published files have 64 channels at the first level.
    """

    def __init__(self, channels: int = CHANNELS) -> None:
        super().__init__()
        self.conv1 = _two_convolutions(INPUTS, channels)
        self.conv2 = _two_convolutions(channels, 2 * channels)
        self.conv3 = _two_convolutions(2 * channels, 4 * channels)
        self.conv4 = _two_convolutions(4 * channels, 8 * channels)
        self.conv5 = _two_convolutions(8 * channels, 16 * channels)
        self.up6 = _upsampling(16 * channels, 8 * channels)
        self.conv6 = _two_convolutions(16 * channels, 8 * channels)
        self.up7 = _upsampling(8 * channels, 4 * channels)
        self.conv7 = _two_convolutions(8 * channels, 4 * channels)
        self.up8 = _upsampling(4 * channels, 2 * channels)
        self.conv8 = _two_convolutions(4 * channels, 2 * channels)
        self.up9 = _upsampling(2 * channels, channels)
        self.conv9 = _two_convolutions(2 * channels, channels)
        self.conv9.append(nn.Conv2d(channels, OUTPUTS, 3, padding=1))
        self.halve = nn.MaxPool2d(2)
        self.drop = nn.Dropout(DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        """Return the score of each label in (0, 1), (b, 13, h, w), for the joined inputs (b, 21, h, w)."""
        down1 = self.conv1(x)
        down2 = self.conv2(self.halve(down1))
        down3 = self.conv3(self.halve(down2))
        down4 = self.drop(self.conv4(self.halve(down3)))
        deepest = self.drop(self.conv5(self.halve(down4)))
        up = self.conv6(torch.cat([down4, self.up6(deepest)], 1))
        up = self.conv7(torch.cat([down3, self.up7(up)], 1))
        up = self.conv8(torch.cat([down2, self.up8(up)], 1))
        return torch.sigmoid(self.conv9(torch.cat([down1, self.up9(up)], 1)))


def _two_convolutions(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(*_convolution(inputs, outputs), *_convolution(outputs, outputs))


def _upsampling(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Upsample(scale_factor=2), *_convolution(inputs, outputs))


def _convolution(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, 3, padding=1), nn.InstanceNorm2d(outputs), nn.ReLU()
