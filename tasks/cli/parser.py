"""`tryon parser`: build the human parser's data set, train it, validate it, bring a checkpoint over."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from config.settings import settings

app = typer.Typer(help="Train and validate the human parser.", no_args_is_help=True)
err = Console(stderr=True)

Data = Annotated[Path, typer.Option(help="The data set's folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]

DATA = Path(".tryon/parser/data")
RUN = Path(".tryon/parser/run")
SHIPPED = Path(__file__).parents[2] / "worker/parsing/model/parser.safetensors"


@app.command()
def dataset(
    source: Annotated[Path, typer.Option(help="Folder of Clothing Co-Parsing.")] = Path("../shared/ccp"),
    data: Data = DATA,
    sheet: Annotated[Path | None, typer.Option(help="Write a contact sheet of the labels here.")] = None,
    processes: Annotated[int, typer.Option(min=1)] = os.cpu_count() or 1,
) -> None:
    """Build a YOLO segmentation data set of people's parts; list what was left out and why."""
    from worker.lab.parser_training.dataset import build

    with Progress(console=err) as progress:
        bar = progress.add_task("photographs")
        counts = build(
            source,
            data,
            settings().models_dir,
            processes=processes,
            report=lambda done, of: progress.update(bar, completed=done, total=of),
        )
    print(json.dumps(counts | {"data": str(data / "data.yaml"), "why": str(data / "left_out.json")}))
    if sheet:
        from PIL import Image

        from worker.lab.parser_training.sheet import contact_sheet

        Image.fromarray(contact_sheet(data)).save(sheet)


@app.command()
def train(
    data: Data = DATA,
    run: Annotated[Path, typer.Option(help="The run's folder.")] = RUN,
    scale: Annotated[str, typer.Option(help="The network's size: n, s, m, l or x.")] = "n",
    weights: Annotated[
        Path | None, typer.Option(help="A .pt checkpoint that you trust, to start from.", dir_okay=False)
    ] = None,
    size: Annotated[int, typer.Option(help="The pictures' longer side, pixels.")] = 320,
    batch: Annotated[int, typer.Option(min=1)] = 16,
    epochs: Annotated[int, typer.Option(min=1)] = 100,
    hours: Annotated[float | None, typer.Option(help="Train for this long instead.")] = None,
    patience: Annotated[int, typer.Option(help="Stop after so many epochs without a better one.")] = 15,
    learning_rate: Annotated[float, typer.Option()] = 0.0015,
    device: Annotated[str, typer.Option(help="cpu, or the numbers of graphics cards.")] = "cpu",
    resume: Annotated[bool, typer.Option(help="Go on with the run where it stopped.")] = False,
) -> None:
    """Train the parser; curves, confusion matrix and checkpoints are left in the run's folder."""
    from worker.lab.parser_training.train import train as run_training

    run_training(
        data / "data.yaml",
        run,
        scale=scale,
        weights=weights,
        size=size,
        batch=batch,
        epochs=epochs,
        hours=hours,
        patience=patience,
        learning_rate=learning_rate,
        device=device,
        resume=resume,
    )
    err.print(f"Ship it with `tryon parser convert {run}/weights/best.pt parser.safetensors`.")


@app.command()
def validate(
    data: Data = DATA,
    subset: Annotated[str, typer.Option(help="val or test.")] = "val",
    weights: Annotated[Path, typer.Option(help="A parser's .safetensors.", dir_okay=False)] = SHIPPED,
    as_json: Json = False,
) -> None:
    """Print precision, recall, mAP50 and mAP50-95 per class, and how the training went."""

    from tasks.cli.evaluate import show
    from worker.lab.parser_training.validate import course
    from worker.lab.parser_training.validate import validate as measure

    rows = measure(weights, data / "data.yaml", subset)
    results = weights.with_suffix(".csv")
    log = course(results) if results.is_file() else None
    if as_json:
        print(json.dumps({"classes": rows, "training": log}))
        return
    show(rows, False)
    if log is None:
        err.print(f"{results} is not there: how the training went is not known.")
    else:
        print(", ".join(f"{name}: {value}" for name, value in log.items()))


@app.command()
def convert(
    checkpoint: Annotated[Path, typer.Argument(help="An ultralytics .pt.", exists=True, dir_okay=False)],
    target: Annotated[Path, typer.Argument(help="The .safetensors to write; its .yaml comes beside it.")],
    trust: Annotated[bool, typer.Option("--i-trust-this-file", help="Say yes to the question.")] = False,
) -> None:
    """Bring a .pt checkpoint over to safetensors. A .pt is a pickle: loading it runs the code in it."""
    if not trust:
        typer.confirm(
            f"{checkpoint} is a pickle: loading it RUNS WHATEVER CODE IT HOLDS on this machine. "
            "Go on only if you made it yourself or trust who did. Load it?",
            abort=True,
        )
    from worker.lab.parser_training.convert import convert as bring_over

    print(bring_over(checkpoint, target))
