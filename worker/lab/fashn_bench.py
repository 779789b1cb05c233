"""Measures FASHN VTON's network: seconds a step, memory, and the counted work."""

import time
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from worker.fashn_vton.network import Sizes, TryOnTransformer
from worker.fashn_vton.recorded import RecordedVelocities
from worker.fashn_vton.sampler import STEPS, Inputs, sample, seeded_noise
from worker.lab.evaluation.memory import peak_mib, reset_peak

_SPREAD = 0.02
"""Standard deviation of the random weights: activations of trained networks' size, no overflow."""


CARDS = {"L4": 121, "RTX 4090": 165, "A100": 312, "L40S": 362, "H100 SXM, H200": 989}
"""Card -> 10¹² operations a second in bfloat16 with float32 sums, dense: the makers' data sheets."""

REACHED = 0.5
"""Share of that speed that the counted times assume; no card was at hand to measure it."""

_HOUR_S = 3600


@dataclass(frozen=True)
class Measurement:
    """One drawing with random weights; random and trained weights take the same time.

    Attributes:
        device, dtype: where and in which type the network ran.
        steps: steps that were measured.
        step_s: seconds a step, guidance included: the elapsed time by the number of steps.
        picture_s: quality level -> seconds a picture, step_s times its steps: extrapolated, not measured.
        step_tflop: 10¹² operations of a step, counted from the sizes, two for each product.
        tflops: 10¹² operations a second that were reached.
        peak_mib: peak memory of the process, MiB.
        device_peak_mib: peak memory on the GPU, MiB; 0 on a processor.
    """

    device: str
    dtype: str
    steps: int
    step_s: float
    picture_s: dict[str, float]
    step_tflop: float
    tflops: float
    peak_mib: float
    device_peak_mib: float

    def record(self) -> dict[str, Any]:
        """Return the attributes as JSON values."""
        return asdict(self)


def measure(device: str, dtype: torch.dtype, steps: int, sizes: Sizes | None = None) -> Measurement:
    """Return the measurement of one drawing of one picture; `sizes` is None for the published ones."""
    on_gpu = device.startswith("cuda")
    reset_peak()
    network = random_network(device, dtype, sizes or Sizes())
    inputs, noise = _inputs(network.sizes, device, dtype)
    velocities = RecordedVelocities(network) if on_gpu else network
    if on_gpu:
        sample(network, inputs, noise, 1, velocities=velocities)  # compiles and records
        torch.cuda.synchronize(device)
    started_at = time.perf_counter()
    picture = sample(network, inputs, noise, steps, velocities=velocities)
    if not bool(picture.isfinite().all()):  # waits for the device
        raise ArithmeticError(f"the picture has values that are not finite, in {dtype} on {device}")
    step_s = (time.perf_counter() - started_at) / steps
    tflop = step_tflop(network.sizes)
    return Measurement(
        device=torch.cuda.get_device_name(device) if on_gpu else device,
        dtype=str(dtype).removeprefix("torch."),
        steps=steps,
        step_s=step_s,
        picture_s={level: step_s * count for level, count in STEPS.items()},
        step_tflop=tflop,
        tflops=tflop / step_s,
        peak_mib=peak_mib(),
        device_peak_mib=torch.cuda.max_memory_allocated(device) / 2**20 if on_gpu else 0.0,
    )


def counted(sizes: Sizes | None = None) -> list[dict[str, Any]]:
    """Return the time of a picture on each of CARDS from the counted work; nothing is measured.

    Each entry has `card`, `tflops` (the maker's), for each quality level seconds a picture under `picture_s`,
    and under `price_share` the share of the card's price for an hour that a picture costs.
    """
    tflop = step_tflop(sizes or Sizes())
    entries = []
    for card, tflops in CARDS.items():
        seconds = {level: tflop * steps / (REACHED * tflops) for level, steps in STEPS.items()}
        shares = {level: value / _HOUR_S for level, value in seconds.items()}
        entries.append({"card": card, "tflops": tflops, "picture_s": seconds, "price_share": shares})
    return entries


def random_network(device: str, dtype: torch.dtype, sizes: Sizes) -> TryOnTransformer:
    """Return the network with random weights of a fixed seed."""
    with torch.device("meta"):
        network = TryOnTransformer(sizes).to(dtype)
    network.to_empty(device=device)
    generator = torch.Generator(device).manual_seed(0)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.normal_(0, _SPREAD, generator=generator)
    return network.eval()


def step_tflop(sizes: Sizes) -> float:
    """Return the counted 10¹² operations of a step: conditional and unconditional, one picture."""
    with torch.device("meta"):
        network = TryOnTransformer(sizes).eval()
    inputs, noise = _inputs(sizes, "meta", torch.float32)
    with FlopCounterMode(display=False) as counter:
        sample(network, inputs, noise, 1)
    return float(counter.get_total_flops()) / 1e12


def _inputs(sizes: Sizes, device: str, dtype: torch.dtype) -> tuple[Inputs, torch.Tensor]:
    """Return random inputs and the noise of one picture."""
    pictures = [seeded_noise([seed], *sizes.input_shape).to(device, dtype) for seed in range(5)]
    person, garment, person_pose, garment_pose, noise = pictures
    category = torch.ones(1, dtype=torch.int64, device=device)
    return Inputs(person, garment, person_pose[:, :1], garment_pose[:, :1], category), noise.float()
