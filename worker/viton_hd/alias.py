"""The ALIAS generator: the person in the warped garment, misaligned areas filled (paper, section 3.4)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from worker.viton_hd.layers import SpectralConv2d

LEVELS = 8
"""Scales at which the generator reads its inputs: from 1/128 of the picture's size to the full size."""

INPUTS = 9
"""Input channels: agnostic person 3, pose 3, warped garment 3."""

LABELS = 7
"""Labels of the synthesis parse, `worker.viton_hd.labels.SYNTHESIS`."""

CHANNELS = 64
"""A sixteenth of the channels of the smallest scale."""

FEATURES = 16
"""Channels of the input features that are joined at each scale."""

SHARED = 128
"""Channels of the label features from which γ and β are computed."""

EPSILON = 1e-5
"""Added to a variance before its square root, so that a constant channel does not divide by zero."""

SLOPE = 0.2
"""Slope of the leaky ReLUs below zero."""

NoiseSource = Callable[[int, int], Tensor]
"""(rows, columns) -> the next standard normal noise, (b, 1, rows, columns) on the generator's device."""


class AliasGenerator(nn.Module):
    """Î = G(Iₐ, P, W(c, θ), Ŝ, Ŝ_div, M): eight ALIAS residual blocks, each at twice the size of the last.

    P is the pose, W(c, θ) the warped garment, Ŝ the parse, Ŝ_div the parse divided by the misalignment M.
    The state dict has the keys of the published files and, with the default channels, their shapes.

    Args:
        channels: a sixteenth of the channels of the smallest scale.
        features: channels of the input features that are joined at each scale.
        shared: channels of the label features of each norm.
    """

    def __init__(self, channels: int = CHANNELS, features: int = FEATURES, shared: int = SHARED) -> None:
        super().__init__()
        self.conv_0 = nn.Conv2d(INPUTS, 16 * channels, 3, padding=1)
        self.conv_1 = nn.Conv2d(INPUTS, features, 3, padding=1)
        self.conv_2 = nn.Conv2d(INPUTS, features, 3, padding=1)
        self.conv_3 = nn.Conv2d(INPUTS, features, 3, padding=1)
        self.conv_4 = nn.Conv2d(INPUTS, features, 3, padding=1)
        self.conv_5 = nn.Conv2d(INPUTS, features, 3, padding=1)
        self.conv_6 = nn.Conv2d(INPUTS, features, 3, padding=1)
        self.conv_7 = nn.Conv2d(INPUTS, features, 3, padding=1)
        # The first five blocks read the divided parse: its eighth channel is the misalignment.
        self.head_0 = AliasBlock(16 * channels, 16 * channels, masked=True, shared=shared)
        self.G_middle_0 = AliasBlock(16 * channels + features, 16 * channels, masked=True, shared=shared)
        self.G_middle_1 = AliasBlock(16 * channels + features, 16 * channels, masked=True, shared=shared)
        self.up_0 = AliasBlock(16 * channels + features, 8 * channels, masked=True, shared=shared)
        self.up_1 = AliasBlock(8 * channels + features, 4 * channels, masked=True, shared=shared)
        self.up_2 = AliasBlock(4 * channels + features, 2 * channels, masked=False, shared=shared)
        self.up_3 = AliasBlock(2 * channels + features, channels, masked=False, shared=shared)
        self.up_4 = AliasBlock(channels + features, channels // 2, masked=False, shared=shared)
        self.conv_img = nn.Conv2d(channels // 2, 3, 3, padding=1)

    def blocks(self) -> tuple["AliasBlock", ...]:
        """Return the blocks, the smallest scale first."""
        middle = (self.G_middle_0, self.G_middle_1)
        return (self.head_0, *middle, self.up_0, self.up_1, self.up_2, self.up_3, self.up_4)

    def input_convolutions(self) -> tuple[nn.Conv2d, ...]:
        """Return the convolutions that read the inputs, the smallest scale first."""
        first = (self.conv_0, self.conv_1, self.conv_2, self.conv_3)
        return (*first, self.conv_4, self.conv_5, self.conv_6, self.conv_7)

    def forward(
        self,
        inputs: Tensor,
        parse: Tensor,
        divided: Tensor,
        misaligned: Tensor,
        noise: NoiseSource | None = None,
    ) -> Tensor:
        """Return the picture, (b, 3, h, w) in [-1, 1].

        Args:
            inputs: (b, 9, h, w): agnostic person, pose and warped garment, in [-1, 1]; h and w are multiples
                of 128.
            parse: (b, 7, h, w), the synthesis labels, one-hot.
            divided: (b, 8, h, w), the same labels with the misaligned part of the garment's region moved to
                an eighth channel.
            misaligned: (b, 1, h, w) in [0, 1], the part of the garment's region that the warped garment does
                not cover.
            noise: the source of the noise; None for no noise.
        """
        convolutions = self.input_convolutions()
        x = convolutions[0](resize_nearest(inputs, *level_size(inputs, 0)))
        for level, block in enumerate(self.blocks()):
            rows, columns = level_size(inputs, level)
            if level:
                features = convolutions[level](resize_nearest(inputs, rows, columns))
                x = torch.cat([double_size(x), features], 1)
            if block.masked:
                mask = resize_nearest(misaligned, rows, columns)
                x = block(x, resize_nearest(divided, rows, columns), mask, noise)
            else:
                x = block(x, resize_nearest(parse, rows, columns), None, noise)
        return torch.tanh(self.conv_img(functional.leaky_relu(x, SLOPE)))


class AliasBlock(nn.Module):
    """A residual block: ALIAS normalisation before each spectral-normalised convolution (section 3.4).

    Args:
        inputs, outputs: channels.
        masked: whether the norms read the divided parse and the misalignment, or the parse alone.
        shared: channels of the label features of each norm.
    """

    def __init__(self, inputs: int, outputs: int, *, masked: bool, shared: int = SHARED) -> None:
        super().__init__()
        self.masked = masked
        self.learned_shortcut = inputs != outputs
        labels = LABELS + 1 if masked else LABELS
        self.conv_0 = SpectralConv2d(inputs, outputs, 3)
        self.conv_1 = SpectralConv2d(outputs, outputs, 3)
        if self.learned_shortcut:
            self.conv_s = SpectralConv2d(inputs, outputs, 1, bias=False)
        self.norm_0 = AliasNorm(inputs, labels, shared)
        self.norm_1 = AliasNorm(outputs, labels, shared)
        if self.learned_shortcut:
            self.norm_s = AliasNorm(inputs, labels, shared)

    def forward(self, x: Tensor, labels: Tensor, mask: Tensor | None, noise: NoiseSource | None) -> Tensor:
        """Return (b, outputs, h, w).

        Args:
            x: (b, inputs, h, w).
            labels: (b, 8, h, w), the divided parse, for a masked block; else (b, 7, h, w), the parse.
            mask: (b, 1, h, w), the misalignment, for a masked block; else None.
            noise: the source of the noise; None for no noise.
        """
        # The order in which the norms take their noise must stay: it decides what a seed gives.
        shortcut = self.conv_s(self.norm_s(x, labels, mask, noise)) if self.learned_shortcut else x
        x = self.conv_0(functional.leaky_relu(self.norm_0(x, labels, mask, noise), SLOPE))
        x = self.conv_1(functional.leaky_relu(self.norm_1(x, labels, mask, noise), SLOPE))
        return shortcut + x


class AliasNorm(nn.Module):
    """Instance normalisation inside and outside the misalignment, then gain and shift from the labels.

        h' = (1 + γ(S)) ⊙ N(h + σ z; M) + β(S)

    z is one standard normal number per pixel and σ a learnt scale per channel. γ and β are convolutions of
    shared features of the labels S, as in SPADE (Park et al. 2019, eq. 1).
    """

    def __init__(self, channels: int, labels: int, shared: int = SHARED) -> None:
        super().__init__()
        self.noise_scale = nn.Parameter(torch.zeros(channels))
        self.conv_shared = nn.Sequential(nn.Conv2d(labels, shared, 3, padding=1), nn.ReLU())
        self.conv_gamma = nn.Conv2d(shared, channels, 3, padding=1)
        self.conv_beta = nn.Conv2d(shared, channels, 3, padding=1)

    def forward(self, x: Tensor, labels: Tensor, mask: Tensor | None, noise: NoiseSource | None) -> Tensor:
        """Return x (b, c, h, w), normalised and modulated; the arguments are those of `AliasBlock`."""
        if noise is not None:
            x = x + noise(*x.shape[2:]) * self.noise_scale[:, None, None]
        normalised = functional.instance_norm(x, eps=EPSILON) if mask is None else masked_norm(x, mask)
        shared = self.conv_shared(labels)
        modulated: Tensor = normalised * (1 + self.conv_gamma(shared)) + self.conv_beta(shared)
        return modulated


def masked_norm(x: Tensor, mask: Tensor) -> Tensor:
    """Return x (b, c, h, w), normalised separately inside and outside the mask (b, 1, h, w).

    N(h; M) = (h - μ_m) / σ_m  within each of the regions m = M and m = 1 - M
    """
    return _region_norm(x, mask) + _region_norm(x, 1 - mask)


def _region_norm(x: Tensor, region: Tensor) -> Tensor:
    pixels = region.sum((2, 3), keepdim=True)
    pixels = torch.where(pixels == 0, 1, pixels)
    inside = x * region
    mean = inside.sum((2, 3), keepdim=True) / pixels
    # Pixels outside the region get the region's mean, so they become 0. They also reduce the variance by the
    # region's share of the picture; the square root corrects that.
    filled = inside + (1 - region) * mean
    return functional.instance_norm(filled, eps=EPSILON) * (pixels / (x.shape[2] * x.shape[3])).sqrt()


def level_size(inputs: Tensor, level: int) -> tuple[int, int]:
    """Return the rows and columns of a level's activations, for the generator's inputs (b, c, h, w)."""
    divisor = 2 ** (LEVELS - 1 - level)
    return inputs.shape[2] // divisor, inputs.shape[3] // divisor


def resize_nearest(x: Tensor, rows: int, columns: int) -> Tensor:
    """Return x (b, c, h, w) resampled to (rows, columns) by the nearest pixel."""
    return functional.interpolate(x, size=(rows, columns), mode="nearest")


def double_size(x: Tensor) -> Tensor:
    """Return x (b, c, h, w) at twice its size, (b, c, 2h, 2w): each pixel is repeated four times."""
    return functional.interpolate(x, scale_factor=2, mode="nearest")
