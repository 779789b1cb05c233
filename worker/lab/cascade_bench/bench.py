"""Measures the plain and the fast cascade against each other: time, difference, memory, pictures a second."""

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from worker.viton_hd import segmentation, windows
from worker.viton_hd.alias import AliasGenerator, AliasNorm
from worker.viton_hd.cascade import Cascade, Dressed, fast_dtype, outcome
from worker.viton_hd.enlarge import fast_enlarge
from worker.viton_hd.inputs import Tensors, TryOnInput, one_hot, tensors
from worker.viton_hd.labels import SEGMENTATION, SEGMENTATION_OF_CIHP, SYNTHESIS, SYNTHESIS_OF_SEGMENTATION
from worker.viton_hd.layers import SpectralConv2d
from worker.viton_hd.matching import GeometricMatching
from worker.viton_hd.noise import Noise, segmentation_noise
from worker.viton_hd.segmentation import SegmentationGenerator

Files = tuple[Path, Path, Path]
"""The weights of the segmentation generator, of the matching and of the ALIAS generator."""

Report = Callable[[str], None]
"""Told what is being measured now."""

STAGES = ("segmentation", "enlarge and blur", "matching and grid", "ALIAS", "end to end")

_POWER_ITERATIONS = 10
_ON_CARD = 16  # batches that a card's throughput is taken over: one alone is too short to time
_FLAGS = ("avx512f", "avx512_bf16", "amx_bf16")


@dataclass(frozen=True)
class Scene:
    """What is drawn.

    Attributes:
        title: what it is, for the table.
        item: the person and the garment.
        parse: synthesis labels, int64 (h, w), that stand in for those of the segmentation's scores; None
            where its weights are trained, so that its own labels are real ones.
    """

    title: str
    item: TryOnInput
    parse: np.ndarray | None


@dataclass(frozen=True)
class Taken:
    """One picture drawn: the seconds and the processor's seconds of each stage, and what each one made."""

    seconds: dict[str, tuple[float, float]]
    scores: Tensor
    enlarged: Tensor
    dressed: Dressed
    picture: Tensor


def seeded_weights(folder: Path) -> Files:
    """Write random weights of seed 0, noise included, with which activations keep their scale."""
    torch.manual_seed(0)
    files = folder / "segmentation.pth", folder / "matching.pth", folder / "alias.pth"
    for kind, file in zip((SegmentationGenerator, GeometricMatching, AliasGenerator), files, strict=True):
        network = kind()
        for module in network.modules():
            weight = getattr(module, "weight_orig", getattr(module, "weight", None))
            if isinstance(weight, Tensor) and weight.dim() > 1:
                bound = (3 / weight[0].numel()) ** 0.5  # a variance of 1 / inputs
                nn.init.uniform_(weight, -bound, bound)
            if isinstance(module, AliasNorm):
                nn.init.normal_(module.noise_scale, std=0.1)
            if isinstance(module, SpectralConv2d):
                module.train()  # each call improves the estimate of the singular vectors
                for _ in range(_POWER_ITERATIONS):
                    module.weight()
        torch.save(network.state_dict(), file)
    return files


def persons_parse(parse: np.ndarray) -> np.ndarray:
    """Return CIHP labels (h, w) as the synthesis's: a trained segmentation's are much like the person's."""
    labels: np.ndarray = SYNTHESIS_OF_SEGMENTATION[SEGMENTATION_OF_CIHP[parse]]
    return labels


@torch.inference_mode()
def noisy_parse(height: int, width: int) -> np.ndarray:
    """Return the synthesis labels, int64 (h, w), of random scores, enlarged and blurred as real ones are.

    At 1024×768 they have some 30 thousand distinct label windows, as an untrained network's have, where real
    ones have two or three thousand.
    """
    size = 1, len(SEGMENTATION), segmentation.HEIGHT // 8, segmentation.WIDTH // 8
    scores = torch.rand(size, generator=torch.Generator().manual_seed(0))
    labels: np.ndarray = SYNTHESIS_OF_SEGMENTATION[fast_enlarge(scores, height, width)[0].argmax(0).numpy()]
    return labels


def label_windows(scene: Scene) -> int | None:
    """Return how many distinct 5×5 label windows the scene's parse has; None where none is given."""
    if scene.parse is None:
        return None
    return len(windows.distinct(torch.from_numpy(scene.parse)[None], len(SYNTHESIS))[0])


