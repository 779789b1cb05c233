"""Trains the garment network on the banks of examples; a run can be stopped and resumed."""

import csv
import itertools
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from config.errors import InputValidationError
from worker.lab.encoder import normalize
from worker.lab.garment_training import losses
from worker.lab.garment_training.bank import Bank
from worker.lab.garment_training.compose import Sample, compose
from worker.lab.garment_training.losses import Targets
from worker.lab.garment_training.network import GarmentNetwork, NetworkShape
from worker.lab.garment_training.validate import score


@dataclass(frozen=True)
class TrainSettings:
    """How the network is trained.

    Attributes:
        size: side of the inputs, pixels; an error that counts, 5 % of a garment, is then 8 pixels.
        batch: inputs per step.
        rate: highest learning rate of AdamW, usual with batch normalization and this batch size.
        encoder_rate: learning rate of the pretrained encoder, share of the decoder's: it needs less change.
        rate_end: final learning rate, share of the highest.
        warm_up: share of the time in which the learning rate rises.
        decay: weight decay.
        average: decay of the exponential moving average of the weights, per step.
        clip: largest norm of a gradient.
        sources: bank -> its share of the examples; missing banks are left out.
        checkpoint_s: seconds between checkpoints; each adds a line to the curve.
        refresh_batches: batches after which the banks are read again: other processes may add examples.
        workers: processes that compose inputs.
        threads: threads of the training process.
        half: whether convolutions are computed in bfloat16: three times as fast on a CPU with AMX.
    """

    size: int = 160
    batch: int = 32
    rate: float = 2e-3
    encoder_rate: float = 0.25
    rate_end: float = 0.01
    warm_up: float = 0.03
    decay: float = 0.03
    average: float = 0.998
    clip: float = 5.0
    sources: Mapping[str, float] = field(
        default_factory=lambda: {
            **{
                "drawn": 0.38,
                "labelled": 0.14,
                "classed": 0.15,
                "worn": 0.04,
                "cutouts": 0.09,
                "pseudo": 0.20,
            }
        }
    )
    checkpoint_s: float = 150.0
    refresh_batches: int = 50
    workers: int = 1
    threads: int = 2
    half: bool = True


FIRST_RATE = 1e-3
"""Learning rate of the first step, share of the highest."""


class Composer(IterableDataset[tuple[torch.Tensor, ...]]):
    """An endless stream of batches of random examples."""

    def __init__(self, data: Path, settings: TrainSettings, seed: int) -> None:
        self.data, self.settings, self.seed = data, settings, seed

    def __iter__(self) -> Iterator[tuple[torch.Tensor, ...]]:
        cv2.setNumThreads(1)
        torch.set_num_threads(1)
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng((self.seed, worker.id if worker else 0))
        grounds = np.load(self.data / "grounds.npy", mmap_mode="r")
        banks = {name: Bank(self.data / name) for name in self.settings.sources if self._has(name)}
        for count in itertools.count(1):
            names = [name for name, bank in banks.items() if len(bank) and self.settings.sources[name] > 0]
            shares = np.array([self.settings.sources[name] for name in names])
            chosen = rng.choice(len(names), self.settings.batch, p=shares / shares.sum())
            yield collate(
                [compose(rng, banks[names[i]].draw(rng), self.settings.size, grounds) for i in chosen]
            )
            if count % self.settings.refresh_batches == 0:
                banks = {name: Bank(self.data / name) for name in self.settings.sources if self._has(name)}

    def _has(self, name: str) -> bool:
        return (self.data / name / "count.json").is_file()


def collate(samples: list[Sample]) -> tuple[torch.Tensor, ...]:
    """Return a batch as tensors: the pictures, then the fields of Targets in order."""

    def stack(name: str) -> torch.Tensor:
        return torch.from_numpy(np.stack([getattr(sample, name) for sample in samples]))

    known = torch.tensor([sample.mask_known for sample in samples])
    names = ("points", "weights", "present", "attributes")
    return (stack("picture"), stack("mask"), known, *(stack(name) for name in names))


def as_targets(batch: tuple[torch.Tensor, ...]) -> Targets:
    """Return the targets of a batch of `collate`."""
    _, mask, *rest = batch
    return Targets(mask[:, None].float() / 255, *rest)


@dataclass
class _State:
    """The state from which a run is resumed."""

    network: GarmentNetwork
    average: dict[str, torch.Tensor]
    optimizer: torch.optim.AdamW
    step: int = 0
    seconds: float = 0.0


def train(
    data: Path,
    run: Path,
    hours: float,
    photos: Path,
    *,
    settings: TrainSettings | None = None,
    shape: NetworkShape | None = None,
    resume: bool = False,
    start: Path | None = None,
    pretrained: Path | None = None,
) -> Path:
    """Train until the run has taken this many hours in all, and return its folder.

    The folder contains last.pt (to resume), averaged.pt (the averaged weights) and curve.csv.

    Args:
        data: the folder of banks of `tryon garment dataset`.
        run: the folder of the run.
        hours: duration of the whole run, also of a resumed one; the learning rate's schedule ends with it.
        photos: the folder of labelled photographs, for the validation.
        settings: how the network is trained.
        shape: the size of the network.
        resume: whether to continue the run in the folder.
        start: averaged.pt of another run, for the initial weights.
        pretrained: the encoder's published weights, for the initial weights of a first run.

    Raises:
        InputValidationError: there are no data, or no run to resume.
    """
    settings = settings or TrainSettings()
    if not (data / "grounds.npy").is_file():
        raise InputValidationError(
            f"{data} holds no data set: run `tryon garment dataset` first.", input=str(data)
        )
    torch.set_num_threads(settings.threads)
    run.mkdir(parents=True, exist_ok=True)
    state = _fresh(settings, shape, start, pretrained)
    if resume:
        _load(state, run / "last.pt")
    loader = DataLoader(
        Composer(data, settings, seed=state.step),
        batch_size=None,
        num_workers=settings.workers,
        prefetch_factor=6 if settings.workers else None,
    )
    began, saved = time.monotonic() - state.seconds, time.monotonic()
    sums: dict[str, float] = {}
    steps = 0
    for batch in loader:
        state.seconds = time.monotonic() - began
        progress = state.seconds / (hours * 3600)
        if progress >= 1:
            break
        for name, value in _step(state, batch, progress, settings).items():
            sums[name] = sums.get(name, 0.0) + value
        steps += 1
        if time.monotonic() - saved > settings.checkpoint_s:
            _report(state, run, photos, {name: value / steps for name, value in sums.items()}, settings)
            sums, steps, saved = {}, 0, time.monotonic()
    _report(state, run, photos, {name: value / max(1, steps) for name, value in sums.items()}, settings)
    return run


