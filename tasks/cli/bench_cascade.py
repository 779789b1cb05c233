"""`tryon bench cascade`: the fast VITON-HD path against the plain one, in time, memory and pixels."""

import json
import logging
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from config.settings import settings

if TYPE_CHECKING:
    from worker.viton_hd.inputs import TryOnInput

err = Console(stderr=True)

_COLUMNS = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()

TARGETS = {
    ("real", "fast float32"): 0.22,
    ("noisy", "fast float32"): 0.36,
    ("real", "fast bfloat16"): 0.15,
}
"""What a fast path's time may be of the plain one's, from end to end on two cores."""

MEMORY_TARGET = 0.7
"""What the fast path's peak memory may be of the plain one's."""

_WIDTH = 100  # columns that the tables need: into a file or a narrow window too, no figure is cut off
_CAPTION = "max, mean: difference of what the stage makes; mean %: of its range"

BF16_WITHOUT_UNITS = (
    "This processor has no bfloat16 units (avx512_bf16, amx_bf16): PyTorch emulates its convolutions by "
    "converting to float32 and back, so that bfloat16 is slower here than float32 and saves only memory."
)


def cascade(
    person: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="A person's photograph.")
    ] = None,
    garment: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="A garment's photograph.")
    ] = None,
    noisy: Annotated[bool, typer.Option("--noisy", help="Also with a parse of random scores.")] = False,
    weights: Annotated[
        Literal["random", "viton-hd"],
        typer.Option(help="Random ones of a fixed seed, or those that the engine viton_hd uses."),
    ] = "random",
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"] | None,
        typer.Option(help="Besides float32, of the fast path; without it the device's default."),
    ] = None,
    batches: Annotated[
        str, typer.Option(help="How many pictures to draw at once, with commas; empty for none.")
    ] = "1,2,4,8",
    rounds: Annotated[int, typer.Option(min=1, help="How often each path draws each picture.")] = 3,
    device: Annotated[str, typer.Option(help="cpu, or a CUDA device.")] = "cpu",
    memory: Annotated[bool, typer.Option(help="Also measure peak memory.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Draw one try-on by the plain and the fast cascade in turn and set them side by side.

    Without photographs, the demonstration's person and first garment are used.
    """
    from worker.lab.cascade_bench import bench
    from worker.viton_hd import files

    sizes = _sizes(batches)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the folder below goes whatever ends this
    if not as_json:
        logging.basicConfig(level=logging.WARNING)
    with (
        tempfile.TemporaryDirectory(prefix="tryon-bench-") as temporary,
        Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=err,
            transient=True,
        ) as progress,
    ):
        task = progress.add_task("finding the person's joints and parts")

        def report(text: str) -> None:
            progress.update(task, description=text)

        folder = Path(temporary)
        item, parse = _person_and_garment(person, garment)
        if weights == "random":
            report("making random weights")
            paths = bench.seeded_weights(folder)
            real = bench.Scene("real: the person's own parse", item, bench.persons_parse(parse))
        else:
            paths = files.files(settings().models_dir, settings().viton_hd_weights)
            real = bench.Scene("real: the parse that the segmentation foresees", item, None)
        scenes = {"real": real}
        if noisy:
            labels = bench.noisy_parse(*parse.shape)
            scenes["noisy"] = bench.Scene("noisy: a parse of random scores", item, labels)

        measured: dict[str, Any] = {"conditions": bench.conditions(device), "weights": weights, "scenes": {}}
        fast_paths = bench.fast_paths(device, dtype)
        for name, scene in scenes.items():
            measured["scenes"][name] = {"title": scene.title, "label_windows": bench.label_windows(scene)}
            if memory:  # first, while this process holds little
                bench.save(scene, folder / "scene.npz")
                peaks = {}
                for path in ("plain", *fast_paths):
                    report(f"{name}: peak memory, {path}")
                    peaks[path] = bench.peak_mib(paths, device, path, folder / "scene.npz")
                measured["scenes"][name]["memory_mib"] = peaks
        report("loading the networks")
        cascades = {path: bench.load(paths, device, path) for path in ("plain", *fast_paths)}
        for name, scene in scenes.items():
            found = bench.compare(cascades, scene, rounds=rounds, report=report)
            measured["scenes"][name]["stages"] = found
        plain_s = measured["scenes"]["real"]["stages"][fast_paths[0]][-1]["plain_s"]
        measured["pictures_per_second"] = {"plain": {"1": round(1 / plain_s, 4)}}
        for path in fast_paths:
            rates = {}
            for size in sizes:
                report(f"{path}, {size} at once")
                rates[str(size)] = round(bench.pictures_per_second(cascades[path], real, size), 4)
            measured["pictures_per_second"][path] = rates
        if device.startswith("cuda"):
            report("what ALIAS cannot do without")
            measured["alias_floors"] = {path: _floors(device, path) for path in fast_paths}
        measured["conditions"]["load_after"] = bench.conditions(device)["load"]
    if as_json:
        print(json.dumps(measured))
    else:
        _print(measured)


def _sizes(batches: str) -> list[int]:
    try:
        sizes = [int(size) for size in batches.split(",") if size.strip()]
    except ValueError:
        sizes = [0]
    if any(size < 1 for size in sizes):
        raise typer.BadParameter(f"{batches!r} is not a list of whole numbers from 1, such as 1,2,4,8")
    return sizes


def _floors(device: str, path: str) -> dict[str, float]:
    """Return the ALIAS generator's floors on the device in the fast path's type."""
    import torch

    from worker.lab.cascade_bench import floors

    return floors.floors(torch.device(device), getattr(torch, path.removeprefix("fast "))).record()


def _person_and_garment(person: Path | None, garment: Path | None) -> "tuple[TryOnInput, Any]":
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
    models = Models(settings().models_dir)
    bundles: dict[str, Bundle] = {}
    try:
        for row in table.STAGES[:-1]:
            bundles[row.name] = local.run_stage(row, sources, bundles, options, models, names=names)
    finally:
        models.close()
    posed, cut, parse = bundles["pose"], bundles["cloth"], bundles["parse"]["parse.png"]
    photo = decode_input(sources["person"], name=names["person"])
    item = TryOnInput.of_person(
        Frame(**posed["frame.json"]).to_canvas(photo, fill=FILL),
        from_openpose_json(posed["pose.json"]).body,
        parse,
        posed["pose.png"],
        cut["cloth.png"],
        cut["mask.png"],
        seed=0,
    )
    return item, parse


def _print(measured: dict[str, Any]) -> None:
    conditions = measured["conditions"]
    console = Console(width=max(_WIDTH, Console().width))
    units = ", ".join(conditions["units"]) or "no AVX-512"
    console.print(
        f"{conditions['processor']} ({units}), {conditions['cores']} cores, {conditions['threads']} threads, "
        f"device {conditions['device']}, PyTorch {conditions['torch']}, Python {conditions['python']}, "
        f"{measured['weights']} weights; load average {conditions['load'][0]} before, "
        f"{conditions['load_after'][0]} after",
        highlight=False,
    )
    for name, scene in measured["scenes"].items():
        number = scene["label_windows"]
        of = f", {number} distinct label windows" if number is not None else ""
        for path, rows in scene["stages"].items():
            table = Table(title=f"{scene['title']}{of}; {path}", caption=_CAPTION)
            for column in ("stage", "plain s", "fast s", "ratio", "CPU ratio", "max", "mean", "mean %"):
                table.add_column(column, justify="left" if column == "stage" else "right", no_wrap=True)
            for row in rows:
                seconds = (f"{row[key]:.4g}" for key in ("plain_s", "fast_s"))
                ratios = (f"{row[key]:.3f}" for key in ("ratio", "cpu_ratio"))
                apart = (f"{row[key]:.1e}" for key in ("max_difference", "mean_difference"))
                table.add_row(row["stage"], *seconds, *ratios, *apart, f"{100 * row['mean_of_range']:.1e}")
            console.print(table)
            target = TARGETS.get((name, path))
            if target and conditions["device"] == "cpu":
                _judge(f"{scene['title']}; {path}: time", rows[-1]["ratio"], target)
        if "memory_mib" in scene:
            _print_memory(console, scene, on_card=conditions["device"] != "cpu")
    table = Table("pictures a second at batch", title="throughput, the real parse")
    rates = measured["pictures_per_second"]
    sizes = list(dict.fromkeys(size for path in rates.values() for size in path))
    for size in sizes:
        table.add_column(size, justify="right")
    for path, found in rates.items():
        table.add_row(path, *(str(found.get(size, "")) for size in sizes))
    console.print(table)
    if "alias_floors" in measured:
        _print_floors(console, measured["alias_floors"])
    if "fast bfloat16" in rates and conditions["device"] == "cpu" and not _has_bf16(conditions["units"]):
        typer.echo(BF16_WITHOUT_UNITS)


def _print_memory(console: Console, scene: dict[str, Any], *, on_card: bool) -> None:
    table = Table("MiB", title=f"peak memory of a new process; {scene['title']}")
    # On a card, its memory is what is scarce.
    columns = {"imported": "start", "loading": "loaded", "drawing": "peak"}
    columns |= {"on the card": "device_peak"} if on_card else {}
    for column in (*columns, "of plain's"):
        table.add_column(column, justify="right")
    peaks = scene["memory_mib"]
    scarce = list(columns.values())[-1]
    shares = {path: peak[scarce] / peaks["plain"][scarce] for path, peak in peaks.items()}
    for path, peak in peaks.items():
        table.add_row(path, *(f"{peak[at]:.0f}" for at in columns.values()), f"{shares[path]:.3f}")
    console.print(table)
    if not on_card:
        for path in list(peaks)[1:]:
            _judge(f"{scene['title']}; {path}: peak memory", shares[path], MEMORY_TARGET)


def _print_floors(console: Console, floors: dict[str, dict[str, float]]) -> None:
    table = Table("", title="the least that ALIAS can take for a picture, at the speed measured here")
    for column in ("GFLOP", "TFLOP/s", "arithmetic ms", "GB", "GB/s", "bandwidth ms"):
        table.add_column(column, justify="right")
    for path, found in floors.items():
        arithmetic = (found["gflop"], found["tflops"], 1000 * found["arithmetic_s"])
        bandwidth = (found["gigabytes"], found["gigabytes_per_s"], 1000 * found["bandwidth_s"])
        table.add_row(path, *(f"{value:.2f}" for value in (*arithmetic, *bandwidth)))
    console.print(table)


def _judge(what: str, ratio: float, target: float) -> None:
    verdict = "within" if ratio <= target else "MORE THAN"
    typer.echo(f"{what} {ratio:.3f} of the plain path's, {verdict} the {target} aimed at on 2 cores")


def _has_bf16(units: list[str]) -> bool:
    return any(unit.endswith("_bf16") for unit in units)
