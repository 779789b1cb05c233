"""`tryon cascade`: train the three networks of the engine viton_hd."""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress

from config.settings import settings
from tasks.cli.output import err

if TYPE_CHECKING:
    import torch

    from worker.lab.cascade_training.data import PairFolder
    from worker.lab.cascade_training.perceptual import PerceptualLoss

app = typer.Typer(help="Train the networks of the engine viton_hd.", no_args_is_help=True)


class Network(StrEnum):
    """The networks, in the order in which they can be trained."""

    seg = "seg"
    gmm = "gmm"
    alias = "alias"


class SizeName(StrEnum):
    """The names of `worker.lab.cascade_training.sizes.SIZES`."""

    full = "full"
    small = "small"


class Precision(StrEnum):
    """The type of the networks' convolutions."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"


@app.command()
def train(
    network: Annotated[Network, typer.Argument(help="seg: segmentation, gmm: matching, alias: synthesis.")],
    data: Annotated[Path, typer.Option(help="Folder laid out as VITON-HD's training set.")],
    run: Annotated[Path, typer.Option(help="The run's folder, for checkpoints, curves and sheets.")],
    pairs: Annotated[
        Path | None,
        typer.Option(
            help="File with a person's and a garment's file name on each line. Unset: pairs of equal names."
        ),
    ] = None,
    size: Annotated[SizeName, typer.Option(help="full, or small for a quick trial.")] = SizeName.full,
    steps: Annotated[int | None, typer.Option(min=1, help="The last step. Unset: the recipe's.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Pairs in a step. Unset: the recipe's.")] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(help="The initial rate; it falls to zero over the second half. Unset: the recipe's."),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Decides the initial weights, the order of the pairs and the noise.")
    ] = 0,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:N or auto. Unset: TRYON_DEVICE.")
    ] = None,
    precision: Annotated[
        Precision, typer.Option(help="auto: bfloat16 on GPUs with bfloat16 units, float32 elsewhere.")
    ] = Precision.auto,
    matcher: Annotated[
        Path | None, typer.Option(help="For alias: the gmm_final.pth of the same size.", dir_okay=False)
    ] = None,
    perceptual: Annotated[
        bool, typer.Option(help="For alias: the perceptual loss, which needs vgg19.")
    ] = True,
    start: Annotated[
        Path | None, typer.Option(help="Initial weights, such as the published ones.", dir_okay=False)
    ] = None,
    checkpoint_every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")] = 1000,
    sheet_every: Annotated[int, typer.Option(min=1, help="Epochs between sample sheets.")] = 1,
    readers: Annotated[int, typer.Option(min=0, help="Processes that read pictures ahead.")] = 0,
    resume: Annotated[bool, typer.Option(help="Resume the run from its last checkpoint.")] = False,
) -> None:
    """Train a network with the paper's losses; its file in the run's folder is what the engine loads."""
    import torch

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
    chosen_device = choose(device or settings().device)[0]
    dtype = _dtype(precision, chosen_device)
    loss = _perceptual_loss(perceptual) if network is Network.alias else None
    folder = _open_folder(data, pairs)
    err.print(
        f"{len(folder.pairs)} pairs, {plan.steps} steps on {chosen_device} in "
        f"{str(dtype).removeprefix('torch.')}"
    )
    with _Progress(plan.steps) as progress:
        file = run_training(
            plan,
            folder,
            run,
            device=torch.device(chosen_device),
            precision=dtype,
            matcher=matcher,
            perceptual=loss,
            start=start,
            resume=resume,
            report=progress.report,
        )
    print(json.dumps({"weights": str(file), "steps": plan.steps, "losses": progress.last_losses}))


@app.command()
def pairs(
    people: Annotated[Path, typer.Argument(help="Folder of people laid out as VITON-HD.", exists=True)],
    data: Annotated[Path, typer.Argument(help="The new folder.")],
) -> None:
    """Make pairs for a trial of the training: each person with a garment from their own photograph."""
    from worker.lab.cascade_training.cutout import make_pairs

    print(json.dumps({"data": str(data), "pairs": make_pairs(people, data)}))


class _Progress(Progress):
    """A progress bar with the losses, which keeps the last ones."""

    def __init__(self, steps: int) -> None:
        super().__init__(console=err)
        self.last_losses: dict[str, float] = {}
        self._bar = self.add_task("steps", total=steps)

    def report(self, step: int, losses: dict[str, float]) -> None:
        """Show the finished steps and the mean losses."""
        self.last_losses.update(losses)
        values = " ".join(f"{name} {value:.4g}" for name, value in losses.items())
        self.update(self._bar, completed=step, description=values)


def _dtype(precision: Precision, device: str) -> "torch.dtype":
    import torch

    from worker.viton_hd.cascade import MIN_BFLOAT16_CAPABILITY

    if precision is not Precision.auto:
        return torch.float32 if precision is Precision.float32 else torch.bfloat16
    on_cuda = device.startswith("cuda")
    has_bfloat16 = on_cuda and torch.cuda.get_device_capability(device) >= MIN_BFLOAT16_CAPABILITY
    return torch.bfloat16 if has_bfloat16 else torch.float32


def _perceptual_loss(requested: bool) -> "PerceptualLoss | None":
    from worker.lab.cascade_training.perceptual import PerceptualLoss

    if requested:
        return PerceptualLoss.load(settings().models_dir)
    err.print("Training without the perceptual loss, because of --no-perceptual.")
    return None


def _open_folder(data: Path, pairs_file: Path | None) -> "PairFolder":
    from worker.lab.cascade_training.data import open_folder

    folder = open_folder(data, pairs_file)
    if folder.left_out:
        name, reason = next(iter(folder.left_out.items()))
        err.print(f"{len(folder.left_out)} people are left out, such as {name}: {reason}")
    return folder
