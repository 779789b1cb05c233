"""Normalise, modulate and rectify in one pass over memory: compiled where there is a compiler, else eager."""

import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from worker.viton_hd.alias import EPSILON, SLOPE

log = logging.getLogger(__name__)

_PIECE = 2**20  # numbers that an uncompiled step works on at a time
_LINE = 16  # channels that share a line of the processor's cache


def statistics(x: Tensor, noise: Tensor, noise_scale: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the mean and the scale of x + noise in each region, float32 (regions, channels) each.

    With m a region's part of each pixel and n its sum, in a picture of N pixels,

        μ = Σ m h / n,   scale = √(n / N) / √(Σ m² (h - μ)² / N + ε)

    which is what `worker.viton_hd.alias.masked_norm` comes to: what it fills a region's outside with is the
    mean, so that it adds nothing to the variance but N. Without a mask the whole picture is the one region.

    Args:
        x: float32 or bfloat16 (rows, columns, channels), one item's activations.
        noise: float32 (rows, columns).
        noise_scale: float32 (channels,).
        mask: float32 (rows, columns, 1), the misalignment, or None.
    """
    noisy = _noisy(x, noise, noise_scale)
    size = x.shape[0] * x.shape[1]
    # Summed along the columns first: many small sums lose little to rounding.
    if mask is None:
        mean = noisy.sum(1).sum(0) / size
        variance = (noisy - mean).square().sum(1).sum(0) / size
        return mean[None], (variance + EPSILON).rsqrt()[None]
    means, scales = [], []
    for region in (mask, 1 - mask):
        pixels = region.sum()
        pixels = torch.where(pixels == 0, 1, pixels)
        mean = (noisy * region).sum(1).sum(0) / pixels
        variance = ((noisy - mean) * region).square().sum(1).sum(0) / size
        means.append(mean)
        scales.append((variance + EPSILON).rsqrt() * (pixels / size).sqrt())
    return torch.stack(means), torch.stack(scales)


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
) -> None:
    """Write x + noise, normalised in each region, times 1 + γ, plus β.

    Args:
        x, noise, noise_scale, mask: see `statistics`.
        means, scales: from `statistics`.
        index: int64 (rows, columns), each pixel's row of the tables.
        gain, shift: float32 (n, channels), 1 + γ and β.
        out: of x's shape and type.
    """
    out.copy_(_modulated(x, noise, noise_scale, mask, means, scales, index, gain, shift))


def modulate_and_rectify(
    x: Tensor,
    noise: Tensor,
    noise_scale: Tensor,
    mask: Tensor | None,
    means: Tensor,
    scales: Tensor,
    index: Tensor,
    gain: Tensor,
    shift: Tensor,
) -> None:
    """Put the leaky ReLU of what `modulate` writes into x itself."""
    modulated = _modulated(x, noise, noise_scale, mask, means, scales, index, gain, shift)
    x.copy_(torch.where(modulated > 0, modulated, modulated * SLOPE))


def _modulated(x: Tensor, noise: Tensor, noise_scale: Tensor, mask: Tensor | None, *given: Tensor) -> Tensor:
    means, scales, index, gain, shift = given
    noisy = _noisy(x, noise, noise_scale)
    normalised = (noisy - means[0]) * scales[0]
    if mask is not None:
        normalised = normalised * mask + (noisy - means[1]) * scales[1] * (1 - mask)
    return normalised * gain[index] + shift[index]


def _noisy(x: Tensor, noise: Tensor, noise_scale: Tensor) -> Tensor:
    return x.float() + noise[..., None] * noise_scale


@dataclass(frozen=True)
class Kernels:
    """The passes over memory, compiled or not: the functions of this module of the same names."""

    statistics: Callable[..., tuple[Tensor, Tensor]]
    modulate: Callable[..., None]
    modulate_and_rectify: Callable[..., None]


def _statistics_in_pieces(
    x: Tensor, noise: Tensor, noise_scale: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the statistics, a few channels at a time: uncompiled, each step makes a copy of them."""
    step = max(_LINE, _PIECE // (x.shape[0] * x.shape[1]))
    some = [slice(start, start + step) for start in range(0, x.shape[2], step)]
    found = [statistics(x[..., part], noise, noise_scale[part], mask) for part in some]
    return torch.cat([means for means, _ in found], 1), torch.cat([scales for _, scales in found], 1)


def _in_pieces(function: Callable[..., None]) -> Callable[..., None]:
    """Return the pass for a few rows at a time."""

    def call(x: Tensor, noise: Tensor, noise_scale: Tensor, mask: Tensor | None, *more: Tensor) -> None:
        means, scales, index, gain, shift, *out = more
        step = max(1, _PIECE // (x.shape[1] * x.shape[2]))
        for start in range(0, x.shape[0], step):
            some = slice(start, start + step)
            region = None if mask is None else mask[some]
            tables = means, scales, index[some], gain, shift
            function(x[some], noise[some], noise_scale, region, *tables, *(part[some] for part in out))

    return call


EAGER = Kernels(_statistics_in_pieces, _in_pieces(modulate), _in_pieces(modulate_and_rectify))


@lru_cache(maxsize=1)
def compiled() -> Kernels:
    """Return the passes compiled by torch for any size, or the eager ones where nothing can compile them.

    torch keeps the compiled code on disk (TORCHINDUCTOR_CACHE_DIR), so that the next process only reads it.
    """
    if not torch.cuda.is_available() and shutil.which("g++") is None and shutil.which("clang++") is None:
        log.warning("There is no C++ compiler: the ALIAS generator runs uncompiled, and slower")
        return EAGER
    return Kernels(*(_compiled(function) for function in (statistics, modulate, modulate_and_rectify)))


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function compiled, with a word in the log when it is compiled for a kind of input."""
    inner = torch.compile(function, dynamic=True, fullgraph=True)
    known: set[tuple[torch.dtype, bool]] = set()

    def call(x: Tensor, noise: Tensor, noise_scale: Tensor, mask: Tensor | None, *more: Tensor) -> Any:
        kind = x.dtype, mask is None
        if kind in known:
            return inner(x, noise, noise_scale, mask, *more)
        log.info("compiling the ALIAS generator's %s for %s", function.__name__, x.dtype)
        started = time.monotonic()
        result = inner(x, noise, noise_scale, mask, *more)
        known.add(kind)
        log.info("compiled %s in %.1f s", function.__name__, time.monotonic() - started)
        return result

    return call
