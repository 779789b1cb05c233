"""A function's launches on a CUDA device recorded once and replayed as one: the host is out of the way."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_WARM_UPS = 3  # runs before recording, in which libraries choose their kernels and take their workspace

_Recorded = tuple[torch.cuda.CUDAGraph, tuple[Tensor, ...], Tensor]


class Graphs:
    """A function of tensors to one tensor, recorded for each set of sizes that it is called with.

    A recording refuses whatever waits for the device, so that a function which does raises here and is never
    run launch by launch instead. Each recording keeps its inputs and its outcome in memory of its own; what
    lies between is memory that all recordings use, one after the other.

    Not for several threads at once.
    """

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self._function = function
        self._recorded: dict[tuple[torch.Size, ...], _Recorded] = {}
        self._pool: Any = None

    def __call__(self, *given: Tensor) -> Tensor:
        """Return what the function returns; launched, not awaited."""
        sizes = tuple(one.shape for one in given)
        with torch.cuda.device(given[0].device):
            if sizes not in self._recorded:
                self._recorded[sizes] = self._record(given)
            graph, inputs, outcome = self._recorded[sizes]
            for kept, one in zip(inputs, given, strict=True):
                kept.copy_(one)
            graph.replay()
            return outcome.clone()  # the next replay overwrites it

    def _record(self, given: tuple[Tensor, ...]) -> _Recorded:
        inputs = tuple(one.clone() for one in given)
        # Warming up belongs on another stream than the current one, whose work has to be done before.
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UPS):
                self._function(*inputs)
        torch.cuda.current_stream().wait_stream(aside)
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        # Only what this thread does can spoil the recording: others may well allocate meanwhile.
        with torch.cuda.graph(graph, self._pool, capture_error_mode="thread_local"):
            outcome = self._function(*inputs)
        return graph, inputs, outcome
