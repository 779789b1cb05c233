"""The segmentation generator: the person's parts once the new garment is worn (paper, section 3.2)."""

import torch
from torch import Tensor, nn

INPUTS = 21
"""Garment mask 1, garment 3, parse-agnostic 13, pose 3, noise 1."""

OUTPUTS = 13
"""The labels of `worker.viton_hd.labels.SEGMENTATION`."""

HEIGHT, WIDTH = 256, 192
"""Rows and columns that the generator works at."""

CHANNELS = 64
"""Channels of the first level."""


class SegmentationGenerator(nn.Module):
    """A U-Net with instance normalisation: Ŝ = G_S(c, Sₐ, P, z) (section 3.2).

    Five levels of two convolutions, 64 to 1024 channels; on the way up a nearest-neighbour doubling and a
    convolution, joined to the same level's features on the way down. The published files are of 64 channels
    at the first level.
    """

    def __init__(self, channels: int = CHANNELS) -> None:
        super().__init__()
        self.conv1 = _two_convolutions(INPUTS, channels)
        self.conv2 = _two_convolutions(channels, 2 * channels)
        self.conv3 = _two_convolutions(2 * channels, 4 * channels)
        self.conv4 = _two_convolutions(4 * channels, 8 * channels)
        self.conv5 = _two_convolutions(8 * channels, 16 * channels)
        self.up6 = _doubled(16 * channels, 8 * channels)
        self.conv6 = _two_convolutions(16 * channels, 8 * channels)
        self.up7 = _doubled(8 * channels, 4 * channels)
        self.conv7 = _two_convolutions(8 * channels, 4 * channels)
        self.up8 = _doubled(4 * channels, 2 * channels)
        self.conv8 = _two_convolutions(4 * channels, 2 * channels)
        self.up9 = _doubled(2 * channels, channels)
        self.conv9 = _two_convolutions(2 * channels, channels)
        self.conv9.append(nn.Conv2d(channels, OUTPUTS, 3, padding=1))
        self.halve = nn.MaxPool2d(2)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Return each label's score in (0, 1), (b, 13, h, w), for the joined inputs (b, 21, h, w)."""
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


def _doubled(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Upsample(scale_factor=2), *_convolution(inputs, outputs))


def _convolution(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, 3, padding=1), nn.InstanceNorm2d(outputs), nn.ReLU()