def _fresh(
    settings: TrainSettings, shape: NetworkShape | None, start: Path | None, pretrained: Path | None
) -> _State:
    torch.manual_seed(0)
    network = GarmentNetwork(shape)
    if start is not None:
        network.load_state_dict(torch.load(start, map_location="cpu", weights_only=True))
    elif pretrained is not None:
        network.encoder.load_published(pretrained)
    network = network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(_groups(network, settings), lr=settings.rate)
    average = {name: value.detach().clone() for name, value in network.state_dict().items()}
    return _State(network, average, optimizer)


def _groups(network: GarmentNetwork, settings: TrainSettings) -> list[dict[str, Any]]:
    """Return the trained parameters by their learning rate, `share` of the highest, and weight decay."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, value in network.named_parameters():
        if value.requires_grad:
            share = settings.encoder_rate if name.startswith("encoder.") else 1.0
            groups.setdefault((share, settings.decay if value.ndim > 1 else 0.0), []).append(value)
    return [
        {"params": values, "share": share, "weight_decay": decay} for (share, decay), values in groups.items()
    ]


def _step(
    state: _State, batch: tuple[torch.Tensor, ...], progress: float, settings: TrainSettings
) -> dict[str, float]:
    rate = settings.rate * course(progress, settings)
    for group in state.optimizer.param_groups:
        group["lr"] = rate * group["share"]
    state.network.train()
    pictures = normalize(batch[0]).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16, enabled=settings.half):
        output = state.network(pictures)
    total, parts = losses.loss(output, as_targets(batch))
    state.optimizer.zero_grad(set_to_none=True)
    total.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(state.network.parameters(), settings.clip)
    state.optimizer.step()
    state.step += 1
    # At the start the average is over fewer steps, because early weights are soon outdated.
    keep = min(settings.average, (1 + state.step) / (10 + state.step))
    with torch.no_grad():
        for name, value in state.network.state_dict().items():
            if value.is_floating_point():
                state.average[name].lerp_(value, 1 - keep)
            else:
                state.average[name].copy_(value)
    return parts | {"loss": float(total.detach())}


def course(progress: float, settings: TrainSettings) -> float:
    """Return the learning rate as a share of the highest at a point of the run, 0..1: cosine decay."""
    if progress < settings.warm_up:
        return progress / settings.warm_up + FIRST_RATE
    along = min(1.0, (progress - settings.warm_up) / (1 - settings.warm_up))
    return settings.rate_end + (1 - settings.rate_end) * 0.5 * (1 + float(np.cos(np.pi * along)))


def _report(
    state: _State, run: Path, photos: Path, means: Mapping[str, float], settings: TrainSettings
) -> None:
    """Write the checkpoints and a line of the curve."""
    _save({"network": state.network.state_dict(), "average": state.average, "step": state.step,
           "optimizer": state.optimizer.state_dict(), "seconds": state.seconds}, run / "last.pt")  # fmt: skip
    _save(state.average, run / "averaged.pt")
    averaged = GarmentNetwork(state.network.shape)
    averaged.load_state_dict(state.average)
    row: dict[str, Any] = {
        "minutes": round(state.seconds / 60, 1),
        "step": state.step,
        "pictures_per_s": round(state.step * settings.batch / max(1.0, state.seconds), 1),
        **{name: round(value, 4) for name, value in means.items()},
        **score(averaged.eval(), photos, settings.size),
    }
    _append(run / "curve.csv", row)
    print(", ".join(f"{name} {value}" for name, value in row.items()), flush=True)


def _append(file: Path, row: Mapping[str, Any]) -> None:
    """Append a line to a CSV file; columns that its header does not name are left out."""
    columns = list(row)
    if file.is_file():
        with file.open() as lines:
            columns = next(csv.reader(lines))
        with file.open("a", newline="") as lines:
            csv.DictWriter(lines, columns, restval="", extrasaction="ignore").writerow(row)
        return
    with file.open("w", newline="") as lines:
        writer = csv.DictWriter(lines, columns)
        writer.writeheader()
        writer.writerow(row)


def _save(content: Any, file: Path) -> None:
    part = file.with_suffix(".part")
    torch.save(content, part)
    part.replace(file)


def _load(state: _State, file: Path) -> None:
    if not file.is_file():
        raise InputValidationError(f"There is no run to resume: {file} is missing.", input=str(file))
    saved = torch.load(file, map_location="cpu", weights_only=True)
    state.network.load_state_dict(saved["network"])
    state.optimizer.load_state_dict(saved["optimizer"])
    state.average = saved["average"]
    state.step, state.seconds = saved["step"], saved["seconds"]
