"""`tryon bench cascade`: the fast VITON-HD path against the plain one, in time, memory and pixels."""

import json
import logging
import signal
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from config.settings import settings
from tasks.cli.output import Json, err

if TYPE_CHECKING:
    from worker.images.arrays import Labels
    from worker.lab.cascade_bench.bench import Report, StageComparison
    from worker.lab.cascade_bench.scenes import Scene
    from worker.lab.cascade_bench.seeded_weights import Files
    from worker.viton_hd.inputs import TryOnInput

RATIO_TARGETS = {
    ("real", "fast float32"): 0.22,
    ("noisy", "fast float32"): 0.36,
    ("real", "fast bfloat16"): 0.15,
}
"""(scene, fast path) -> the largest accepted ratio of its time, end to end, to plain's on 2 cores."""

MEMORY_TARGET = 0.7
"""The largest accepted ratio of the fast path's peak memory to the plain path's."""

_MIN_TABLE_WIDTH = 100
"""Columns of the terminal that the tables need: no figure is cut off in a file or a narrow window."""

_CAPTION = "max, mean: difference of the stage's output; mean %: mean difference as a share of its range"

_BF16_WITHOUT_UNITS = (
    "This processor has no bfloat16 units (avx512_bf16, amx_bf16): PyTorch emulates its convolutions by "
    "converting to float32 and back, so that bfloat16 is slower here than float32 and saves only memory."
)


@dataclass(frozen=True)
class _Plan:
    """What is measured; the fields are the options of the command."""

    person: Path | None
    garment: Path | None
    noisy: bool
    weights: Literal["random", "viton-hd"]
    dtype: str | None
    batches: list[int]
    rounds: int
    device: str
    memory: bool


def cascade(
    person: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="A person's photograph.")
    ] = None,
    garment: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="A garment's photograph.")
    ] = None,
    noisy: Annotated[
        bool, typer.Option("--noisy", help="Also measure with a parse from random scores.")
    ] = False,
    weights: Annotated[
        Literal["random", "viton-hd"],
        typer.Option(help="Random weights of a fixed seed, or the weights of the engine viton_hd."),
    ] = "random",
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"] | None,
        typer.Option(help="Type of the fast path, besides float32. Unset: the device's default."),
    ] = None,
    batches: Annotated[
        str, typer.Option(help="Batch sizes, separated by commas; empty for none.")
    ] = "1,2,4,8",
    rounds: Annotated[int, typer.Option(min=1, help="Runs of each path with each picture.")] = 3,
    device: Annotated[str, typer.Option(help="cpu, or a CUDA device.")] = "cpu",
    memory: Annotated[bool, typer.Option(help="Also measure peak memory.")] = True,
    as_json: Json = False,
) -> None:
    """Run one try-on by the plain and the fast cascade in turn and compare them.

    Without photographs, the demonstration's person and first garment are used.
    """
    plan = _Plan(person, garment, noisy, weights, dtype, _batch_sizes(batches), rounds, device, memory=memory)
    # As after Ctrl+C, a terminated benchmark removes its folder.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if not as_json:
        logging.basicConfig(level=logging.WARNING)
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with (
        tempfile.TemporaryDirectory(prefix="tryon-bench-") as temporary,
        Progress(*columns, console=err, transient=True) as progress,
    ):
        task = progress.add_task("detecting the person's joints and parts")
        measured = _measure(plan, Path(temporary), lambda text: progress.update(task, description=text))
    if as_json:
        print(json.dumps(measured))
    else:
        _print(measured)


def _batch_sizes(batches: str) -> list[int]:
    try:
        sizes = [int(size) for size in batches.split(",") if size.strip()]
    except ValueError:
        sizes = [0]
    if any(size < 1 for size in sizes):
        raise typer.BadParameter(f"{batches!r} is not a list of whole numbers from 1, such as 1,2,4,8")
    return sizes


