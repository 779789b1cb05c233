"""Trains the human parser, a YOLOv8 segmentation network, with ultralytics."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from config.errors import InputValidationError
from worker.parsing.quiet import ultralytics

SCALES = ("n", "s", "m", "l", "x")
"""The sizes of YOLOv8 networks, from the smallest."""

AUGMENTATION: Mapping[str, float] = {
    # People fill the canvas in a fixed way: small shifts and scales, no mosaics.
    "mosaic": 0.0,
    "scale": 0.25,
    "translate": 0.08,
    "degrees": 6.0,
    "fliplr": 0.5,
    "hsv_h": 0.02,
    "hsv_s": 0.6,
    "hsv_v": 0.4,
}
"""ultralytics' augmentation settings."""


@dataclass(frozen=True)
class Plan:
    """How to train.

    Attributes:
        scale: the network's size, one of SCALES.
        weights: a checkpoint to start from (trusted: ultralytics unpickles it); random weights otherwise.
        size: the pictures' longer side, pixels.
        batch: pictures per step.
        epochs: the most passes over the data set.
        hours: stop after this time instead; the learning rate's schedule is fitted to it.
        patience: stop after this many epochs without a better validation.
        learning_rate: the highest, after the warm-up.
        device: `cpu`, or the numbers of CUDA devices.
        seed: of weights, order and augmentation.
    """

    scale: str = "n"
    weights: Path | None = None
    size: int = 320
    batch: int = 16
    epochs: int = 100
    hours: float | None = None
    patience: int = 15
    learning_rate: float = 0.0015
    device: str = "cpu"
    seed: int = 0


def train(data: Path, run: Path, plan: Plan, *, resume: bool = False) -> Path:
    """Train and return the run's folder.

    It contains weights/best.pt and weights/last.pt, results.csv, the curves and the confusion matrix.

    Args:
        data: the data set's data.yaml, from `dataset.build`.
        run: the run's folder; created, or continued with `resume`.
        plan: how to train; a resumed run keeps the plan that it was started with.
        resume: continue from the run's last checkpoint.

    Raises:
        InputValidationError: the data set does not exist or the scale is unknown.
    """
    if plan.scale not in SCALES:
        raise InputValidationError(
            f"No YOLOv8 network has the scale {plan.scale!r}; the scales are {', '.join(SCALES)}."
        )
    if not data.is_file():
        raise InputValidationError(
            f"{data} does not exist: build the data set first with `tryon parser dataset`.", input=str(data)
        )
    package = ultralytics(verbose=True)
    start = str(run / "weights" / "last.pt") if resume else f"yolov8{plan.scale}-seg.yaml"
    model = package.YOLO(start, task="segment", verbose=False)
    model.add_callback("on_train_start", _use_all_cores)
    if resume:
        model.train(resume=True)
    else:
        model.train(**_settings(data, run, plan), **AUGMENTATION)
    return run


def _settings(data: Path, run: Path, plan: Plan) -> dict[str, Any]:
    """Return ultralytics' training settings."""
    return {
        "data": str(data),
        "imgsz": plan.size,
        "batch": plan.batch,
        # The nominal batch: one optimiser step per batch.
        "nbs": plan.batch,
        "epochs": plan.epochs,
        "time": plan.hours,
        "patience": plan.patience,
        "optimizer": "AdamW",
        "lr0": plan.learning_rate,
        "lrf": 0.01,
        "cos_lr": True,
        "warmup_epochs": 1.0,
        "warmup_bias_lr": 0.0,
        # All pictures have the canvas's aspect ratio: no pixels are spent on padding to a square.
        "rect": True,
        "pretrained": str(plan.weights) if plan.weights else False,
        "device": plan.device,
        "amp": plan.device != "cpu",
        "workers": 1,
        "seed": plan.seed,
        "project": str(run.parent.resolve()),
        "name": run.name,
        "exist_ok": True,
        "plots": True,
        "verbose": True,
    }


def _use_all_cores(_trainer: object) -> None:
    """Use every core: the trainer leaves one free, which on two cores halves the speed."""
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