def fast_paths(device: str, dtype: str | None) -> list[str]:
    """Return the fast paths to measure: in float32, and in the given type or the device's default."""
    other = dtype or str(fast_dtype(torch.device(device))).removeprefix("torch.")
    return [f"fast {kind}" for kind in dict.fromkeys(("float32", other))]


def load(files: Files, device: str, path: str) -> Cascade:
    """Return the cascade of one path: "plain", or "fast" and a type of number, such as "fast bfloat16"."""
    if path == "plain":
        return Cascade.load(*files, device=device, plain=True)
    return Cascade.load(*files, device=device, dtype=getattr(torch, path.removeprefix("fast ")))


def compare(
    cascades: dict[str, Cascade], scene: Scene, *, rounds: int, report: Report
) -> dict[str, list[dict[str, Any]]]:
    """Draw the scene by each path in turn, `rounds` times, and set the fast ones against the first, plain.

    By turns, so that a machine that grows slower does so for all of them. The time is the rounds' median.

    Returns:
        fast path -> one row for each stage: its seconds, their ratio, that of the processor time (which
        other programs on the machine change less), the greatest and the mean difference of what it makes,
        and the mean as a part of the range. The ALIAS generators' difference is for the same input, the
        last row's from end to end.
    """
    plain, *others = cascades
    # The plain path has nothing to warm up but a card's libraries.
    for path in cascades if cascades[plain].device.type == "cuda" else others:
        report(f"{scene.title}: warming up {path}")
        draw(cascades[path], scene)
    seconds: dict[str, list[dict[str, tuple[float, float]]]] = {path: [] for path in cascades}
    taken: dict[str, Taken] = {}
    for number in range(rounds):
        for path, cascade in cascades.items():
            report(f"{scene.title}: {path}, round {number + 1} of {rounds}")
            taken[path] = draw(cascade, scene)
            seconds[path].append(taken[path].seconds)
    tables = {}
    for path in others:
        rows = []
        for stage, (was, found, extent) in _made(taken[plain], taken[path], cascades[path], scene).items():
            (plain_s, plain_cpu), (fast_s, fast_cpu) = (
                [
                    statistics.median(times)
                    for times in zip(*(run[stage] for run in seconds[one]), strict=True)
                ]
                for one in (plain, path)
            )
            difference = (found - was).abs()
            rows.append(
                {
                    "stage": stage,
                    "plain_s": round(plain_s, 6),
                    "fast_s": round(fast_s, 6),
                    "ratio": round(fast_s / plain_s, 4),
                    "cpu_ratio": round(fast_cpu / plain_cpu, 4),
                    "max_difference": float(f"{difference.max().item():.2g}"),
                    "mean_difference": float(f"{difference.mean().item():.2g}"),
                    "mean_of_range": float(f"{difference.mean().item() / extent:.2g}"),
                }
            )
        tables[path] = rows
    return tables


@torch.inference_mode()
def draw(cascade: Cascade, scene: Scene) -> Taken:
    """Draw the scene once and time it."""
    seconds: dict[str, tuple[float, float]] = {}
    seed = scene.item.seed
    with _timed(seconds, "end to end", cascade):
        given = tensors([scene.item], cascade.device)
        with _timed(seconds, "segmentation", cascade):
            scores = cascade.scores(given, segmentation_noise([seed], cascade.device))
        with _timed(seconds, "enlarge and blur", cascade):
            enlarged = cascade.enlarge(scores, *given.pose.shape[2:])
            parse = cascade.parse_of(enlarged)
        with _timed(seconds, "matching and grid", cascade):
            dressed = _dressed(cascade, given, parse, [scene])
        with _timed(seconds, "ALIAS", cascade):
            picture = cascade.synthesise([dressed], Noise([seed], cascade.device))
        outcome(picture, [dressed]).cpu()
    return Taken(seconds, scores, enlarged, dressed, picture)


def pictures_per_second(cascade: Cascade, scene: Scene, batch: int) -> float:
    """Return how many pictures a second come out when this many are drawn at once, each of its own seed.

    On a card over several batches, queued one behind the other and awaited once, as the worker does.
    """
    scenes = [replace(scene, item=replace(scene.item, seed=seed)) for seed in range(batch)]
    rounds = 1
    if cascade.device.type == "cuda":
        rounds = _ON_CARD
        draw_batch(cascade, scenes)  # prepares the generator for this size
    seconds: dict[str, tuple[float, float]] = {}
    with _timed(seconds, "batches", cascade):
        for _ in range(rounds):
            draw_batch(cascade, scenes)
    return rounds * batch / seconds["batches"][0]


