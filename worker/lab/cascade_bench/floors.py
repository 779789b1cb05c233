"""The arithmetic and the traffic that ALIAS cannot do without, and how soon a device is done with them."""

import statistics
import time
from collections.abc import Callable
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


@dataclass(frozen=True)
class Floors:
    """The least time that one picture can take.

    Attributes:
        gflop: 10⁹ operations of the dense generator's convolutions, two for each product.
        gigabytes: 10⁹ bytes that each convolution reads, input and weights, and writes, all of them once and
            everything between them fused.
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
        """Seconds for the traffic."""
        return self.gigabytes / self.gigabytes_per_s

    def record(self) -> dict[str, float]:
        """Return all of it as plain values."""
        return asdict(self) | {"arithmetic_s": self.arithmetic_s, "bandwidth_s": self.bandwidth_s}


def floors(device: torch.device, dtype: torch.dtype) -> Floors:
    """Return the floors of the whole generator at 1024×768 on the device in this type."""
    with torch.device("meta"):
        generator = AliasGenerator().eval()
    gflop, gigabytes = counted(DenseAlias(generator, dtype, compile=False), HEIGHT, WIDTH)
    return Floors(gflop, gigabytes, *peaks(device, dtype))


def counted(generator: DenseAlias, height: int, width: int) -> tuple[float, float]:
    """Return the 10⁹ operations and 10⁹ bytes of one picture's convolutions, of a generator on `meta`."""
    channels = INPUTS, LABELS, LABELS + 1, 1
    seen, parse, divided, misaligned = (
        torch.empty(1, number, height, width, device="meta") for number in channels
    )
    traffic = _Traffic()
    with torch.no_grad(), FlopCounterMode(display=False) as flops, traffic:
        generator(seen, parse, divided, misaligned)
    return flops.get_total_flops() / 1e9, traffic.bytes / 1e9


def peaks(
    device: torch.device, dtype: torch.dtype, *, side: int = 8192, megabytes: int = 1024
) -> tuple[float, float]:
    """Return the 10¹² operations and the 10⁹ bytes a second that the device reaches at its best."""
    # Random numbers: of zeros, cards multiply more in a second.
    one, other = torch.randn(2, side, side, device=device).to(dtype)
    product = torch.empty_like(one)
    source = torch.randint(256, (megabytes * 2**20,), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    multiplying = _seconds(lambda: torch.mm(one, other, out=product), device)
    copying = _seconds(lambda: target.copy_(source), device)
    return 2 * side**3 / multiplying / 1e12, 2 * source.nbytes / copying / 1e9


class _Traffic(TorchDispatchMode):
    """Adds up what convolutions read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.convolution.default:
            self.bytes += sum(tensor.nbytes for tensor in (args[0], args[1], made))
        return made


def _seconds(work: Callable[[], Tensor], device: torch.device) -> float:
    """Return the median seconds of the work."""
    work()
    taken = []
    for _ in range(_ROUNDS):
        if device.type == "cuda":
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record(torch.cuda.current_stream(device))
            work()
            end.record(torch.cuda.current_stream(device))
            end.synchronize()
            taken.append(start.elapsed_time(end) / 1000)
        else:
            began = time.perf_counter()
            work()
            taken.append(time.perf_counter() - began)
    return statistics.median(taken)