def _measure(plan: _Plan, folder: Path, report: "Report") -> dict[str, Any]:
    """Return the measurements, as printed with --json; temporary files are written to the folder."""
    from worker.lab.cascade_bench import bench
    from worker.lab.cascade_bench.scenes import count_label_windows

    files, scenes = _files_and_scenes(plan, folder, report)
    fast_paths = bench.fast_paths(plan.device, plan.dtype)
    paths = (bench.PLAIN, *fast_paths)
    conditions: dict[str, Any] = {**bench.conditions(plan.device)}
    measured_scenes: dict[str, dict[str, Any]] = {}
    for name, scene in scenes.items():
        measured_scenes[name] = {"title": scene.title, "label_windows": count_label_windows(scene)}
        if plan.memory:  # first, while this process uses little memory
            peaks = _peak_memory(plan, name, scene, files, paths, folder / "scene.npz", report)
            measured_scenes[name]["memory_mib"] = peaks
    report("loading the networks")
    cascades = {path: bench.load_cascade(files, plan.device, path) for path in paths}
    for name, scene in scenes.items():
        stages = bench.compare(cascades, scene, rounds=plan.rounds, report=report)
        measured_scenes[name]["stages"] = stages
    plain_s = measured_scenes["real"]["stages"][fast_paths[0]][-1]["plain_s"]
    rates: dict[str, dict[str, float]] = {bench.PLAIN: {"1": round(1 / plain_s, 4)}}
    for path in fast_paths:
        rates[path] = {}
        for size in plan.batches:
            report(f"{path}, batches of {size}")
            rate = bench.pictures_per_second(cascades[path], scenes["real"], size)
            rates[path][str(size)] = round(rate, 4)
    measured = {
        "conditions": conditions,
        "weights": plan.weights,
        "scenes": measured_scenes,
        "pictures_per_second": rates,
    }
    if plan.device.startswith("cuda"):
        report("lower bounds of ALIAS")
        measured["alias_floors"] = {path: _lower_bounds(plan.device, path) for path in fast_paths}
    conditions["load_after"] = bench.conditions(plan.device)["load"]
    return measured


def _files_and_scenes(plan: _Plan, folder: Path, report: "Report") -> "tuple[Files, dict[str, Scene]]":
    """Return the weight files, and the scenes `real` and, if requested, `noisy`."""
    from worker.lab.cascade_bench.scenes import Scene, noisy_parse, person_parse
    from worker.lab.cascade_bench.seeded_weights import write_seeded_weights
    from worker.viton_hd.files import weight_files

    item, parse = _person_and_garment(plan.person, plan.garment)
    if plan.weights == "random":
        report("writing random weights")
        files = write_seeded_weights(folder)
        real = Scene("real: the person's own parse", item, person_parse(parse))
    else:
        files = weight_files(settings().models_dir, settings().viton_hd_weights)
        real = Scene("real: the parse that the segmentation predicts", item, None)
    scenes = {"real": real}
    if plan.noisy:
        scenes["noisy"] = Scene("noisy: a parse from random scores", item, noisy_parse(*parse.shape))
    return files, scenes


def _peak_memory(
    plan: _Plan,
    name: str,
    scene: "Scene",
    files: "Files",
    paths: tuple[str, ...],
    scene_file: Path,
    report: "Report",
) -> dict[str, dict[str, float]]:
    """Return the peak memory of a new process for each path, MiB."""
    from worker.lab.cascade_bench.bench import peak_mib
    from worker.lab.cascade_bench.scenes import save_scene

    save_scene(scene, scene_file)
    peaks = {}
    for path in paths:
        report(f"{name}: peak memory, {path}")
        peaks[path] = peak_mib(files, plan.device, path, scene_file)
    return peaks


def _lower_bounds(device: str, path: str) -> dict[str, float]:
    """Return the ALIAS generator's lower bounds on the device, in the fast path's type."""
    import torch

    from worker.lab.cascade_bench.bench import path_dtype
    from worker.lab.cascade_bench.lower_bounds import lower_bounds

    return lower_bounds(torch.device(device), path_dtype(path)).record()


def _person_and_garment(person: Path | None, garment: Path | None) -> "tuple[TryOnInput, Labels]":
    """Return the cascade's input for the photographs, as the stages make it, and the person's CIHP parse."""
    from worker.artifacts.bundle import encode_png
    from worker.contract import Bundle
    from worker.images.decode import decode_input
    from worker.images.frame import FILL, Frame
    from worker.images.openpose import from_openpose_json
    from worker.lab.demo import garments, people
    from worker.queue.request import TryonRequest
    from worker.stages import local, table
    from worker.stages.models import Models
    from worker.viton_hd.inputs import TryOnInput

    sources = {
        "person": person.read_bytes() if person else people.astronaut(),
        "cloth": garment.read_bytes() if garment else encode_png(garments.draw(garments.NAMES[0])),
    }
    names = {"person": str(person or "person"), "cloth": str(garment or "garment")}
    options = TryonRequest.parse(("person", "cloth"), {"engine": "geometric"}).options()
    bundles: dict[str, Bundle] = {}
    with Models(settings().models_dir) as models:
        for row in table.STAGES[:-1]:
            bundles[row.name] = local.run_stage(row, sources, bundles, options, models, names=names)
    pose, cloth, parse = bundles["pose"], bundles["cloth"], bundles["parse"]["parse.png"]
    photo = decode_input(sources["person"], name=names["person"])
    item = TryOnInput.of_person(
        Frame(**pose["frame.json"]).to_canvas(photo, fill=FILL),
        from_openpose_json(pose["pose.json"]).body,
        parse,
        pose["pose.png"],
        cloth["cloth.png"],
        cloth["mask.png"],
        seed=0,
    )
    return item, parse


