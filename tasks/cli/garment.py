"""`tryon garment`: build the garment network's data set, train the network, export and measure it."""

import json
from pathlib import Path
from typing import Annotated

import typer

from tasks.cli.output import err, save_picture
from tasks.cli.samples import DEFAULT_CCP, DEFAULT_GARMENTS, DEFAULT_SAMPLES, Samples

app = typer.Typer(help="Train and measure the network that reads garment photographs.", no_args_is_help=True)

DATA = Path(".tryon/garment-training/data")
RUN = Path(".tryon/garment-training/run")
SHIPPED = Path(__file__).parents[2] / "worker/cloth/model/garment.onnx"

Data = Annotated[Path, typer.Option(help="The data set's folder.")]
Garments = Annotated[Path, typer.Option(help="Folder of garment photographs with labels.")]
Weights = Annotated[Path, typer.Option(help="The network's .onnx.", dir_okay=False)]
Everything = Annotated[
    bool, typer.Option("--everything", help="Train on the validation photographs too, for the last run.")
]


@app.command()
def dataset(
    garments: Garments = DEFAULT_GARMENTS,
    people: Annotated[Path, typer.Option(help="Folder of Clothing Co-Parsing.")] = DEFAULT_CCP,
    data: Data = DATA,
    drawn: Annotated[int, typer.Option(min=0, help="Drawn garments to add.")] = 12000,
    seed: Annotated[int, typer.Option(help="Seed of the drawn garments.")] = 1,
    parts: Annotated[
        str, typer.Option(help="What to build: pieces, labelled, classed, worn, drawn, cutouts.")
    ] = "pieces,labelled,classed,worn,drawn,cutouts",
    everything: Everything = False,
) -> None:
    """Build the banks of examples. Training may run at the same time."""
    from worker.lab.garment_training.build import build

    counts = build(
        garments, people, data, drawn=drawn, seed=seed, parts=parts.split(","), everything=everything
    )
    print(json.dumps(counts))


@app.command()
def train(
    data: Data = DATA,
    run: Annotated[Path, typer.Option(help="The run's folder.")] = RUN,
    hours: Annotated[float, typer.Option(help="Duration of the whole run, hours.")] = 3.0,
    garments: Garments = DEFAULT_GARMENTS,
    size: Annotated[int, typer.Option(help="Side of the network's input, pixels; a multiple of 32.")] = 160,
    rate: Annotated[float, typer.Option(help="Highest learning rate.")] = 2e-3,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 2,
    start: Annotated[
        Path | None, typer.Option(help="averaged.pt of another run, for the initial weights.")
    ] = None,
    resume: Annotated[bool, typer.Option(help="Continue the run in this folder.")] = False,
) -> None:
    """Train the network; the run's folder gets the checkpoints and the curve."""
    from config.settings import settings as read_settings
    from worker import weights
    from worker.lab.garment_training.train import TrainSettings
    from worker.lab.garment_training.train import train as run_training

    settings = TrainSettings(size=size, rate=rate, threads=threads)
    pretrained = None if resume or start else weights.path("efficientnet-lite0", read_settings().models_dir)
    run_training(
        data, run, hours, garments, settings=settings, resume=resume, start=start, pretrained=pretrained
    )
    err.print(f"To ship it: `tryon garment export {run}/averaged.pt --target {SHIPPED}`")


@app.command(name="pseudo-label")
def pseudo_label(
    garments: Garments = DEFAULT_GARMENTS,
    data: Data = DATA,
    weights: Weights = SHIPPED,
    everything: Everything = False,
) -> None:
    """Label photographs that the network reads consistently; add masks to the labelled ones."""
    from worker.cloth.garment_reader import GarmentReader
    from worker.lab.garment_training.pseudo import add_masks, add_pseudo_labels

    reader = GarmentReader.load(weights)
    print(json.dumps({
        "pseudo": add_pseudo_labels(garments, data / "pseudo", reader),
        "labelled": add_masks(garments, data / "labelled", reader, everything=everything),
    }))  # fmt: skip


@app.command()
def export(
    averaged: Annotated[
        list[Path],
        typer.Argument(
            help="averaged.pt of a run, or of several that started from each other: their mean is written.",
            exists=True,
            dir_okay=False,
        ),
    ],
    target: Annotated[Path, typer.Option(help="The .onnx to write.")] = SHIPPED,
) -> None:
    """Write the averaged weights of runs as an ONNX file, which workers read with OpenCV."""
    from worker.lab.garment_training.export import export as export_weights

    print(export_weights(averaged, target))


@app.command()
def sheet(
    data: Data = DATA,
    target: Annotated[Path, typer.Argument(help="The PNG to write.")] = Path("garments.png"),
    parts: Annotated[str, typer.Option(help="The banks to show.")] = "drawn,labelled,cutouts",
    seed: Annotated[int, typer.Option(help="Seed of the random inputs.")] = 0,
) -> None:
    """Draw training inputs with masks, landmarks and attributes."""
    from worker.lab.garment_training.sheet import training_sheet

    save_picture(training_sheet(data, parts.split(","), seed), target)


@app.command(name="evaluate-masks")
def evaluate_masks(
    samples: Samples = DEFAULT_SAMPLES,
    weights: Weights = SHIPPED,
    sheet: Annotated[Path | None, typer.Option(help="Write a contact sheet here.")] = None,
) -> None:
    """Print mean and worst IoU of masks on 20 hard backgrounds, as JSON."""
    from worker.cloth.garment_reader import GarmentReader
    from worker.lab.evaluation import garments as measuring

    reader = GarmentReader.load(weights)
    print(json.dumps(measuring.mask_figures(samples, reader)))
    if sheet:
        save_picture(measuring.mask_sheet(samples, reader), sheet)


@app.command(name="evaluate-kinds")
def evaluate_kinds(garments: Garments = DEFAULT_GARMENTS, weights: Weights = SHIPPED) -> None:
    """Print how often each held-out class is refused as no upper-body garment, as JSON."""
    from worker.cloth.garment_reader import GarmentReader
    from worker.lab.evaluation import garments as measuring

    print(json.dumps(measuring.kind_figures(garments, GarmentReader.load(weights))))
