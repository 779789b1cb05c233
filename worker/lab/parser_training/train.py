"""Trains the human parser, a YOLOv8 segmentation network, by ultralytics."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from config.errors import InputValidationError
from worker.parsing.quiet import ultralytics

SCALES = ("n", "s", "m", "l", "x")

AUGMENTATION: Mapping[str, float] = {
    # People fill the canvas in a known way: small shifts and scales, never mosaics.
    "mosaic": 0.0,
    "scale": 0.25,
    "translate": 0.08,
    "degrees": 6.0,
    "fliplr": 0.5,
    "hsv_h": 0.02,
    "hsv_s": 0.6,
    "hsv_v": 0.4,
}


def train(
    data: Path,
    runs: Path,
    *,
    scale: str = "n",
    weights: Path | None = None,
    size: int = 320,
    batch: int = 16,
    epochs: int = 100,
    hours: float | None = None,
    patience: int = 15,
    learning_rate: float = 0.0015,
    device: str = "cpu",
    resume: bool = False,
    seed: int = 0,
) -> Path:
    """Train and return the run's folder.

    It holds weights/best.pt and weights/last.pt, results.csv, the curves and the confusion matrix.

    Args:
        data: the data set's data.yaml, as `dataset.build` writes it.
        runs: the folder of the run; it is made, or continued with `resume`.
        scale: the network's size, one of n, s, m, l, x.
        weights: a checkpoint to start from (trusted: ultralytics unpickles it); random weights otherwise.
        size: the pictures' longer side, pixels.
        hours: stop after this time, the learning rate's course fitted to it; `epochs` otherwise.
        patience: stop after this many epochs without a better validation.

    Raises:
        InputValidationError: the data set is not there or the scale is not known.
    """
    if scale not in SCALES:
        raise InputValidationError(
            f"No YOLOv8 network has the scale {scale!r}; there are {', '.join(SCALES)}."
        )
    if not data.is_file():
        raise InputValidationError(
            f"{data} is not there: build the data set first with `tryon parser dataset`.", input=str(data)
        )
    package = ultralytics(verbose=True)
    if resume:
        model = package.YOLO(str(runs / "weights" / "last.pt"), task="segment")
        model.add_callback("on_train_start", _use_all_cores)
        model.train(resume=True)
        return runs
    model = package.YOLO(f"yolov8{scale}-seg.yaml", task="segment", verbose=False)
    settings: dict[str, Any] = {
        "data": str(data),
        "imgsz": size,
        "batch": batch,
        # The nominal batch: one step of the optimiser for each batch.
        "nbs": batch,
        "epochs": epochs,
        "time": hours,
        "patience": patience,
        "optimizer": "AdamW",
        "lr0": learning_rate,
        "lrf": 0.01,
        "cos_lr": True,
        "warmup_epochs": 1.0,
        "warmup_bias_lr": 0.0,
        # All pictures have the canvas's shape: no pixel is spent on padding to a square.
        "rect": True,
        "pretrained": str(weights) if weights else False,
        "device": device,
        "amp": device != "cpu",
        "workers": 1,
        "seed": seed,
        "project": str(runs.parent.resolve()),
        "name": runs.name,
        "exist_ok": True,
        "plots": True,
        "verbose": True,
    }
    model.add_callback("on_train_start", _use_all_cores)
    model.train(**settings, **AUGMENTATION)
    return runs


def _use_all_cores(trainer: Any) -> None:
    import torch

    # The trainer leaves one core to others, which on two cores halves the speed.
    torch.set_num_threads(os.cpu_count() or 1)
