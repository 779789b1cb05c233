"""The training loop: batches in; checkpoints, curves and sample sheets out. It can stop and go on."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, default_collate

from config.errors import InputValidationError
from worker.lab.cascade_training import checkpoints, curves
from worker.lab.cascade_training.data import Batch, Examples, PairFolder, batches
from worker.lab.cascade_training.objectives import Alias, Matching, Objective, Segmentation
from worker.lab.cascade_training.perceptual import PerceptualLoss
from worker.lab.cascade_training.sizes import Size
from worker.lab.demo.sheet import sheet
from worker.weights.checkpoint import load_state_dict, shapes
from worker.weights.folder import digest_of

NETWORKS: dict[str, type[Objective]] = {"seg": Segmentation, "gmm": Matching, "alias": Alias}
"""Name on the command line -> what teaches the network."""

CURVES, PICTURE, SHEETS = "losses.csv", "losses.png", "sheets"

_SHOWN = 4  # pairs of a sample sheet

Report = Callable[[int, dict[str, float]], None]
"""Told the steps done and the means of the losses, at each row of the curves."""


@dataclass(frozen=True)
class Plan:
    """How to train.

    Attributes:
        network: "seg", "gmm" or "alias".
        size: of networks and pictures.
        steps: to stop after, counted from the run's beginning; over their second half the learning rate falls
            to zero.
        batch: pairs in a step; fewer where the folder has fewer.
        learning_rate: the generator's at first, None for the recipe's; a judge's stays in proportion to it.
        seed: decides the initial weights, the order of the pairs and all noise.
        checkpoint_every, row_every: steps between checkpoints, and between rows of the curves.
        sheet_every: epochs between sample sheets.
        readers: processes that read ahead; 0 reads in between.
    """

    network: str
    size: Size
    steps: int
    batch: int
    learning_rate: float | None = None
    seed: int = 0
    checkpoint_every: int = 1000
    row_every: int = 10
    sheet_every: int = 1
    readers: int = 0

    def lasting(self) -> dict[str, Any]:
        """Return what a run cannot change on the way, as plain values."""
        names = ("network", "batch", "learning_rate", "seed")
        return {name: getattr(self, name) for name in names} | {"size": str(asdict(self.size))}


def train(
    plan: Plan,
    data: PairFolder,
    run: Path,
    *,
    device: torch.device | str = "cpu",
    precision: torch.dtype = torch.float32,
    matcher: Path | None = None,
    perceptual: PerceptualLoss | None = None,
    start: Path | None = None,
    resume: bool = False,
    report: Report = lambda step, losses: None,
) -> Path:
    """Train a network and return its file, a state dict as the cascade loads it.

    The run's folder gets that file under the published name (seg_final.pth, gmm_final.pth, alias_final.pth),
    `state.pth` with all that a resumed run needs to end with the same weights as one that never stopped,
    `losses.csv` and `losses.png`, and sheets/epoch_NNNNNN.png. A run that is killed goes on from its last
    checkpoint.

    Args:
        plan: what to train, how long and how fast.
        data: the pairs.
        run: the run's folder, new or, with `resume`, one to go on with.
        device: where to train.
        precision: of the networks' convolutions, float32 or bfloat16.
        matcher: for "alias", the file of geometric matching, trained at the same size.
        perceptual: for "alias", the perceptual loss; None to do without.
        start: a file of the network's weights to begin with instead of random ones.
        resume: whether to go on with the run.
        report: told how it goes.

    Raises:
        InputValidationError: the folder holds another run, or none to go on with, or a loss is infinite.
        WeightsMissingError: a file of weights is not there or of another network or size.
    """
    device = torch.device(device)
    count = len(data.pairs)
    batch = min(plan.batch, count)
    lasting = plan.lasting() | {
        "pairs": data.digest,
        "precision": str(precision),
        "perceptual": perceptual is not None,
        "matcher": digest_of(matcher) if matcher and matcher.is_file() else None,
    }
    if not resume and (run / checkpoints.STATE).exists():
        raise InputValidationError(
            f"{run} holds a run already: go on with it with --resume, or name another folder.", input=str(run)
        )
    state = checkpoints.load_state(run, lasting) if resume else None
    torch.manual_seed(plan.seed)
    objective = _objective(plan, matcher, perceptual, device, precision)
    if state:
        objective.restore(state)
    elif start:
        objective.generator.load_state_dict(load_state_dict(start, shapes(objective.generator)), strict=True)
    done = state["step"] if state else 0
    if done >= plan.steps:
        raise InputValidationError(
            f"{run} has done its {done} steps: ask for more than that with --steps.", input="steps"
        )

    (run / SHEETS).mkdir(parents=True, exist_ok=True)
    examples = Examples(data, plan.size)
    losses = curves.Curves(run / CURVES, done)
    loader = DataLoader(
        examples,
        batch_sampler=list(batches(count, batch, plan.seed, done, plan.steps)),
        num_workers=plan.readers,
        persistent_workers=plan.readers > 0,
        pin_memory=device.type == "cuda",
    )
    epoch_steps = count // batch
    for step, collated in enumerate(loader, done + 1):
        # Seeded at each step, a run that goes on draws what it would have drawn.
        seed = int(np.random.default_rng((plan.seed, step)).integers(2**31))
        torch.manual_seed(seed)
        objective.pace((step - 1) / plan.steps)
        losses.add(objective.step(Batch.of(collated, device), seed))
        last = step == plan.steps
        saving = last or step % plan.checkpoint_every == 0
        if saving or step % plan.row_every == 0:
            report(step, losses.row(step))
        if step % (epoch_steps * plan.sheet_every) == 0 or last:
            _draw_sheet(objective, examples, device, run / SHEETS / f"epoch_{step // epoch_steps:06d}.png")
            curves.draw(run / CURVES, run / PICTURE)
        if saving:
            _save(objective, plan.network, run, {"step": step, "options": lasting})
    return run / f"{plan.network}_final.pth"


def _objective(
    plan: Plan,
    matcher: Path | None,
    perceptual: PerceptualLoss | None,
    device: torch.device,
    precision: torch.dtype,
) -> Objective:
    options: dict[str, Any] = {"device": device, "precision": precision, "learning_rate": plan.learning_rate}
    if plan.network == "seg":
        return Segmentation(plan.size, **options)
    if plan.network == "gmm":
        return Matching(plan.size, **options)
    if matcher is None:
        raise InputValidationError(
            "ALIAS learns from garments that geometric matching has bent: train `gmm` first, and give its "
            "gmm_final.pth with --matcher.",
            input="matcher",
        )
    bends = plan.size.matcher()
    bends.load_state_dict(load_state_dict(matcher, shapes(bends)), strict=True)
    return Alias(plan.size, bends, perceptual, **options)


def _save(objective: Objective, name: str, run: Path, progress: dict[str, Any]) -> None:
    # The state holds the generator too: the two files cannot be replaced in one step, and a resumed run must
    # not take one from before and one from after.
    checkpoints.save(progress | objective.state(), run / checkpoints.STATE)
    weights = {key: value.cpu() for key, value in objective.generator.state_dict().items()}
    checkpoints.save(weights, run / f"{name}_final.pth")


def _draw_sheet(objective: Objective, examples: Examples, device: torch.device, file: Path) -> None:
    first = default_collate([examples[number] for number in range(min(_SHOWN, len(examples)))])
    panels = objective.panels(Batch.of(first, device))
    page = sheet([panel for row in panels for panel in row], columns=len(panels[0]), height=320)
    Image.fromarray(page).save(file)
