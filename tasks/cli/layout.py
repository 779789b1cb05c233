"""`tryon layout`: train, export and measure the network that predicts the layout after."""

from pathlib import Path
from typing import Annotated

import typer

from tasks.cli.output import Json, err, report_file, save_picture, show_table

app = typer.Typer(help="Train and measure the network that predicts the layout after.", no_args_is_help=True)

DATA = Path(".tryon/ccp-prepared")
RUN = Path(".tryon/layout-training/run")
EXPORTED = RUN / "layout.safetensors"

Data = Annotated[Path, typer.Option(help="Folder of labelled people: NNNN.json and NNNN_c.png.")]


@app.command()
def train(
    data: Data = DATA,
    run: Annotated[Path, typer.Option(help="The run's folder.")] = RUN,
    minutes: Annotated[float, typer.Option(min=0, help="Duration, minutes.")] = 30.0,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
) -> None:
    """Train the network; the run's folder gets averaged.pt and the curve."""
    from worker.lab.layout_training.train import TrainSettings
    from worker.lab.layout_training.train import train as run_training

    averaged = run_training(data, run, minutes, settings=TrainSettings(threads=threads))
    err.print(f"To use it: `tryon layout export {averaged}`")


@app.command()
def export(
    averaged: Annotated[Path, typer.Argument(help="averaged.pt of a run.", exists=True, dir_okay=False)],
    target: Annotated[Path, typer.Argument(help="The .safetensors to write, in half precision.")] = EXPORTED,
) -> None:
    """Write a run's averaged weights as safetensors in half precision."""
    from worker.lab.layout_training.export import export as export_weights

    report_file(export_weights(averaged, target))


@app.command()
def evaluate(
    data: Data = DATA,
    weights: Annotated[
        Path, typer.Option(help="The network's .safetensors.", exists=True, dir_okay=False)
    ] = EXPORTED,
    subset: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    sheet: Annotated[
        Path | None, typer.Option(help="Write layouts of garments that the people do not wear here, as PNG.")
    ] = None,
    people: Annotated[int, typer.Option(min=1, help="People on the sheet.")] = 10,
    as_json: Json = False,
) -> None:
    """Print the IoU of the network's layouts and of those by rules, for what the people wear."""
    from worker.geometric.layout import LayoutPredictor
    from worker.lab.layout_training import evaluate as measuring
    from worker.lab.layout_training.examples import load_people

    predictor = LayoutPredictor.load(weights)
    everyone = load_people(data, subset)
    show_table(measuring.figures(everyone, predictor), as_json, "layout")
    if sheet is not None:
        save_picture(measuring.sheet(everyone[:people], predictor), sheet)
