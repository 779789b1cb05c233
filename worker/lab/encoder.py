"""EfficientNet-Lite0 with ImageNet's features: the encoder of the networks that are trained here.

The architecture is EfficientNet's (Tan and Le, ICML 2019) without squeeze-and-excitation and with ReLU6; the
published weights are those of TensorFlow's EfficientNet-Lite, Apache-2.0, `tryon weights fetch
efficientnet-lite0`. A network of 110 labelled photographs learns far more from features that a million
photographs formed than from random ones.
"""

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from worker.images.network_input import MEAN, SPREAD
from worker.weights.checkpoint import load_state_dict, shapes

LEVELS = (16, 24, 40, 112, 320)
"""Channels of the features at strides 2, 4, 8, 16 and 32."""

_STEM = 32  # channels after the first convolution
_STAGES = (
    (1, 16, 1, 3, 1),
    (2, 24, 6, 3, 2),
    (2, 40, 6, 5, 2),
    (3, 80, 6, 3, 2),
    (3, 112, 6, 5, 1),
    (4, 192, 6, 5, 2),
    (1, 320, 6, 3, 1),
)  # blocks, channels, expansion, kernel and stride of each stage: table 1 of the paper
_LAST_OF_LEVEL = (0, 2, 4, 10, 15)  # block after which the features of a level are taken
_CLASSIFIER: dict[str, tuple[int, ...]] = {
    "_conv_head.weight": (1280, 320, 1, 1),
    **{f"_bn1.{name}": (1280,) for name in ("weight", "bias", "running_mean", "running_var")},
    **{"_bn1.num_batches_tracked": (), "_fc.weight": (1000, 1280), "_fc.bias": (1000,)},
}  # of the published file, not used here


class Encoder(nn.Module):
    """(n, 3, h, w) float32, RGB by `normalize` -> features (n, LEVELS[i], h / 2^(i+1), w / 2^(i+1)).

    The names of the parameters are those of the published file.

    Args:
        frozen_blocks: leading blocks that keep the published weights and their statistics. Their maps are
            the largest, so that training them takes most of the time, and edges need not be learnt again.
    """

    def __init__(self, frozen_blocks: int = 5) -> None:
        super().__init__()
        self.frozen_blocks = frozen_blocks
        self._conv_stem = _Convolution(3, _STEM, 3, 2)
        self._bn0 = _norm(_STEM)
        blocks, before = [], _STEM
        for count, after, expansion, kernel, stride in _STAGES:
            for index in range(count):
                blocks.append(_Block(before, after, expansion, kernel, stride if index == 0 else 1))
                before = after
        self._blocks = nn.ModuleList(blocks)
        for part in self._frozen():
            part.requires_grad_(False)

    def forward(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """Return the features of the five levels."""
        features = functional.relu6(self._bn0(self._conv_stem(pictures)))
        levels = []
        for index, block in enumerate(self._blocks):
            # In training, a processor takes twice as long for the gradients of depthwise convolutions in
            # bfloat16 as in float32.
            trained = index >= self.frozen_blocks and torch.is_grad_enabled()
            if trained and torch.is_autocast_enabled("cpu"):
                with torch.autocast("cpu", enabled=False):
                    features = block(features.float())
            else:
                features = block(features)
            if index in _LAST_OF_LEVEL:
                levels.append(features)
        return levels

    def train(self, mode: bool = True) -> "Encoder":
        """Set the mode; the statistics of frozen blocks stay those of the published weights."""
        super().train(mode)
        for part in self._frozen():
            part.eval()
        return self

    def load_published(self, file: Path) -> None:
        """Load the published weights. Raises WeightsMissingError when the file holds another network's."""
        state = load_state_dict(file, shapes(self) | _CLASSIFIER)
        self.load_state_dict({name: value for name, value in state.items() if name not in _CLASSIFIER})

    def _frozen(self) -> list[nn.Module]:
        if not self.frozen_blocks:
            return []
        return [self._conv_stem, self._bn0, *self._blocks[: self.frozen_blocks]]


def normalize(pictures: torch.Tensor) -> torch.Tensor:
    """Return RGB pictures, uint8 (n, h, w, 3), as the encoder takes them: float32 (n, 3, h, w)."""
    return ((pictures.float() - MEAN) / SPREAD).permute(0, 3, 1, 2)


class _Convolution(nn.Conv2d):
    """A convolution without bias; with stride 2 it pads more at the right and bottom, as TensorFlow does."""

    def __init__(self, before: int, after: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(before, after, kernel, stride, padding, groups=groups, bias=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        if self.stride[0] > 1:
            around = self.kernel_size[0] - self.stride[0]
            low, high = around // 2, around - around // 2
            features = functional.pad(features, (low, high, low, high))
        return super().forward(features)


def _norm(channels: int) -> nn.BatchNorm2d:
    """Return batch normalization with the constants of the published weights."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class _Block(nn.Module):
    """An inverted residual: expand, filter each channel by itself, project (Sandler et al., CVPR 2018)."""

    def __init__(self, before: int, after: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        wide = before * expansion
        self.expands = expansion > 1
        self.skips = stride == 1 and before == after
        if self.expands:
            self._expand_conv = _Convolution(before, wide, 1)
            self._bn0 = _norm(wide)
        self._depthwise_conv = _Convolution(wide, wide, kernel, stride, groups=wide)
        self._bn1 = _norm(wide)
        self._project_conv = _Convolution(wide, after, 1)
        self._bn2 = _norm(after)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        inner = features
        if self.expands:
            inner = functional.relu6(self._bn0(self._expand_conv(inner)))
        inner = functional.relu6(self._bn1(self._depthwise_conv(inner)))
        projected: torch.Tensor = self._bn2(self._project_conv(inner))
        return features + projected if self.skips else projected
