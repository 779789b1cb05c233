"""The training loop: writes checkpoints, curves and sample sheets; a run can be stopped and resumed."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as PillowImage
from torch import Tensor
from torch.utils.data import DataLoader, default_collate

from config.errors import InputValidationError
from worker.lab.cascade_training import checkpoints, curves
from worker.lab.cascade_training.checkpoints import TrainingState
from worker.lab.cascade_training.data import Batch, Examples, PairFolder, batch_indices
from worker.lab.cascade_training.objectives import (
    Alias,
    Matching,
    Objective,
    ObjectiveOptions,
    Segmentation,
)
from worker.lab.cascade_training.perceptual import PerceptualLoss
from worker.lab.cascade_training.sizes import Size
from worker.lab.demo.sheet import sheet
from worker.weights.checkpoint import load_state_dict, shapes
from worker.weights.folder import digest_of

NETWORKS: dict[str, type[Objective]] = {"seg": Segmentation, "gmm": Matching, "alias": Alias}
"""Name on the command line -> the network's objective."""

CURVES, PLOT, SHEETS = "losses.csv", "losses.png", "sheets"
"""The names in a run's folder: the losses, their plot, the folder of sample sheets."""

_SHEET_PAIRS = 4  # pairs of a sample sheet
_SHEET_PANEL_HEIGHT = 320  # pixels

Report = Callable[[int, dict[str, float]], None]
"""Called with the finished steps and the mean losses, at each row of the curves."""


