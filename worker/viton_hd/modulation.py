"""Normalises, modulates and rectifies in one pass over memory, compiled if there is a compiler."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

from worker.machine.compiling import can_compile, log_duration
from worker.viton_hd.alias import EPSILON, SLOPE

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

Statistics = Callable[[Tensor, Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor]]
"""The type of `statistics`."""

Modulate = Callable[
    [Tensor, Tensor, Tensor, Tensor | None, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, bool], None
]
"""The type of `modulate`."""

_ELEMENTS_PER_STEP = 2**20
"""Numbers that an eager step processes at a time: limits its temporary copies to 4 MiB each."""

_CHANNELS_PER_CACHE_LINE = 16
"""Float32 numbers in a cache line of the processor, 64 bytes: with fewer channels it is read repeatedly."""


def statistics(x: Tensor, noise: Tensor, noise_scale: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the mean and the scale of x + noise in each region, float32 (regions, …, channels) each.

    With m the region's coverage of each pixel, n its sum, and N the pixels of the picture,

        μ = Σ m h / n,   scale = √(n / N) / √(Σ m² (h - μ)² / N + ε)

    This equals `worker.viton_hd.alias.masked_norm`, which fills the pixels outside the region with the mean:
    they add nothing to the variance except to N. Without a mask the whole picture is the only region.

    Args:
        x: (…, rows, columns, channels) of any type: the activations of one item or of a batch.
        noise: float32 (…, rows, columns).
        noise_scale: float32 (channels,).
        mask: float32 (…, rows, columns, 1), the misalignment, or None.
    """
    noisy = _with_noise(x, noise, noise_scale)
    size = x.shape[-3] * x.shape[-2]
    if mask is None:
        mean = _sum_over_pixels(noisy) / size
        variance = _sum_over_pixels((noisy - _per_pixel(mean)).square()) / size
        return mean[None], (variance + EPSILON).rsqrt()[None]
    means, scales = [], []
    for region in (mask, 1 - mask):
        pixels = _sum_over_pixels(region)
        pixels = torch.where(pixels == 0, 1, pixels)
        mean = _sum_over_pixels(noisy * region) / pixels
        variance = _sum_over_pixels(((noisy - _per_pixel(mean)) * region).square()) / size
        means.append(mean)
        scales.append((variance + EPSILON).rsqrt() * (pixels / size).sqrt())
    return torch.stack(means), torch.stack(scales)


def normalise(
    x: Tensor, noise: Tensor, noise_scale: Tensor, mask: Tensor | None, means: Tensor, scales: Tensor
) -> Tensor:
    """Return x + noise, normalised in each region by its `statistics`: float32, of the shape of x."""
    noisy = _with_noise(x, noise, noise_scale)
    inside = (noisy - _per_pixel(means[0])) * _per_pixel(scales[0])
    if mask is None:
        return inside
    outside = (noisy - _per_pixel(means[1])) * _per_pixel(scales[1])
    return inside * mask + outside * (1 - mask)


def modulate(
    x: Tensor,
    noise: Tensor,
    noise_scale: Tensor,
    mask: Tensor | None,
    means: Tensor,
    scales: Tensor,
    index: Tensor,
    gain: Tensor,
    shift: Tensor,
    out: Tensor,
    rectify: bool,
) -> None:
    """Write x + noise, normalised in each region, times 1 + γ, plus β.

    Args:
        x, noise, noise_scale, mask: see `statistics`, of one item.
        means, scales: from `statistics`.
        index: int64 (rows, columns), the row of each pixel in the tables.
        gain, shift: float32 (n, channels), the tables of 1 + γ and β.
        out: the result, of the shape and type of x; it may be x itself.
        rectify: whether to apply the leaky ReLU.
    """
    modulated = normalise(x, noise, noise_scale, mask, means, scales) * gain[index] + shift[index]
    out.copy_(torch.where(modulated > 0, modulated, modulated * SLOPE) if rectify else modulated)


def _sum_over_pixels(x: Tensor) -> Tensor:
    """Return the sum over columns, then over rows: many short sums have a small rounding error."""
    return x.sum(-2).sum(-2)


def _per_pixel(values: Tensor) -> Tensor:
    """Return values of each channel, (…, channels), as (…, 1, 1, channels): they broadcast to pixels."""
    return values[..., None, None, :]


def _with_noise(x: Tensor, noise: Tensor, noise_scale: Tensor) -> Tensor:
    return x.float() + noise[..., None] * noise_scale


@dataclass(frozen=True)
class Kernels:
    """The functions of this module with the same names, compiled or eager."""

    statistics: Statistics
    modulate: Modulate


def _statistics_in_steps(
    x: Tensor, noise: Tensor, noise_scale: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the `statistics`, a few channels at a time: each eager operation makes a temporary copy."""
    step = max(_CHANNELS_PER_CACHE_LINE, _ELEMENTS_PER_STEP // (x.shape[0] * x.shape[1]))
    parts = [
        statistics(x[..., start : start + step], noise, noise_scale[start : start + step], mask)
        for start in range(0, x.shape[2], step)
    ]
    return torch.cat([means for means, _ in parts], 1), torch.cat([scales for _, scales in parts], 1)


def _modulate_in_steps(
    x: Tensor,
    noise: Tensor,
    noise_scale: Tensor,
    mask: Tensor | None,
    means: Tensor,
    scales: Tensor,
    index: Tensor,
    gain: Tensor,
    shift: Tensor,
    out: Tensor,
    rectify: bool,
) -> None:
    """Do the work of `modulate`, a few rows at a time."""
    step = max(1, _ELEMENTS_PER_STEP // (x.shape[1] * x.shape[2]))
    for start in range(0, x.shape[0], step):
        rows = slice(start, start + step)
        region = None if mask is None else mask[rows]
        tables = means, scales, index[rows], gain, shift
        modulate(x[rows], noise[rows], noise_scale, region, *tables, out[rows], rectify)


EAGER = Kernels(_statistics_in_steps, _modulate_in_steps)


@lru_cache(maxsize=1)
def compiled() -> Kernels:
    """Return the kernels compiled by torch for any size, or the eager ones if there is no compiler.

    torch keeps the compiled code on disk (TORCHINDUCTOR_CACHE_DIR): the next process only reads it.
    """
    if not can_compile("cpu"):
        return EAGER
    return Kernels(_compiled(statistics), _compiled(modulate))


def _compiled(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Return the compiled function; it logs each compilation for a new combination of argument types."""
    compiled_function = torch.compile(function, dynamic=True, fullgraph=True)
    compiled_signatures: set[tuple[object, ...]] = set()

    def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        values = (*args, *kwargs.values())
        signature = tuple(value.dtype if isinstance(value, Tensor) else value for value in values)
        if signature in compiled_signatures:
            return compiled_function(*args, **kwargs)
        with log_duration(f"compiling the ALIAS generator's {function.__name__} for {signature[0]}"):
            result = compiled_function(*args, **kwargs)
        compiled_signatures.add(signature)
        return result

    return call
