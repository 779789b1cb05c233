"""Compares the plain and the fast cascade: time, difference, memory, pictures a second."""

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor

from worker.lab.cascade_bench.scenes import Scene
from worker.lab.cascade_bench.seeded_weights import Files
from worker.viton_hd.cascade import Cascade, SynthesisInput, fast_dtype, packed_output
from worker.viton_hd.inputs import InputMaps, input_maps, one_hot
from worker.viton_hd.labels import SYNTHESIS
from worker.viton_hd.noise import SeededNoise, segmentation_noise

Report = Callable[[str], None]
"""Called with what is measured next."""

Seconds = dict[str, tuple[float, float]]
"""Stage -> elapsed seconds, processor seconds."""

PLAIN = "plain"
"""The name of the plain path; a fast path is "fast" and the type of its convolutions."""

STAGES = ("segmentation", "enlarge and blur", "matching and grid", "ALIAS", "end to end")
"""What is timed: four parts of the cascade, and all of it."""

_BATCHES_ON_CUDA = 16
"""Batches over which a GPU's throughput is measured: a single one is too short."""

_CPU_FLAGS = ("avx512f", "avx512_bf16", "amx_bf16")
"""Vector and matrix units of a processor that decide its speed."""

_ERROR_LENGTH = 2000
"""Characters of a failed process's last output that the error quotes."""


@dataclass(frozen=True)
class Run:
    """One picture: the seconds of each stage, and the stages' outputs."""

    seconds: Seconds
    scores: Tensor
    enlarged: Tensor
    synthesis_input: SynthesisInput
    picture: Tensor


class StageComparison(TypedDict):
    """A fast path against the plain path in one stage.

    Attributes:
        stage: one of STAGES.
        plain_s, fast_s: elapsed seconds, median of the rounds.
        ratio: fast_s / plain_s.
        cpu_ratio: the same ratio of the processor time, which other programs affect less.
        max_difference, mean_difference: of the stage's output.
        mean_of_range: mean_difference as a share of the output's range.
    """

    stage: str
    plain_s: float
    fast_s: float
    ratio: float
    cpu_ratio: float
    max_difference: float
    mean_difference: float
    mean_of_range: float


class Conditions(TypedDict):
    """What the measurements depend on.

    Attributes:
        processor: its model.
        cores, threads: of the machine, and of PyTorch.
        units: the processor's vector and matrix units, of avx512f, avx512_bf16, amx_bf16.
        python, torch: versions.
        device: `cpu` or the GPU's name.
        load: load averages of 1, 5 and 15 minutes.
    """

    processor: str
    cores: int | None
    threads: int
    units: list[str]
    python: str
    torch: str
    device: str
    load: list[float]


def fast_paths(device: str, dtype: str | None) -> list[str]:
    """Return the fast paths to measure: in float32, and in the given type or the device's default."""
    other = dtype or str(fast_dtype(torch.device(device))).removeprefix("torch.")
    return [f"fast {name}" for name in dict.fromkeys(("float32", other))]


def path_dtype(path: str) -> torch.dtype:
    """Return the type of a fast path's convolutions: torch.bfloat16 for "fast bfloat16"."""
    dtype: torch.dtype = getattr(torch, path.removeprefix("fast "))
    return dtype


def load_cascade(files: Files, device: str, path: str) -> Cascade:
    """Return the cascade of one path: "plain", or "fast" and a type, such as "fast bfloat16"."""
    if path == PLAIN:
        return Cascade.load(*files, device=device, plain=True)
    return Cascade.load(*files, device=device, dtype=path_dtype(path))