@dataclass(frozen=True)
class Plan:
    """What to train and for how long.

    Attributes:
        network: "seg", "gmm" or "alias".
        size: of networks and pictures.
        steps: the last step, counted from the run's beginning; the learning rate falls to zero over the
            second half.
        batch: pairs in a step; fewer if the folder has fewer.
        learning_rate: the generator's initial rate, None for the recipe's; the discriminator's stays in
            proportion.
        seed: decides the initial weights, the order of the pairs and all noise.
        checkpoint_every, row_every: steps between checkpoints, and between rows of the curves.
        sheet_every: epochs between sample sheets.
        readers: processes that read ahead; 0 to read in the training process.
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

    def fixed_options(self) -> dict[str, Any]:
        """Return the options that a run cannot change, as plain values."""
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
    report: Report | None = None,
) -> Path:
    """Train a network and return its file, a state dict as the cascade loads it.

    The run's folder gets that file under the published name (seg_final.pth, gmm_final.pth, alias_final.pth),
    `state.pth`, `losses.csv`, `losses.png`, and sheets/epoch_NNNNNN.png. A killed run can be resumed from its
    last checkpoint, `state.pth`; it ends with the weights of a run that was never stopped.

    Args:
        plan: what to train and for how long.
        data: the pairs.
        run: the run's folder, new or, with `resume`, that of the run to resume.
        device: where to train.
        precision: type of the networks' convolutions, float32 or bfloat16.
        matcher: for "alias", the file of geometric matching, trained at the same size.
        perceptual: for "alias", the perceptual loss; None to train without it.
        start: a file of initial weights; None for random weights.
        resume: whether to resume the run.
        report: called with the progress.

    Raises:
        InputValidationError: the folder contains another run, or none to resume, or a loss is not finite.
        WeightsMissingError: a weight file is missing or of another network or size.
    """
    if not resume and (run / checkpoints.STATE).exists():
        raise InputValidationError(
            f"{run} contains a run already: resume it with --resume, or name another folder.", input=str(run)
        )
    device = torch.device(device)
    options = plan.fixed_options() | {
        "pairs": data.digest,
        "precision": str(precision),
        "perceptual": perceptual is not None,
        "matcher": digest_of(matcher) if matcher and matcher.is_file() else None,
    }
    state = checkpoints.load_state(run, options) if resume else None
    done = state["step"] if state else 0
    torch.manual_seed(plan.seed)
    objective = _objective(plan, matcher, perceptual, device, precision)
    if state:
        objective.restore(state)
    elif start:
        objective.generator.load_state_dict(load_state_dict(start, shapes(objective.generator)), strict=True)
    if done >= plan.steps:
        raise InputValidationError(
            f"{run} has finished its {done} steps: request more with --steps.", input="steps"
        )
    (run / SHEETS).mkdir(parents=True, exist_ok=True)
    training = _Training(plan, objective, Examples(data, plan.size), run, options, report)
    training.run_steps(done)
    return run / f"{plan.network}_final.pth"


@dataclass(frozen=True)
class _Training:
    """A run that is ready for its steps; see `train`."""

    plan: Plan
    objective: Objective
    examples: Examples
    run: Path
    options: Mapping[str, Any]
    report: Report | None

    def run_steps(self, done: int) -> None:
        """Run the steps after the first `done`."""
        plan = self.plan
        batch = min(plan.batch, len(self.examples))
        steps_per_epoch = len(self.examples) // batch
        losses = curves.Curves(self.run / CURVES, done)
        for step, collated in enumerate(self._loader(batch, done), done + 1):
            losses.add(self._step(step, collated))
            is_last = step == plan.steps
            is_checkpoint = is_last or step % plan.checkpoint_every == 0
            if is_checkpoint or step % plan.row_every == 0:
                means = losses.write_row(step)
                if self.report:
                    self.report(step, means)
            if is_last or step % (steps_per_epoch * plan.sheet_every) == 0:
                self._write_sheet(step // steps_per_epoch)
                curves.plot(self.run / CURVES, self.run / PLOT)
            if is_checkpoint:
                self._save(step)

    def _loader(self, batch: int, done: int) -> "DataLoader[dict[str, Tensor]]":
        plan = self.plan
        return DataLoader(
            self.examples,
            batch_sampler=list(batch_indices(len(self.examples), batch, plan.seed, done, plan.steps)),
            num_workers=plan.readers,
            persistent_workers=plan.readers > 0,
            pin_memory=self.objective.device.type == "cuda",
        )

    def _step(self, step: int, collated: Mapping[str, Tensor]) -> dict[str, Tensor]:
        # The seed depends on the step, so that a resumed run has the random numbers of an unbroken one.
        seed = int(np.random.default_rng((self.plan.seed, step)).integers(2**31))
        torch.manual_seed(seed)
        self.objective.set_learning_rates((step - 1) / self.plan.steps)
        return self.objective.step(Batch.of(collated, self.objective.device), seed)

    def _save(self, step: int) -> None:
        # The state includes the generator, although it has its own file: the two files cannot be replaced in
        # one step, and a resumed run needs the generator and its optimiser of the same step.
        states = self.objective.state()
        state: TrainingState = {"step": step, "options": dict(self.options), **states}
        checkpoints.save(state, self.run / checkpoints.STATE)
        weights = {key: value.cpu() for key, value in self.objective.generator.state_dict().items()}
        checkpoints.save(weights, self.run / f"{self.plan.network}_final.pth")

    def _write_sheet(self, epoch: int) -> None:
        count = min(_SHEET_PAIRS, len(self.examples))
        first = default_collate([self.examples[number] for number in range(count)])
        panels = self.objective.panels(Batch.of(first, self.objective.device))
        page = sheet(
            [panel for row in panels for panel in row], columns=len(panels[0]), height=_SHEET_PANEL_HEIGHT
        )
        PillowImage.fromarray(page).save(self.run / SHEETS / f"epoch_{epoch:06d}.png")


def _objective(
    plan: Plan,
    matcher: Path | None,
    perceptual: PerceptualLoss | None,
    device: torch.device,
    precision: torch.dtype,
) -> Objective:
    options: ObjectiveOptions = {
        "device": device,
        "precision": precision,
        "learning_rate": plan.learning_rate,
    }
    if plan.network == "seg":
        return Segmentation(plan.size, **options)
    if plan.network == "gmm":
        return Matching(plan.size, **options)
    if matcher is None:
        raise InputValidationError(
            "ALIAS is trained on garments that geometric matching has warped: train `gmm` first, and give "
            "its gmm_final.pth with --matcher.",
            input="matcher",
        )
    trained_matcher = plan.size.matcher()
    trained_matcher.load_state_dict(load_state_dict(matcher, shapes(trained_matcher)), strict=True)
    return Alias(plan.size, trained_matcher, perceptual, **options)