@torch.inference_mode()
def draw_batch(cascade: Cascade, scenes: Sequence[Scene]) -> Tensor:
    """Return the scenes' outcome, drawn as one batch, as `Cascade.__call__` does; on a card not awaited."""
    seeds = [scene.item.seed for scene in scenes]
    dressed = []
    for some in cascade.dressed_at_once(len(scenes)):
        given = tensors([scene.item for scene in scenes[some]], cascade.device)
        parse = cascade.segment(given, segmentation_noise(seeds[some], cascade.device))
        dressed.append(_dressed(cascade, given, parse, scenes[some]))
        del given  # as in `Cascade.dress`, nothing else is kept
    picture = cascade.synthesise(dressed, Noise(seeds, cascade.device))
    return outcome(picture, dressed).to("cpu", non_blocking=True)


def _dressed(cascade: Cascade, given: Tensors, parse: Tensor, scenes: Sequence[Scene]) -> Dressed:
    """Return what ALIAS draws from, with the scenes' own parses, if they have some, in place of the given."""
    own = [scene.parse for scene in scenes if scene.parse is not None]
    if own:
        parse = one_hot(torch.from_numpy(np.stack(own)).to(cascade.device), len(SYNTHESIS))
    return Dressed(given.pose, given.agnostic, *cascade.bend(given, parse), parse)


def peak_mib(files: Files, device: str, path: str, scene_file: Path) -> dict[str, float]:
    """Return the most memory that a new process holds which loads this path's weights and draws the scene."""
    command = [
        sys.executable,
        "-m",
        "worker.lab.cascade_bench.peak",
        device,
        path,
        str(scene_file),
        *map(str, files),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr.strip()[-2000:]}")
    names = ("start", "loaded", "peak", "device_peak")
    return dict(zip(names, map(float, done.stdout.split()[-len(names) :]), strict=True))


def save(scene: Scene, file: Path) -> None:
    """Write the scene for `saved`."""
    parse = {} if scene.parse is None else {"parse": scene.parse}
    arrays: dict[str, Any] = {"title": scene.title, **vars(scene.item), **parse}
    np.savez(file, **arrays)


def saved(file: Path) -> Scene:
    """Return the scene that `save` wrote."""
    with np.load(file) as arrays:
        kept = dict(arrays)
    title, parse, seed = str(kept.pop("title")), kept.pop("parse", None), int(kept.pop("seed"))
    return Scene(title, TryOnInput(seed=seed, **kept), parse)


def conditions(device: str) -> dict[str, Any]:
    """Return what the figures depend on: processor, threads, versions, and how busy the machine is."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    found = {
        "processor": fields.get("model name", platform.processor()),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "units": [flag for flag in _FLAGS if flag in fields.get("flags", "").split()],
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        "load": [round(load, 2) for load in os.getloadavg()],
    }
    return found


def _made(
    plain: Taken, fast: Taken, cascade: Cascade, scene: Scene
) -> dict[str, tuple[Tensor, Tensor, float]]:
    """Return what each stage made by the plain path and by the fast one, and its numbers' range."""
    with torch.inference_mode():
        picture = cascade.synthesise([plain.dressed], Noise([scene.item.seed], cascade.device))
    return {
        "segmentation": (plain.scores, fast.scores, 1),
        "enlarge and blur": (plain.enlarged, fast.enlarged, 1),
        "matching and grid": (plain.dressed.warped, fast.dressed.warped, 2),
        "ALIAS": (plain.picture, picture, 2),
        "end to end": (plain.picture, fast.picture, 2),
    }


@contextmanager
def _timed(seconds: dict[str, tuple[float, float]], stage: str, cascade: Cascade) -> Iterator[None]:
    """Note the seconds and processor seconds that the block takes, what it queued on a card included."""
    _await(cascade.device)
    began = time.perf_counter(), time.process_time()
    yield
    _await(cascade.device)
    seconds[stage] = time.perf_counter() - began[0], time.process_time() - began[1]


def _await(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