def compare(
    cascades: Mapping[str, Cascade], scene: Scene, *, rounds: int, report: Report
) -> dict[str, list[StageComparison]]:
    """Generate the scene's picture by each path in turn, `rounds` times, and compare the fast ones to plain.

    The paths alternate, so that a machine that becomes slower affects all of them.

    Args:
        cascades: path -> its cascade; "plain" first.
        scene: the input.
        rounds: runs of each path.
        report: called with the progress.

    Returns:
        fast path -> one row per stage. The ALIAS generators' difference is for the same input, that of the
        last row is from end to end.
    """
    on_cuda = cascades[PLAIN].device.type == "cuda"
    for path, cascade in cascades.items():
        if path != PLAIN or on_cuda:  # on a processor the plain path needs no warm-up
            report(f"{scene.title}: warming up {path}")
            run_once(cascade, scene)
    all_seconds: dict[str, list[Seconds]] = {path: [] for path in cascades}
    last_runs: dict[str, Run] = {}
    for number in range(rounds):
        for path, cascade in cascades.items():
            report(f"{scene.title}: {path}, round {number + 1} of {rounds}")
            last_runs[path] = run_once(cascade, scene)
            all_seconds[path].append(last_runs[path].seconds)
    medians = {path: _medians(path_seconds) for path, path_seconds in all_seconds.items()}
    return {
        path: [
            _comparison(stage, medians[PLAIN][stage], medians[path][stage], *outputs)
            for stage, outputs in _stage_outputs(last_runs[PLAIN], last_runs[path], cascade, scene).items()
        ]
        for path, cascade in cascades.items()
        if path != PLAIN
    }


@torch.inference_mode()
def run_once(cascade: Cascade, scene: Scene) -> Run:
    """Generate the scene's picture once and time the stages."""
    seconds: Seconds = {}
    seed = scene.item.seed
    with _timed(seconds, "end to end", cascade):
        maps = input_maps([scene.item], cascade.device)
        with _timed(seconds, "segmentation", cascade):
            scores = cascade.scores(maps, segmentation_noise([seed], cascade.device))
        with _timed(seconds, "enlarge and blur", cascade):
            enlarged = cascade.enlarge(scores, *maps.pose.shape[2:])
            parse = cascade.parse_of(enlarged)
        with _timed(seconds, "matching and grid", cascade):
            inputs = _synthesis_input(cascade, maps, parse, [scene])
        with _timed(seconds, "ALIAS", cascade):
            picture = cascade.synthesise([inputs], SeededNoise([seed], cascade.device))
        packed_output(picture, [inputs]).cpu()
    return Run(seconds, scores, enlarged, inputs, picture)


def pictures_per_second(cascade: Cascade, scene: Scene, batch: int) -> float:
    """Return the pictures a second for batches of this size, each picture with its own seed.

    On a GPU it is measured over several batches, all queued before the host waits, as in the worker.
    """
    scenes = [replace(scene, item=replace(scene.item, seed=seed)) for seed in range(batch)]
    rounds = 1
    if cascade.device.type == "cuda":
        rounds = _BATCHES_ON_CUDA
        run_batch(cascade, scenes)  # prepares the generator for this size
    seconds: Seconds = {}
    with _timed(seconds, "batches", cascade):
        for _ in range(rounds):
            run_batch(cascade, scenes)
    return rounds * batch / seconds["batches"][0]


@torch.inference_mode()
def run_batch(cascade: Cascade, scenes: Sequence[Scene]) -> Tensor:
    """Return the scenes' `packed_output`, generated as one batch like `Cascade.__call__`; queued on a GPU."""
    seeds = [scene.item.seed for scene in scenes]
    inputs = []
    for part in cascade.sub_batches(len(scenes)):
        maps = input_maps([scene.item for scene in scenes[part]], cascade.device)
        parse = cascade.segment(maps, segmentation_noise(seeds[part], cascade.device))
        inputs.append(_synthesis_input(cascade, maps, parse, scenes[part]))
        del maps  # releases the memory of the other maps, as `Cascade.synthesis_input` does
    picture = cascade.synthesise(inputs, SeededNoise(seeds, cascade.device))
    return packed_output(picture, inputs).to("cpu", non_blocking=True)


