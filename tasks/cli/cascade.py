"""`tryon cascade`: train the three networks of the engine viton_hd."""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from config.settings import settings

if TYPE_CHECKING:
    import torch

app = typer.Typer(help="Train the networks of the engine viton_hd.", no_args_is_help=True)
err = Console(stderr=True)


class Network(StrEnum):
    """The networks, in the order in which they can be trained."""

    seg = "seg"
    gmm = "gmm"
    alias = "alias"


class SizeName(StrEnum):
    """The sizes that `worker.lab.cascade_training.sizes` has."""

    full = "full"
    small = "small"


class Precision(StrEnum):
    """What the networks' convolutions work in."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"


@app.command()
def train(
    network: Annotated[Network, typer.Argument(help="seg: segmentation, gmm: matching, alias: synthesis.")],
    data: Annotated[Path, typer.Option(help="Folder laid out as VITON-HD's training set.")],
    run: Annotated[Path, typer.Option(help="The run's folder, for checkpoints, curves and sheets.")],
    pairs: Annotated[
        Path | None, typer.Option(help="Lines of a person's and the worn garment's file; else of one name.")
    ] = None,
    size: Annotated[SizeName, typer.Option(help="full, or small to try it out.")] = SizeName.full,
    steps: Annotated[int | None, typer.Option(min=1, help="Stop after so many; else the recipe's.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Pairs in a step; else the recipe's.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="At first, else the recipe's; it falls to zero over the second half.")
    ] = None,
    seed: Annotated[int, typer.Option()] = 0,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:N or auto; else TRYON_DEVICE.")] = None,
    precision: Annotated[
        Precision, typer.Option(help="auto: bfloat16 on cards that have it, float32 elsewhere.")
    ] = Precision.auto,
    matcher: Annotated[
        Path | None, typer.Option(help="For alias: the gmm_final.pth of the same size.", dir_okay=False)
    ] = None,
    perceptual: Annotated[
        bool, typer.Option(help="For alias: the perceptual loss, which needs vgg19.")
    ] = True,
    start: Annotated[
        Path | None, typer.Option(help="Weights to begin with, such as the published.", dir_okay=False)
    ] = None,
    checkpoint_every: Annotated[int, typer.Option(min=1, help="Steps.")] = 1000,
    sheet_every: Annotated[int, typer.Option(min=1, help="Epochs between sample sheets.")] = 1,
    readers: Annotated[int, typer.Option(min=0, help="Processes that read pictures ahead.")] = 0,
    resume: Annotated[bool, typer.Option(help="Go on with the run where it stopped.")] = False,
) -> None:
    """Train a network by the paper's losses; it is left in the run's folder as the engine loads it."""
    import torch

    from worker.lab.cascade_training.data import open_folder
    from worker.lab.cascade_training.perceptual import PerceptualLoss
    from worker.lab.cascade_training.sizes import SIZES
    from worker.lab.cascade_training.train import NETWORKS, Plan
    from worker.lab.cascade_training.train import train as run_training
    from worker.machine.device import choose

    recipe = NETWORKS[network].RECIPE
    plan = Plan(
        network=network.value,
        size=SIZES[size],
        steps=steps or recipe.steps,
        batch=batch or recipe.batch,
        learning_rate=learning_rate,
        seed=seed,
        checkpoint_every=checkpoint_every,
        sheet_every=sheet_every,
        readers=readers,
    )
    where = choose(device or settings().device)[0]
    dtype = _dtype(precision, where)
    judged = network is Network.alias and perceptual
    loss = PerceptualLoss.load(settings().models_dir) if judged else None
    if network is Network.alias and not perceptual:
        err.print("Training without the perceptual loss, as --no-perceptual asks.")
    folder = open_folder(data, pairs)
    if folder.left_out:
        name, reason = next(iter(folder.left_out.items()))
        err.print(f"{len(folder.left_out)} people are left out, such as {name}: {reason}")
    err.print(
        f"{len(folder.pairs)} pairs, {plan.steps} steps on {where} in {str(dtype).removeprefix('torch.')}"
    )
    last: dict[str, float] = {}
    with Progress(console=err) as progress:
        bar = progress.add_task("steps", total=plan.steps)

        def report(step: int, losses: dict[str, float]) -> None:
            last.update(losses)
            shown = " ".join(f"{name} {value:.4g}" for name, value in losses.items())
            progress.update(bar, completed=step, description=shown)

        file = run_training(
            plan,
            folder,
            run,
            device=torch.device(where),
            precision=dtype,
            matcher=matcher,
            perceptual=loss,
            start=start,
            resume=resume,
            report=report,
        )
    print(json.dumps({"weights": str(file), "steps": plan.steps, "losses": last}))


@app.command()
def pairs(
    people: Annotated[Path, typer.Argument(help="Folder of people laid out as VITON-HD.", exists=True)],
    data: Annotated[Path, typer.Argument(help="The folder to make.")],
) -> None:
    """Make pairs to try training out: each person with a garment cut out of their own photograph."""
    from worker.lab.cascade_training.cutout import make_pairs

    print(json.dumps({"data": str(data), "pairs": make_pairs(people, data)}))


def _dtype(precision: Precision, device: str) -> "torch.dtype":
    import torch

    if precision is not Precision.auto:
        return torch.float32 if precision is Precision.float32 else torch.bfloat16
    native = device.startswith("cuda") and torch.cuda.get_device_capability(device) >= (8, 0)
    return torch.bfloat16 if native else torch.float32
