"""The network that reads a garment photograph: its mask, 14 landmarks, kind, sleeve and other attributes.

A pretrained encoder with a feature pyramid as decoder (Lin et al., Feature Pyramid Networks for Object
Detection, CVPR 2017). Landmarks are probability maps over the input's cells, as in Nibali et al., Numerical
Coordinate Regression with Convolutional Neural Networks, 2018. Weights are trained by `tryon garment train`.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from worker.cloth.garment_output import ATTRIBUTES, Forward, GarmentOutput
from worker.cloth.landmarks import NAMES
from worker.lab.encoder import LEVELS, Encoder, normalize


@dataclass(frozen=True)
class NetworkShape:
    """How large the network is.

    Attributes:
        pyramid: channels of the decoder; landmarks differ in place more than in look, so few will do.
        fine: channels at stride 2, where only the mask's edge is drawn.
        hidden: channels between the pooled features and the attributes.
        dropout: share of pooled features left out in training; 110 labelled photographs overfit soon.
    """

    pyramid: int = 80
    fine: int = 16
    hidden: int = 192
    dropout: float = 0.2


class NetworkOutput(NamedTuple):
    """The output as tensors; the fields are those of `GarmentOutput`."""

    mask: torch.Tensor
    maps: torch.Tensor
    present: torch.Tensor
    attributes: dict[str, torch.Tensor]


class GarmentNetwork(nn.Module):
    """(n, 3, h, w) float32, RGB scaled by `normalize` -> NetworkOutput; h and w are multiples of 32."""

    def __init__(self, shape: NetworkShape | None = None) -> None:
        super().__init__()
        shape = shape or NetworkShape()
        self.shape = shape
        half, *widths = LEVELS
        self.encoder = Encoder()
        self.lateral = nn.ModuleList(nn.Conv2d(width, shape.pyramid, 1) for width in widths)
        self.smooth = nn.ModuleList(
            nn.Sequential(_conv(shape.pyramid, shape.pyramid), _Residual(shape.pyramid)) for _ in widths[:-1]
        )
        self.coarse = nn.Sequential(
            _conv(shape.pyramid, shape.pyramid), nn.Conv2d(shape.pyramid, len(NAMES), 1)
        )
        self.edge = nn.ModuleDict(
            {"up": nn.Conv2d(shape.pyramid, shape.fine, 1), "skip": nn.Conv2d(half, shape.fine, 1)}
        )
        self.fine = nn.Sequential(_conv(shape.fine, shape.fine), nn.Conv2d(shape.fine, 1, 1))
        pooled = 2 * widths[-1] + 2 * shape.pyramid
        self.trunk = nn.Sequential(
            nn.Dropout(shape.dropout), nn.Linear(pooled, shape.hidden), nn.ReLU(), nn.Dropout(shape.dropout)
        )
        self.heads = nn.ModuleDict({n: nn.Linear(shape.hidden, len(v)) for n, v in ATTRIBUTES.items()})
        self.present = nn.Linear(shape.hidden, len(NAMES))

    def forward(self, pictures: torch.Tensor) -> NetworkOutput:
        """Return the logits of each head, see NetworkOutput."""
        half, *levels = self.encoder(pictures)
        merged = self.lateral[-1](levels[-1])
        for lateral, smooth, level in zip(
            reversed(self.lateral[:-1]), reversed(self.smooth), reversed(levels[:-1]), strict=True
        ):
            merged = smooth(_twice(merged) + lateral(level))
        mask = self.fine(functional.relu(_twice(self.edge["up"](merged)) + self.edge["skip"](half)))
        hidden = self.trunk(torch.cat([_pooled(levels[-1]), _pooled(merged)], 1))
        return NetworkOutput(
            mask,
            self.coarse(merged),
            self.present(hidden),
            {name: head(hidden) for name, head in self.heads.items()},
        )


def forward_of(network: GarmentNetwork) -> Forward:
    """Return the function with which a `GarmentReader` runs a network, which is put into evaluation mode."""
    network = network.eval().to(memory_format=torch.channels_last)

    def forward(pictures: NDArray[np.uint8]) -> GarmentOutput:
        inputs = normalize(torch.from_numpy(np.ascontiguousarray(pictures)))
        with torch.inference_mode():
            output = network(inputs.contiguous(memory_format=torch.channels_last))
        return GarmentOutput(
            output.mask.float().numpy(),
            output.maps.float().numpy(),
            output.present.float().numpy(),
            {name: logits.float().numpy() for name, logits in output.attributes.items()},
        )

    return forward


class _Residual(nn.Module):
    """Two 3×3 convolutions around which the input goes unchanged (He et al., CVPR 2016)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _conv(width, width)
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return functional.relu(features + self.second(self.first(features)))


def _conv(before: int, after: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)
    )


def _twice(features: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)


def _pooled(features: torch.Tensor) -> torch.Tensor:
    """Return each channel's mean and maximum over the picture, (n, 2 × channels)."""
    return torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1)
