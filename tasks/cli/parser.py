"""`tryon parser`: build the human parser's data set, train it, validate it, convert a checkpoint."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from config.settings import settings
from tasks.cli.output import Json, err, save_picture, show_table
from tasks.cli.samples import DEFAULT_CCP
from worker.lab.parser_training.train import Plan

app = typer.Typer(help="Train and validate the human parser.", no_args_is_help=True)

Data = Annotated[Path, typer.Option(help="The data set's folder.")]

DATA = Path(".tryon/parser/data")
RUN = Path(".tryon/parser/run")
SHIPPED = Path(__file__).parents[2] / "worker/parsing/model/parser.safetensors"

_PLAN = Plan()


@app.command()
def dataset(
    source: Annotated[Path, typer.Option(help="Folder of Clothing Co-Parsing.")] = DEFAULT_CCP,
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
            report=lambda completed, total: progress.update(bar, completed=completed, total=total),
        )
    print(json.dumps(counts | {"data": str(data / "data.yaml"), "why": str(data / "left_out.json")}))
    if sheet:
        from worker.lab.parser_training.sheet import contact_sheet

        save_picture(contact_sheet(data), sheet)


@app.command()
def train(
    data: Data = DATA,
    run: Annotated[Path, typer.Option(help="The run's folder.")] = RUN,
    scale: Annotated[str, typer.Option(help="The network's size: n, s, m, l or x.")] = _PLAN.scale,
    weights: Annotated[
        Path | None, typer.Option(help="A .pt checkpoint that you trust, to start from.", dir_okay=False)
    ] = _PLAN.weights,
    size: Annotated[int, typer.Option(help="The pictures' longer side, pixels.")] = _PLAN.size,
    batch: Annotated[int, typer.Option(min=1)] = _PLAN.batch,
    epochs: Annotated[int, typer.Option(min=1)] = _PLAN.epochs,
    hours: Annotated[float | None, typer.Option(help="Train for this long instead.")] = _PLAN.hours,
    patience: Annotated[
        int, typer.Option(help="Stop after this many epochs without a better one.")
    ] = _PLAN.patience,
    learning_rate: Annotated[float, typer.Option()] = _PLAN.learning_rate,
    device: Annotated[str, typer.Option(help="cpu, or the numbers of CUDA devices.")] = _PLAN.device,
    resume: Annotated[bool, typer.Option(help="Continue the run from its last checkpoint.")] = False,
) -> None:
    """Train the parser; curves, confusion matrix and checkpoints are written to the run's folder."""
    from worker.lab.parser_training.train import train as run_training

    plan = Plan(
        scale=scale,
        weights=weights,
        size=size,
        batch=batch,
        epochs=epochs,
        hours=hours,
        patience=patience,
        learning_rate=learning_rate,
        device=device,
    )
    run_training(data / "data.yaml", run, plan, resume=resume)
    err.print(f"Convert it with `tryon parser convert {run}/weights/best.pt parser.safetensors`.")


@app.command()
def validate(
    data: Data = DATA,
    subset: Annotated[str, typer.Option(help="val or test.")] = "val",
    weights: Annotated[Path, typer.Option(help="A parser's .safetensors.", dir_okay=False)] = SHIPPED,
    as_json: Json = False,
) -> None:
    """Print precision, recall, mAP50 and mAP50-95 per class, and a summary of the training."""
    from worker.lab.parser_training.validate import training_summary
    from worker.lab.parser_training.validate import validate as measure

    rows = measure(weights, data / "data.yaml", subset)
    results = weights.with_suffix(".csv")
    summary = training_summary(results) if results.is_file() else None
    if as_json:
        print(json.dumps({"classes": rows, "training": summary}))
        return
    show_table(rows, False)
    if summary is None:
        err.print(f"{results} does not exist: there is no record of the training.")
    else:
        print(", ".join(f"{name}: {value}" for name, value in summary.items()))


@app.command()
def convert(
    checkpoint: Annotated[Path, typer.Argument(help="An ultralytics .pt.", exists=True, dir_okay=False)],
    target: Annotated[Path, typer.Argument(help="The .safetensors to write; its .yaml goes beside it.")],
    trust: Annotated[bool, typer.Option("--i-trust-this-file", help="Do not ask for confirmation.")] = False,
) -> None:
    """Convert a .pt checkpoint to safetensors. A .pt is a pickle: loading it runs the code in it."""
    if not trust:
        typer.confirm(
            f"{checkpoint} is a pickle: loading it RUNS WHATEVER CODE IT CONTAINS on this machine. "
            "Continue only if you made it yourself or trust its author. Load it?",
            abort=True,
        )
    from worker.lab.parser_training.convert import convert as convert_checkpoint

    print(convert_checkpoint(checkpoint, target))
