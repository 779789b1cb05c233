"""Measures the parser as a detector and segmenter: precision, recall and mAP of boxes and masks."""

import csv
from pathlib import Path
from typing import Any

from config.errors import InputValidationError
from worker.parsing.classes import TITLES
from worker.parsing.network import SIZE, load
from worker.parsing.quiet import ultralytics

_BOX_AND_MASK = "BM"
"""How results.csv names the metrics of boxes and masks."""


def validate(weights: Path, data: Path, subset: str = "val", size: int = SIZE) -> dict[str, dict[str, Any]]:
    """Return the figures of each class and of all classes together, from ultralytics' validator.

    Args:
        weights: the parser's safetensors, its yaml beside it.
        data: the data set's data.yaml.
        subset: val or test.
        size: the pictures' longer side, pixels.

    Returns:
        class -> precision and recall of boxes and masks at the confidence with the best F1, mAP50 and
        mAP50-95 (the mean over IoU 0.50 to 0.95, Lin et al., Microsoft COCO, ECCV 2014).

    Raises InputValidationError when the data set does not exist.
    """
    if not data.is_file():
        raise InputValidationError(
            f"{data} does not exist: build the data set first with `tryon parser dataset`.", input=str(data)
        )
    package = ultralytics()
    network = load(weights, weights.with_suffix(".yaml"))
    network.names = dict(enumerate(TITLES))
    model = package.YOLO("yolov8n-seg.yaml", task="segment", verbose=False)
    model.model = network.eval()
    metrics = model.val(
        data=str(data), split=subset, imgsz=size, batch=16, rect=True, plots=False, save_json=False,
        device="cpu", workers=0, verbose=False, project=str(data.parent), name="validation", exist_ok=True,
    )  # fmt: skip
    rows: dict[str, dict[str, Any]] = {}
    for kind, metric in (("box", metrics.box), ("mask", metrics.seg)):
        rows.setdefault("all", {}).update(_row(kind, metric.mean_results()))
        for position, number in enumerate(metric.ap_class_index):
            rows.setdefault(TITLES[number], {}).update(_row(kind, metric.class_result(position)))
    return rows


def training_summary(results: Path) -> dict[str, Any]:
    """Return the summary of a training run from its results.csv.

    Returns:
        epochs, the best epoch (by ultralytics' fitness: 0.1 mAP50 + 0.9 mAP50-95 of boxes and masks), the
        epoch with the lowest validation loss, and the first epoch after it: from there on the network
        overfits. None if the last epoch has the lowest loss.

    Raises InputValidationError when the file contains no epoch.
    """
    with results.open() as file:
        rows = [{key.strip(): float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    if not rows:
        raise InputValidationError(f"{results} contains no epoch.", input=str(results))
    fitness = [
        sum(
            0.1 * row[f"metrics/mAP50({kind})"] + 0.9 * row[f"metrics/mAP50-95({kind})"]
            for kind in _BOX_AND_MASK
        )
        for row in rows
    ]
    loss = [sum(row[f"val/{part}_loss"] for part in ("box", "seg", "cls", "dfl")) for row in rows]
    best, lowest = max(range(len(rows)), key=fitness.__getitem__), min(range(len(rows)), key=loss.__getitem__)
    return {
        "epochs": len(rows),
        "best epoch": int(rows[best]["epoch"]),
        "lowest validation loss at epoch": int(rows[lowest]["epoch"]),
        "overfitting from epoch": int(rows[lowest + 1]["epoch"]) if lowest + 1 < len(rows) else None,
    }


def _row(kind: str, figures: tuple[float, ...]) -> dict[str, float]:
    names = ("precision", "recall", "mAP50", "mAP50-95")
    return {f"{kind} {name}": round(float(value), 3) for name, value in zip(names, figures, strict=True)}
