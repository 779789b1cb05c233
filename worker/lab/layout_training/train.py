"""Trains the layout network on labelled people."""

import csv
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, IterableDataset

from worker.geometric.layout import After, LayoutNetwork
from worker.lab.layout_training.examples import Person, example, load_people
from worker.lab.layout_training.measure import UNKNOWN


@dataclass(frozen=True)
class TrainSettings:
    """How the network is trained.

    Attributes:
        batch: inputs per step.
        rate: highest learning rate of AdamW, usual with batch normalization and this batch size.
        rate_end: final learning rate, share of the highest.
        warm_up: share of the time in which the learning rate rises.
        decay: weight decay.
        average: decay of the exponential moving average of the weights, per step.
        small_parts: weight of sleeves, neck and arms in the loss; they are thin, and they matter.
        report_s: seconds between lines of the curve.
        workers: processes that draw inputs; with 0 the training process does.
        threads: threads of the training process.
        half: whether convolutions are computed in bfloat16: three times as fast on a CPU with AMX.
    """

    batch: int = 16
    rate: float = 2e-3
    rate_end: float = 0.01
    warm_up: float = 0.05
    decay: float = 0.02
    average: float = 0.99
    small_parts: float = 1.5
    report_s: float = 60.0
    workers: int = 1
    threads: int = 1
    half: bool = True


class _Stream(IterableDataset[tuple[torch.Tensor, torch.Tensor]]):
    """An endless stream of batches of random examples."""

    def __init__(self, people: list[Person], batch: int, seed: int) -> None:
        self.people, self.batch, self.seed = people, batch, seed

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        cv2.setNumThreads(1)
        torch.set_num_threads(1)
        rng = np.random.default_rng(self.seed)
        while True:
            chosen = rng.choice(len(self.people), self.batch)
            drawn = [example(rng, self.people[index]) for index in chosen]
            inputs, targets = (np.stack(part) for part in zip(*drawn, strict=True))
            yield torch.from_numpy(inputs), torch.from_numpy(targets)


def train(data: Path, run: Path, minutes: float, *, settings: TrainSettings | None = None) -> Path:
    """Train for this many minutes and return averaged.pt, the averaged weights; curve.csv is beside it.

    Args:
        data: folder of prepared people, see `load_people`.
        run: the folder to write.
        minutes: duration; the learning rate's schedule ends with it.
        settings: how the network is trained.

    Raises InputValidationError when there are no people to train on.
    """
    settings = settings or TrainSettings()
    # OpenCV's threads do not survive the fork of the processes that draw inputs: they would wait for ever.
    cv2.setNumThreads(1)
    torch.set_num_threads(settings.threads)
    people = load_people(data, "train")
    torch.manual_seed(0)
    run.mkdir(parents=True, exist_ok=True)
    network = LayoutNetwork().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.rate, weight_decay=settings.decay)
    average = {name: value.detach().clone() for name, value in network.state_dict().items()}
    importance = _importance(settings)
    loader = DataLoader(
        _Stream(people, settings.batch, 0),
        batch_size=None,
        num_workers=settings.workers,
        prefetch_factor=6 if settings.workers else None,
    )
    began = reported = time.monotonic()
    losses: list[float] = []
    for step, (inputs, targets) in enumerate(loader, 1):
        progress = (time.monotonic() - began) / (minutes * 60)
        if progress >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = settings.rate * _course(progress, settings)
        losses.append(_step(network, optimizer, inputs, targets, importance, half=settings.half))
        _follow(average, network, min(settings.average, (1 + step) / (10 + step)))
        if time.monotonic() - reported > settings.report_s:
            _report(run, average, progress * minutes, step, losses)
            reported = time.monotonic()
            losses = []
    _report(run, average, minutes, step, losses)
    return run / "averaged.pt"


def _importance(settings: TrainSettings) -> torch.Tensor:
    weights = torch.ones(len(After))
    for label in (After.RIGHT_SLEEVE, After.LEFT_SLEEVE, After.NECK, After.RIGHT_ARM, After.LEFT_ARM):
        weights[label] = settings.small_parts
    return weights


def _step(
    network: LayoutNetwork,
    optimizer: torch.optim.Optimizer,
    inputs: torch.Tensor,
    targets: torch.Tensor,
    importance: torch.Tensor,
    *,
    half: bool,
) -> float:
    network.train()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        logits = network(inputs.contiguous(memory_format=torch.channels_last))
    loss = functional.cross_entropy(logits.float(), targets.long(), importance, ignore_index=UNKNOWN)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), 5.0)
    optimizer.step()
    return float(loss.detach())


def _follow(average: dict[str, torch.Tensor], network: LayoutNetwork, keep: float) -> None:
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                average[name].lerp_(value, 1 - keep)
            else:
                average[name].copy_(value)


def _course(progress: float, settings: TrainSettings) -> float:
    """Return the learning rate as a share of the highest at a point of the run, 0..1: cosine decay."""
    if progress < settings.warm_up:
        return max(progress / settings.warm_up, settings.rate_end)
    along = (progress - settings.warm_up) / (1 - settings.warm_up)
    return settings.rate_end + (1 - settings.rate_end) * 0.5 * (1 + float(np.cos(np.pi * along)))


def _report(
    run: Path, average: dict[str, torch.Tensor], minutes: float, step: int, losses: list[float]
) -> None:
    """Write the averaged weights and a line of the curve."""
    part = run / "averaged.part"
    torch.save(average, part)
    part.replace(run / "averaged.pt")
    row = {"minutes": round(minutes, 1), "step": step, "loss": round(float(np.mean(losses or [np.nan])), 4)}
    fresh = not (run / "curve.csv").is_file()
    with (run / "curve.csv").open("a", newline="") as lines:
        writer = csv.DictWriter(lines, list(row))
        if fresh:
            writer.writeheader()
        writer.writerow(row)
    print(", ".join(f"{name} {value}" for name, value in row.items()), flush=True)
