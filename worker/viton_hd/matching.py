"""Geometric matching: predicts how the garment is warped to the person (paper, section 3.3)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from worker.viton_hd.spline import POINTS

HEIGHT, WIDTH = 256, 192
"""Rows and columns of the network's inputs."""

PERSON_INPUTS = 7
"""Input channels of the person: region of the new garment 1, pose 3, agnostic person 3."""

GARMENT_INPUTS = 3
"""Input channels of the garment: its colours."""

STRIDE = 16
"""Pixels along each side of a cell of the feature maps, which have 16 × 12 cells."""

CHANNELS = 64
"""Channels of the first level."""


class GeometricMatching(nn.Module):
    """θ = R(corr(E_A(Ŝ_c, P, Iₐ), E_B(c))): offsets of a thin-plate spline's control points (section 3.3).

    As in Rocco et al. 2017 (arXiv 1703.05593): features of the person and of the garment, their correlation,
    and a regression. `worker.viton_hd.spline` computes the sampling grid from θ. The published files have 64
    channels at the first level and inputs of 256×192 pixels.

    Args:
        channels: channels of the first level.
        height, width: rows and columns of the inputs, multiples of 64.
    """

    def __init__(self, channels: int = CHANNELS, height: int = HEIGHT, width: int = WIDTH) -> None:
        super().__init__()
        self.extractionA = FeatureExtraction(PERSON_INPUTS, channels)
        self.extractionB = FeatureExtraction(GARMENT_INPUTS, channels)
        self.regression = Regression(channels, height // STRIDE, width // STRIDE)

    def forward(self, person: Tensor, garment: Tensor) -> Tensor:
        """Return θ, (b, 50), for the person (b, 7, 256, 192) and the garment (b, 3, 256, 192)."""
        theta: Tensor = self.regression(correlation(self.extractionA(person), self.extractionB(garment)))
        return theta


class FeatureExtraction(nn.Module):
    """Unit feature vectors by four halvings and two convolutions: (b, n, 256, 192) -> (b, 512, 16, 12)."""

    def __init__(self, inputs: int, channels: int = CHANNELS) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for outputs in (channels, 2 * channels, 4 * channels, 8 * channels):
            # The norm follows the ReLU, so it cannot be folded into the convolution before it.
            layers += [nn.Conv2d(inputs, outputs, 4, stride=2, padding=1), nn.ReLU(), nn.BatchNorm2d(outputs)]
            inputs = outputs
        layers += [nn.Conv2d(inputs, inputs, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(inputs)]
        layers += [nn.Conv2d(inputs, inputs, 3, padding=1), nn.ReLU()]
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features, the vector of each cell scaled to length 1."""
        return functional.normalize(self.model(x), dim=1)


def correlation(person: Tensor, garment: Tensor) -> Tensor:
    """Return the dot product of every pair of cells (Rocco et al. 2017, eq. 1).

        corr[x·h + y, y', x'] = f_person[:, y, x] · f_garment[:, y', x']

    Args:
        person, garment: (b, c, h, w).

    Returns:
        (b, h·w, h, w): the person's cells, counted column by column, at the garment's cells.
    """
    batch, _, height, width = garment.shape
    person = person.transpose(2, 3).flatten(2)
    return (person.transpose(1, 2) @ garment.flatten(2)).reshape(batch, -1, height, width)


class Regression(nn.Module):
    """The control points' offsets from the correlation: (b, 192, 16, 12) -> (b, 50), each in (-1, 1)."""

    def __init__(self, channels: int, rows: int, columns: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = rows * columns
        for multiple, size, stride in ((8, 4, 2), (4, 4, 2), (2, 3, 1), (1, 3, 1)):
            outputs = multiple * channels
            layers += [nn.Conv2d(inputs, outputs, size, stride=stride, padding=1)]
            layers += [nn.BatchNorm2d(outputs), nn.ReLU()]
            inputs = outputs
        self.conv = nn.Sequential(*layers)
        self.linear = nn.Linear(inputs * (rows // 4) * (columns // 4), 2 * POINTS * POINTS)

    def forward(self, correlated: Tensor) -> Tensor:
        """Return θ, (b, 50): 25 offsets in x, then 25 in y, in halves of the picture's size."""
        return torch.tanh(self.linear(self.conv(correlated).flatten(1)))