def _print(measured: Mapping[str, Any]) -> None:
    conditions = measured["conditions"]
    on_cpu = conditions["device"] == "cpu"
    console = Console(width=max(_MIN_TABLE_WIDTH, Console().width))
    _print_conditions(console, conditions, measured["weights"])
    for name, scene in measured["scenes"].items():
        for path, rows in scene["stages"].items():
            _print_stages(console, scene, path, rows)
            target = RATIO_TARGETS.get((name, path))
            if target and on_cpu:
                _print_verdict(f"{scene['title']}; {path}: time", rows[-1]["ratio"], target)
        if "memory_mib" in scene:
            _print_memory(console, scene, on_gpu=not on_cpu)
    rates = measured["pictures_per_second"]
    _print_rates(console, rates)
    if "alias_floors" in measured:
        _print_lower_bounds(console, measured["alias_floors"])
    has_bf16_units = any(unit.endswith("_bf16") for unit in conditions["units"])
    if "fast bfloat16" in rates and on_cpu and not has_bf16_units:
        typer.echo(_BF16_WITHOUT_UNITS)


def _print_conditions(console: Console, conditions: Mapping[str, Any], weights: str) -> None:
    units = ", ".join(conditions["units"]) or "no AVX-512"
    console.print(
        f"{conditions['processor']} ({units}), {conditions['cores']} cores, {conditions['threads']} threads, "
        f"device {conditions['device']}, PyTorch {conditions['torch']}, Python {conditions['python']}, "
        f"{weights} weights; load average {conditions['load'][0]} before, "
        f"{conditions['load_after'][0]} after",
        highlight=False,
    )


def _print_stages(
    console: Console, scene: Mapping[str, Any], path: str, rows: "list[StageComparison]"
) -> None:
    window_count = scene["label_windows"]
    windows = f", {window_count} distinct label windows" if window_count is not None else ""
    table = Table(title=f"{scene['title']}{windows}; {path}", caption=_CAPTION)
    for column in ("stage", "plain s", "fast s", "ratio", "CPU ratio", "max", "mean", "mean %"):
        table.add_column(column, justify="left" if column == "stage" else "right", no_wrap=True)
    for row in rows:
        table.add_row(
            row["stage"],
            f"{row['plain_s']:.4g}",
            f"{row['fast_s']:.4g}",
            f"{row['ratio']:.3f}",
            f"{row['cpu_ratio']:.3f}",
            f"{row['max_difference']:.1e}",
            f"{row['mean_difference']:.1e}",
            f"{100 * row['mean_of_range']:.1e}",
        )
    console.print(table)


def _print_memory(console: Console, scene: Mapping[str, Any], *, on_gpu: bool) -> None:
    table = Table("MiB", title=f"peak memory of a new process; {scene['title']}")
    columns = {"imported": "start", "loading": "loaded", "running": "peak"}
    columns |= {"on the GPU": "device_peak"} if on_gpu else {}
    for column in (*columns, "of plain's"):
        table.add_column(column, justify="right")
    peaks = scene["memory_mib"]
    compared = "device_peak" if on_gpu else "peak"  # the memory that limits a worker
    shares = {path: peak[compared] / peaks["plain"][compared] for path, peak in peaks.items()}
    for path, peak in peaks.items():
        table.add_row(path, *(f"{peak[key]:.0f}" for key in columns.values()), f"{shares[path]:.3f}")
    console.print(table)
    if not on_gpu:
        for path in list(peaks)[1:]:
            _print_verdict(f"{scene['title']}; {path}: peak memory", shares[path], MEMORY_TARGET)


def _print_rates(console: Console, rates: Mapping[str, Mapping[str, float]]) -> None:
    table = Table("pictures a second at batch", title="throughput, the real parse")
    sizes = list(dict.fromkeys(size for path_rates in rates.values() for size in path_rates))
    for size in sizes:
        table.add_column(size, justify="right")
    for path, path_rates in rates.items():
        table.add_row(path, *(str(path_rates.get(size, "")) for size in sizes))
    console.print(table)


def _print_lower_bounds(console: Console, bounds: Mapping[str, Mapping[str, float]]) -> None:
    table = Table("", title="lower bounds of ALIAS for one picture, at the speed measured here")
    for column in ("GFLOP", "TFLOP/s", "arithmetic ms", "GB", "GB/s", "bandwidth ms"):
        table.add_column(column, justify="right")
    for path, record in bounds.items():
        arithmetic = (record["gflop"], record["tflops"], 1000 * record["arithmetic_s"])
        bandwidth = (record["gigabytes"], record["gigabytes_per_s"], 1000 * record["bandwidth_s"])
        table.add_row(path, *(f"{value:.2f}" for value in (*arithmetic, *bandwidth)))
    console.print(table)


def _print_verdict(subject: str, ratio: float, target: float) -> None:
    verdict = "within" if ratio <= target else "MORE THAN"
    typer.echo(f"{subject} {ratio:.3f} of the plain path's, {verdict} the target of {target} on 2 cores")
