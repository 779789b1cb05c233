"""Normalise, modulate and rectify in one pass over memory: compiled where there is a compiler, else eager."""

import logging
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from worker.viton_hd.alias import EPSILON, SLOPE

log = logging.getLogger(__name__)

_PIECE = 2**20  # numbers that an uncompiled step works on at a time
_LINE = 16  # channels that share a line of the processor's cache


def statistics(x: Tensor, noise: Tensor, noise_scale: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the mean and the scale of x + noise in each region, float32 (regions, …, channels) each.

    With m a region's part of each pixel and n its sum, in a picture of N pixels,

        μ = Σ m h / n,   scale = √(n / N) / √(Σ m² (h - μ)² / N + ε)

    which is what `worker.viton_hd.alias.masked_norm` comes to: what it fills a region's outside with is the
    mean, so that it adds nothing to the variance but N. Without a mask the whole picture is the one region.

    Args:
        x: (…, rows, columns, channels) of any type: one item's activations, or a batch's.
        noise: float32 (…, rows, columns).
        noise_scale: float32 (channels,).
        mask: float32 (…, rows, columns, 1), the misalignment, or None.
    """
    noisy = _noisy(x, noise, noise_scale)
    size = x.shape[-3] * x.shape[-2]
    if mask is None:
        mean = _sum(noisy) / size
        variance = _sum((noisy - _at_pixels(mean)).square()) / size
        return mean[None], (variance + EPSILON).rsqrt()[None]
    means, scales = [], []
    for region in (mask, 1 - mask):
        pixels = _sum(region)
        pixels = torch.where(pixels == 0, 1, pixels)
        mean = _sum(noisy * region) / pixels
        variance = _sum(((noisy - _at_pixels(mean)) * region).square()) / size
        means.append(mean)
        scales.append((variance + EPSILON).rsqrt() * (pixels / size).sqrt())
    return torch.stack(means), torch.stack(scales)


def normalised(
    x: Tensor, noise: Tensor, noise_scale: Tensor, mask: Tensor | None, means: Tensor, scales: Tensor
) -> Tensor:
    """Return x + noise, normalised in each region by what `statistics` found: float32, of x's shape."""
    noisy = _noisy(x, noise, noise_scale)
    inside = (noisy - _at_pixels(means[0])) * _at_pixels(scales[0])
    if mask is None:
        return inside
    outside = (noisy - _at_pixels(means[1])) * _at_pixels(scales[1])
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
        index: int64 (rows, columns), each pixel's row of the tables.
        gain, shift: float32 (n, channels), 1 + γ and β.
        out: of x's shape and type; it may be x itself.
        rectify: whether to write the leaky ReLU of it.
    """
    modulated = normalised(x, noise, noise_scale, mask, means, scales) * gain[index] + shift[index]
    out.copy_(torch.where(modulated > 0, modulated, modulated * SLOPE) if rectify else modulated)


def _sum(x: Tensor) -> Tensor:
    """Return the sum over columns, then over rows: many small sums lose little to rounding."""
    return x.sum(-2).sum(-2)


def _at_pixels(values: Tensor) -> Tensor:
    """Return values of each channel, (…, channels), as they go with each pixel, (…, 1, 1, channels)."""
    return values[..., None, None, :]


def _noisy(x: Tensor, noise: Tensor, noise_scale: Tensor) -> Tensor:
    return x.float() + noise[..., None] * noise_scale


@dataclass(frozen=True)
class Kernels:
    """The passes over memory, compiled or not: the functions of this module of the same names."""

    statistics: Callable[..., tuple[Tensor, Tensor]]
    modulate: Callable[..., None]


def _statistics_in_pieces(
    x: Tensor, noise: Tensor, noise_scale: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the statistics, a few channels at a time: uncompiled, each step makes a copy of them."""
    step = max(_LINE, _PIECE // (x.shape[0] * x.shape[1]))
    some = [slice(start, start + step) for start in range(0, x.shape[2], step)]
    found = [statistics(x[..., part], noise, noise_scale[part], mask) for part in some]
    return torch.cat([means for means, _ in found], 1), torch.cat([scales for _, scales in found], 1)


def _modulate_in_pieces(
    x: Tensor, noise: Tensor, noise_scale: Tensor, mask: Tensor | None, *more: Any
) -> None:
    """Modulate a few rows at a time."""
    means, scales, index, gain, shift, out, rectify = more
    step = max(1, _PIECE // (x.shape[1] * x.shape[2]))
    for start in range(0, x.shape[0], step):
        some = slice(start, start + step)
        region = None if mask is None else mask[some]
        tables = means, scales, index[some], gain, shift
        modulate(x[some], noise[some], noise_scale, region, *tables, out[some], rectify)


EAGER = Kernels(_statistics_in_pieces, _modulate_in_pieces)


@lru_cache(maxsize=1)
def compiled() -> Kernels:
    """Return the passes compiled by torch for any size, or the eager ones where nothing can compile them.

    torch keeps the compiled code on disk (TORCHINDUCTOR_CACHE_DIR), so that the next process only reads it.
    """
    if not can_compile("cpu"):
        return EAGER
    return Kernels(_compiled(statistics), _compiled(modulate))


def can_compile(device_type: str) -> bool:
    """Return whether torch finds what it compiles with for "cpu" or "cuda"; if not, the log has a warning."""
    if device_type == "cuda":
        # Triton makes its launchers with a C compiler.
        needs, found = "Triton with a C compiler", find_spec("triton") and _any_of("cc", "gcc", "clang")
    else:
        needs, found = "C++ compiler", _any_of("g++", "clang++")
    if not found:
        log.warning("There is no %s: the ALIAS generator runs uncompiled, and slower", needs)
    return bool(found)


def _any_of(*programs: str) -> bool:
    return any(map(shutil.which, programs))


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function compiled, with a word in the log when it is compiled for a kind of input."""
    inner = torch.compile(function, dynamic=True, fullgraph=True)
    known: set[tuple[Any, ...]] = set()

    def call(x: Tensor, noise: Tensor, noise_scale: Tensor, mask: Tensor | None, *more: Any) -> Any:
        given = x, noise, noise_scale, mask, *more
        kind = x.dtype, mask is None, *more[-1:]
        if kind in known:
            return inner(*given)
        with told(f"compiling the ALIAS generator's {function.__name__} for {x.dtype}"):
            result = inner(*given)
        known.add(kind)
        return result

    return call


@contextmanager
def told(what: str) -> Iterator[None]:
    """Say in the log what is being done, and how long it took."""
    log.info("%s", what)
    started = time.monotonic()
    yield
    log.info("%s took %.1f s", what, time.monotonic() - started)
