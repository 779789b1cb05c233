"""Lower bounds of the time that ALIAS needs on a device: by its arithmetic and by its memory traffic."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from worker.images.frame import HEIGHT, WIDTH
from worker.viton_hd.alias import INPUTS, LABELS, AliasGenerator
from worker.viton_hd.dense_alias import DenseAlias

_ROUNDS = 20
"""Runs whose median is a device's speed."""

_MATRIX_SIDE = 8192
"""Side of the matrices that measure the arithmetic: large enough for a GPU's full speed."""

_COPY_MIB = 1024
"""Size of the copy that measures the bandwidth, MiB: larger than any cache."""


@dataclass(frozen=True)
class LowerBounds:
    """The work of one picture and the speed of a device.

    Attributes:
        gflop: 10⁹ operations of the dense generator's convolutions, two for each product.
        gigabytes: 10⁹ bytes that the convolutions read, input and weights, and write, if each reads and
            writes once and all operations between them are fused.
        tflops: 10¹² operations a second, measured by one large matrix product.
        gigabytes_per_s: read and written, measured by a large copy.
    """

    gflop: float
    gigabytes: float
    tflops: float
    gigabytes_per_s: float

    @property
    def arithmetic_s(self) -> float:
        """Seconds for the arithmetic."""
        return self.gflop / self.tflops / 1000

    @property
    def bandwidth_s(self) -> float:
        """Seconds for the memory traffic."""
        return self.gigabytes / self.gigabytes_per_s

    def record(self) -> dict[str, float]:
        """Return the attributes and the two times as plain values."""
        return asdict(self) | {"arithmetic_s": self.arithmetic_s, "bandwidth_s": self.bandwidth_s}


def lower_bounds(device: torch.device, dtype: torch.dtype) -> LowerBounds:
    """Return the lower bounds of the whole generator at 1024×768 on the device in this type."""
    with torch.device("meta"):
        generator = AliasGenerator().eval()
    gflop, gigabytes = count_work(DenseAlias(generator, dtype, compile=False), HEIGHT, WIDTH)
    return LowerBounds(gflop, gigabytes, *measure_speed(device, dtype))


def count_work(generator: DenseAlias, height: int, width: int) -> tuple[float, float]:
    """Return the 10⁹ operations and 10⁹ bytes of one picture's convolutions, of a generator on `meta`."""
    channel_counts = INPUTS, LABELS, LABELS + 1, 1
    inputs, parse, divided, misaligned = (
        torch.empty(1, channels, height, width, device="meta") for channels in channel_counts
    )
    traffic = _Traffic()
    with torch.no_grad(), FlopCounterMode(display=False) as flops, traffic:
        generator(inputs, parse, divided, misaligned)
    return flops.get_total_flops() / 1e9, traffic.bytes / 1e9


def measure_speed(
    device: torch.device, dtype: torch.dtype, *, side: int = _MATRIX_SIDE, mib: int = _COPY_MIB
) -> tuple[float, float]:
    """Return the 10¹² operations and the 10⁹ bytes a second that the device reaches.

    Args:
        device: the device.
        dtype: type of the matrices.
        side: side of the matrices.
        mib: size of the copied memory, MiB.
    """
    # Random numbers: GPUs multiply zeros faster.
    a, b = torch.randn(2, side, side, device=device).to(dtype)
    product = torch.empty_like(a)
    source = torch.randint(256, (mib * 2**20,), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    product_s = _median_seconds(lambda: torch.mm(a, b, out=product), device)
    copy_s = _median_seconds(lambda: target.copy_(source), device)
    return 2 * side**3 / product_s / 1e12, 2 * source.nbytes / copy_s / 1e9


class _Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the bytes that convolutions read and write."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.convolution.default:
            self.bytes += sum(tensor.nbytes for tensor in (args[0], args[1], output))
        return output


def _median_seconds(work: Callable[[], Tensor], device: torch.device) -> float:
    work()
    durations: list[float] = []
    for _ in range(_ROUNDS):
        if device.type == "cuda":
            start, end = (
                torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
                for _ in range(2)
            )
            start.record(torch.cuda.current_stream(device))
            work()
            end.record(torch.cuda.current_stream(device))
            end.synchronize()
            durations.append(start.elapsed_time(end) / 1000)
        else:
            start_s = time.perf_counter()
            work()
            durations.append(time.perf_counter() - start_s)
    return statistics.median(durations)
