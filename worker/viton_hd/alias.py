"""The ALIAS generator: the person in the bent garment, misalignment filled in (paper, section 3.4)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from worker.viton_hd.layers import SpectralConv2d

LEVELS = 8
"""Scales at which the generator sees its inputs: from 1/128 of the picture's size to the whole."""

INPUTS = 9
"""Image-agnostic 3, pose 3, bent garment 3."""

LABELS = 7
"""Labels of the synthesis parse, `worker.viton_hd.labels.SYNTHESIS`."""

CHANNELS = 64
"""A sixteenth of the channels of the smallest scale."""

FEATURES = 16
"""Channels that each scale's view of the inputs adds."""

SHARED = 128
"""Channels of the labels' features, from which γ and β are made."""

EPSILON = 1e-5
"""What is added to a variance."""

SLOPE = 0.2
"""The leaky ReLUs' slope below zero."""

Noise = Callable[[int, int], Tensor]
"""(rows, columns) -> the next standard normal noise, (b, 1, rows, columns) on the generator's device."""


class AliasGenerator(nn.Module):
    """Î = G(Iₐ, P, W(c, θ), Ŝ, Ŝ_div, M): eight ALIAS residual blocks, each twice the last one's size.

    With P the pose, W(c, θ) the bent garment, Ŝ the parse, Ŝ_div the parse divided by the misalignment M.
    The keys are those of the published files, and so are the shapes with the channels' defaults.
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
        # The first five see which pixels the bent garment fails to cover, an eighth channel of the parse.
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

    def views(self) -> tuple[nn.Conv2d, ...]:
        """Return the convolutions that look at the inputs, the smallest scale first."""
        first = (self.conv_0, self.conv_1, self.conv_2, self.conv_3)
        return (*first, self.conv_4, self.conv_5, self.conv_6, self.conv_7)

    def view(self, inputs: Tensor, level: int) -> Tensor:
        """Return the features of the inputs at a level, (b, 16 or 1024, h, w)."""
        smaller = 2 ** (LEVELS - 1 - level)
        rows, columns = inputs.shape[2] // smaller, inputs.shape[3] // smaller
        features: Tensor = self.views()[level](nearest(inputs, rows, columns))
        return features

    def forward(
        self, inputs: Tensor, parse: Tensor, divided: Tensor, misaligned: Tensor, noise: Noise | None = None
    ) -> Tensor:
        """Return the picture, (b, 3, h, w) in [-1, 1].

        Args:
            inputs: (b, 9, h, w): image-agnostic, pose and bent garment, in [-1, 1]; h and w are multiples of
                128.
            parse: (b, 7, h, w), the synthesis labels, one-hot.
            divided: (b, 8, h, w), the same with the misaligned part of the garment's region in a channel of
                its own.
            misaligned: (b, 1, h, w) in [0, 1], the garment's region that the bent garment leaves bare.
            noise: where the noise comes from; None for none.
        """
        x = self.view(inputs, 0)
        for level, block in enumerate(self.blocks()):
            if level:
                x = torch.cat([double(x), self.view(inputs, level)], 1)
            rows, columns = x.shape[2:]
            if block.masked:
                mask = nearest(misaligned, rows, columns)
                x = block(x, nearest(divided, rows, columns), mask, noise)
            else:
                x = block(x, nearest(parse, rows, columns), None, noise)
        return torch.tanh(self.conv_img(functional.leaky_relu(x, SLOPE)))


class AliasBlock(nn.Module):
    """A residual block with ALIAS normalisation before each spectral-normalised convolution (section 3.4)."""

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

    def forward(self, x: Tensor, labels: Tensor, mask: Tensor | None, noise: Noise | None) -> Tensor:
        """Return (b, outputs, h, w) for x (b, inputs, h, w), the labels (b, 7 or 8, h, w) and the mask."""
        # The order in which the norms draw their noise is part of what a seed means.
        shortcut = self.conv_s(self.norm_s(x, labels, mask, noise)) if self.learned_shortcut else x
        x = self.conv_0(functional.leaky_relu(self.norm_0(x, labels, mask, noise), SLOPE))
        x = self.conv_1(functional.leaky_relu(self.norm_1(x, labels, mask, noise), SLOPE))
        return shortcut + x


class AliasNorm(nn.Module):
    """Instance normalisation inside and outside the misalignment, then the labels' gain and shift.

        h' = (1 + γ(S)) ⊙ N(h + σ z; M) + β(S)

    with z one standard normal number per pixel, σ learnt per channel, and γ and β convolutions of shared
    features of the labels S, as SPADE has them (Park et al. 2019, eq. 1).
    """

    def __init__(self, channels: int, labels: int, shared: int = SHARED) -> None:
        super().__init__()
        self.noise_scale = nn.Parameter(torch.zeros(channels))
        self.conv_shared = nn.Sequential(nn.Conv2d(labels, shared, 3, padding=1), nn.ReLU())
        self.conv_gamma = nn.Conv2d(shared, channels, 3, padding=1)
        self.conv_beta = nn.Conv2d(shared, channels, 3, padding=1)

    def forward(self, x: Tensor, labels: Tensor, mask: Tensor | None, noise: Noise | None) -> Tensor:
        """Return the normalised and modulated x (b, c, h, w)."""
        if noise is not None:
            x = x + noise(*x.shape[2:]) * self.noise_scale[:, None, None]
        normalised = functional.instance_norm(x, eps=EPSILON) if mask is None else masked_norm(x, mask)
        shared = self.conv_shared(labels)
        modulated: Tensor = normalised * (1 + self.conv_gamma(shared)) + self.conv_beta(shared)
        return modulated


def masked_norm(x: Tensor, mask: Tensor) -> Tensor:
    """Return x (b, c, h, w) normalised on its own inside and outside the mask (b, 1, h, w).

    N(h; M) = (h - μ_m) / σ_m  within each of the regions m = M and m = 1 - M
    """
    return _region_norm(x, mask) + _region_norm(x, 1 - mask)


def _region_norm(x: Tensor, region: Tensor) -> Tensor:
    pixels = region.sum((2, 3), keepdim=True)
    pixels = torch.where(pixels == 0, 1, pixels)
    inside = x * region
    mean = inside.sum((2, 3), keepdim=True) / pixels
    # What lies outside is filled with the region's mean: it becomes 0, and dilutes the variance by the
    # part of the picture that the region takes. The root undoes that.
    filled = inside + (1 - region) * mean
    return functional.instance_norm(filled, eps=EPSILON) * (pixels / (x.shape[2] * x.shape[3])).sqrt()


def nearest(x: Tensor, rows: int, columns: int) -> Tensor:
    """Return x (b, c, h, w) resized by the nearest pixel."""
    return functional.interpolate(x, size=(rows, columns), mode="nearest")


def double(x: Tensor) -> Tensor:
    """Return x (b, c, h, w) at twice its size, each pixel as four."""
    return functional.interpolate(x, scale_factor=2, mode="nearest")
