"""CUDA graphs: the kernel launches of a function are recorded once and replayed as one launch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from torch.cuda import _POOL_HANDLE

_WARM_UP_RUNS = 3  # runs before a recording, in which libraries choose kernels and allocate workspace


@dataclass(frozen=True)
class _Recording:
    """A recorded graph with the memory of its inputs and its output."""

    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor, ...]
    output: Tensor


class CudaGraphs:
    """A function of tensors to one tensor, recorded once for each set of input shapes.

    A recording fails when the function waits for the device. Such a function raises here; it is never run
    launch by launch instead. Each recording has its own memory for inputs and output; all recordings share
    one pool for what is between.

    Not thread-safe.
    """

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self._function = function
        self._recordings: dict[tuple[torch.Size, ...], _Recording] = {}
        self._pool: _POOL_HANDLE | None = None

    def __call__(self, *arguments: Tensor) -> Tensor:
        """Return the function's result; its computation is queued, and not waited for."""
        shapes = tuple(argument.shape for argument in arguments)
        with torch.cuda.device(arguments[0].device):
            if shapes not in self._recordings:
                self._recordings[shapes] = self._record(arguments)
            recording = self._recordings[shapes]
            for recorded_input, argument in zip(recording.inputs, arguments, strict=True):
                recorded_input.copy_(argument)
            recording.graph.replay()
            return recording.output.clone()  # the next replay overwrites it

    def _record(self, arguments: tuple[Tensor, ...]) -> _Recording:
        inputs = tuple(argument.clone() for argument in arguments)
        # The warm-up runs on a side stream, as PyTorch requires, after the work of the current stream.
        side_stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side_stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side_stream):
            for _ in range(_WARM_UP_RUNS):
                self._function(*inputs)
        torch.cuda.current_stream().wait_stream(side_stream)
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        # thread_local: other threads may allocate device memory during the recording.
        with torch.cuda.graph(graph, self._pool, capture_error_mode="thread_local"):
            output = self._function(*inputs)
        return _Recording(graph, inputs, output)
