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

ROWS = 1024
"""Pixels that are summed together first; the number of pixels is a multiple of it at every level."""


@dataclass(frozen=True)
class Kernels:
    """The passes over one item's activations x (pixels, channels) with its noise (pixels,) in float32.

    Attributes:
        statistics: (x, noise, noise_scale) -> float32 mean (channels,) and 1 / standard deviation.
        modulate: (x, noise, noise_scale, mean, scale, index, gain, shift, out), which writes out, of x's
            shape and type; gain and shift are tables (n, channels), of which each pixel takes the row that
            index (pixels,) names.
        modulate_and_rectify: the same, then the leaky ReLU.
    """

    statistics: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
    modulate: Callable[..., None]
    modulate_and_rectify: Callable[..., None]


def statistics(x: Tensor, noise: Tensor, noise_scale: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and 1 / standard deviation of each channel of x + noise (see `Kernels`)."""
    # In two steps, so that many small sums lose little to rounding and every core has some to do.
    noisy = _noisy(x, noise, noise_scale).unflatten(0, (-1, ROWS))
    mean = noisy.sum(1).sum(0) / x.shape[0]
    variance = noisy.sub_(mean).square_().sum(1).sum(0) / x.shape[0]
    return mean, (variance + EPSILON).rsqrt()


def modulate(
    x: Tensor,
    noise: Tensor,
    noise_scale: Tensor,
    mean: Tensor,
    scale: Tensor,
    index: Tensor,
    gain: Tensor,
    shift: Tensor,
    out: Tensor,
) -> None:
    """Write x + noise, normalised and modulated (see `Kernels`)."""
    out.copy_(_modulated(x, noise, noise_scale, mean, scale, index, gain, shift))


def modulate_and_rectify(
    x: Tensor,
    noise: Tensor,
    noise_scale: Tensor,
    mean: Tensor,
    scale: Tensor,
    index: Tensor,
    gain: Tensor,
    shift: Tensor,
    out: Tensor,
) -> None:
    """Write the leaky ReLU of x + noise, normalised and modulated (see `Kernels`)."""
    modulated = _modulated(x, noise, noise_scale, mean, scale, index, gain, shift)
    out.copy_(torch.where(modulated > 0, modulated, modulated * SLOPE))


def _modulated(x: Tensor, noise: Tensor, noise_scale: Tensor, *given: Tensor) -> Tensor:
    mean, scale, index, gain, shift = given
    return (_noisy(x, noise, noise_scale) - mean) * scale * gain[index] + shift[index]


def _noisy(x: Tensor, noise: Tensor, noise_scale: Tensor) -> Tensor:
    return x.float() + noise[:, None] * noise_scale


def _in_pieces(function: Callable[..., None]) -> Callable[..., None]:
    """Return the pass for a few pixels at a time: uncompiled, each of its steps makes a copy of them."""

    def call(
        x: Tensor,
        noise: Tensor,
        noise_scale: Tensor,
        mean: Tensor,
        scale: Tensor,
        index: Tensor,
        *rest: Tensor,
    ) -> None:
        gain, shift, out = rest
        pieces = zip(*(part.split(16 * ROWS) for part in (x, noise, index, out)), strict=True)
        for some, own, which, into in pieces:
            function(some, own, noise_scale, mean, scale, which, gain, shift, into)

    return call


EAGER = Kernels(statistics, _in_pieces(modulate), _in_pieces(modulate_and_rectify))


@lru_cache(maxsize=1)
def compiled() -> Kernels:
    """Return the passes compiled by torch for any size, or the eager ones where nothing can compile them.

    The compiled code is kept by torch on disk (TORCHINDUCTOR_CACHE_DIR), so that the next process only reads
    it.
    """
    if not torch.cuda.is_available() and shutil.which("g++") is None and shutil.which("clang++") is None:
        log.warning("There is no C++ compiler: the ALIAS generator runs uncompiled, and slower")
        return EAGER
    return Kernels(*(_compiled(function) for function in (statistics, modulate, modulate_and_rectify)))


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function compiled, with a word in the log at its first call."""
    inner = torch.compile(function, dynamic=True, fullgraph=True)
    known: set[torch.dtype] = set()

    def call(x: Tensor, *rest: Tensor) -> Any:
        if x.dtype in known:
            return inner(x, *rest)
        log.info("compiling the ALIAS generator's %s for %s", function.__name__, x.dtype)
        started = time.monotonic()
        result = inner(x, *rest)
        known.add(x.dtype)
        log.info("compiled %s in %.1f s", function.__name__, time.monotonic() - started)
        return result

    return call