def _synthesis_input(
    cascade: Cascade, maps: InputMaps, parse: Tensor, scenes: Sequence[Scene]
) -> SynthesisInput:
    """Return the input of ALIAS, with the scenes' own parses, if they have any, in place of the predicted."""
    scene_parses = [scene.parse for scene in scenes if scene.parse is not None]
    if scene_parses:
        parse = one_hot(torch.from_numpy(np.stack(scene_parses)).to(cascade.device), len(SYNTHESIS))
    return SynthesisInput(maps.pose, maps.agnostic, *cascade.warp(maps, parse), parse)


def peak_mib(files: Files, device: str, path: str, scene_file: Path) -> dict[str, float]:
    """Return the peak memory of a new process that loads this path's weights and runs the scene, MiB.

    Keys: start, loaded, peak (of the process), device_peak (on a GPU, else 0).
    """
    module = "worker.lab.cascade_bench.peak"
    command = [sys.executable, "-m", module, device, path, str(scene_file), *map(str, files)]
    process = subprocess.run(  # noqa: S603 - this interpreter and this project's module
        command, capture_output=True, text=True, check=False
    )
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {process.stderr.strip()[-_ERROR_LENGTH:]}")
    names = ("start", "loaded", "peak", "device_peak")
    return dict(zip(names, map(float, process.stdout.split()[-len(names) :]), strict=True))


def conditions(device: str) -> Conditions:
    """Return what the measurements depend on: processor, threads, versions, and the machine's load."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return {
        "processor": fields.get("model name", platform.processor()),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "units": [flag for flag in _CPU_FLAGS if flag in fields.get("flags", "").split()],
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        "load": [round(load, 2) for load in os.getloadavg()],
    }


def _medians(rounds: Sequence[Seconds]) -> Seconds:
    return {
        stage: (
            statistics.median(seconds[stage][0] for seconds in rounds),
            statistics.median(seconds[stage][1] for seconds in rounds),
        )
        for stage in STAGES
    }


def _comparison(
    stage: str,
    plain_seconds: tuple[float, float],
    fast_seconds: tuple[float, float],
    plain_output: Tensor,
    fast_output: Tensor,
    output_range: float,
) -> StageComparison:
    (plain_s, plain_cpu_s), (fast_s, fast_cpu_s) = plain_seconds, fast_seconds
    difference = (fast_output - plain_output).abs()
    mean = difference.mean().item()
    return {
        "stage": stage,
        "plain_s": round(plain_s, 6),
        "fast_s": round(fast_s, 6),
        "ratio": round(fast_s / plain_s, 4),
        "cpu_ratio": round(fast_cpu_s / plain_cpu_s, 4),
        "max_difference": float(f"{difference.max().item():.2g}"),
        "mean_difference": float(f"{mean:.2g}"),
        "mean_of_range": float(f"{mean / output_range:.2g}"),
    }


def _stage_outputs(
    plain: Run, fast: Run, cascade: Cascade, scene: Scene
) -> dict[str, tuple[Tensor, Tensor, float]]:
    """Return each stage's output by the plain path and by the fast one, and the range of its values."""
    with torch.inference_mode():
        noise = SeededNoise([scene.item.seed], cascade.device)
        picture = cascade.synthesise([plain.synthesis_input], noise)
    return {
        "segmentation": (plain.scores, fast.scores, 1),
        "enlarge and blur": (plain.enlarged, fast.enlarged, 1),
        "matching and grid": (plain.synthesis_input.warped, fast.synthesis_input.warped, 2),
        "ALIAS": (plain.picture, picture, 2),
        "end to end": (plain.picture, fast.picture, 2),
    }


@contextmanager
def _timed(seconds: Seconds, stage: str, cascade: Cascade) -> Iterator[None]:
    """Store the elapsed and processor seconds of the block, including the work that it queues on a GPU."""
    _synchronise(cascade.device)
    start, cpu_start = time.perf_counter(), time.process_time()
    yield
    _synchronise(cascade.device)
    seconds[stage] = time.perf_counter() - start, time.process_time() - cpu_start


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
