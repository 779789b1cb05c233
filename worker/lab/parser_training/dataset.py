"""Builds a YOLO segmentation data set of people's parts from Clothing Co-Parsing."""

import json
import multiprocessing
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from itertools import repeat
from pathlib import Path

import cv2
import numpy as np
import yaml
from PIL import Image as PillowImage

from worker.images.arrays import Labels, Points
from worker.lab.parser_training import ccp
from worker.lab.parser_training.examples import (
    SIZE,
    LabelledPicture,
    UnsuitableExampleError,
    estimate_and_prepare,
    variants,
)
from worker.parsing.classes import TITLES, Class
from worker.parsing.quiet import ultralytics
from worker.stages.models import Models

MIN_AREA = 60
"""Smaller regions are not labelled, pixels of the data set's pictures: too small to learn."""

_MIN_PIECE = 0.02
"""Smaller pieces of a one-piece class are not labelled, as a share of its largest piece."""

_POLYGON_TOLERANCE = 0.7
"""The largest distance of a polygon from the outline that it approximates, pixels."""

_JPEG_QUALITY = 92

# Classes that are one instance even when something in front of them splits them into several pieces. In the
# other classes every connected piece is an instance.
_ONE_INSTANCE = frozenset(
    {
        Class.HAIR,
        Class.UPPER_CLOTHES,
        Class.DRESS,
        Class.COAT,
        Class.PANTS,
        Class.SKIRT,
        Class.FACE,
        Class.SCARF,
    }
)


def build(
    source: Path,
    target: Path,
    models_dir: Path,
    *,
    processes: int = 2,
    report: Callable[[int, int], None] | None = None,
) -> dict[str, int]:
    """Write the data set; return how many photographs and pictures each subset has.

    Args:
        source: the folder of Clothing Co-Parsing.
        target: a folder whose contents are replaced: images/ and labels/ (YOLO polygons) of each subset,
            masks/ (class maps of the test pictures), data.yaml, left_out.json (photograph -> reason).
        models_dir: the folder of the pose estimator's models.
        processes: worker processes.
        report: called with the number of photographs done and their total.

    Raises InputValidationError when `source` is not Clothing Co-Parsing.
    """
    names = ccp.names(source)
    for folder in ("images", "labels", "masks"):
        shutil.rmtree(target / folder, ignore_errors=True)
    left_out: dict[str, str] = {}
    counts: Counter[str] = Counter()
    # Spawn, not fork: a pose landmarker that exists before a fork hangs in the child.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, spawn) as pool:
        results = pool.map(
            _write_photograph, repeat(source), repeat(target), repeat(models_dir), names, chunksize=4
        )
        for number, (name, result) in enumerate(zip(names, results, strict=True), 1):
            if isinstance(result, str):
                left_out[name] = result
            else:
                counts[f"{ccp.subset(name)} photographs"] += 1
                counts[f"{ccp.subset(name)} pictures"] += result
            if report is not None:
                report(number, len(names))
    _write_index(target, left_out)
    return dict(sorted(counts.items())) | {"left out": len(left_out)}


@cache
def _process_models(models_dir: Path) -> Models:
    """Return the models of this worker process; OpenCV then uses one thread, as there are many processes."""
    cv2.setNumThreads(1)
    return Models(models_dir)


def _write_photograph(source: Path, target: Path, models_dir: Path, name: str) -> int | str:
    """Write a photograph's pictures; return their number, or the reason why it is left out."""
    estimator = _process_models(models_dir).of_stage("pose")
    example = ccp.read(source, name)
    try:
        picture = estimate_and_prepare(example, estimator.estimate)
    except UnsuitableExampleError as reason:
        return str(reason)
    count = 0
    for variant, variant_picture in variants(example.name, example.subset, picture):
        _write_picture(target, example.subset, f"{name}_{variant}", variant_picture)
        count += 1
    return count


def polygons(classes: Labels) -> list[tuple[Class, Points]]:
    """Return the instances of a class map, uint8 (h, w), as polygons, float32 (n, 2) pixels, largest first.

    An instance in several pieces becomes one polygon whose pieces are joined by lines of no width. Holes
    are filled: what is in them is a smaller instance, drawn over it.
    """
    instances: list[tuple[Class, Points]] = []
    for kind in Class:
        mask = (classes == kind).astype(np.uint8)
        contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        pieces = [contour for contour in contours if cv2.contourArea(contour) >= MIN_AREA]
        if kind in _ONE_INSTANCE and pieces:
            largest = max(map(cv2.contourArea, pieces))
            pieces = [piece for piece in pieces if cv2.contourArea(piece) >= _MIN_PIECE * largest]
        outlines = [cv2.approxPolyDP(piece, _POLYGON_TOLERANCE, True)[:, 0] for piece in pieces]
        polygons = [outline.astype(np.float32) for outline in outlines if len(outline) >= 3]
        if kind in _ONE_INSTANCE and len(polygons) > 1:
            polygons = [_join(polygons)]
        instances += [(kind, polygon) for polygon in polygons]
    return sorted(instances, key=lambda instance: -cv2.contourArea(instance[1]))


def _join(pieces: Sequence[Points]) -> Points:
    """Return one polygon of several, joined by lines of no width."""
    ultralytics()
    from ultralytics.data.converter import merge_multi_segment

    return np.concatenate(merge_multi_segment(list(pieces))).astype(np.float32)  # type: ignore[arg-type]


def _write_picture(target: Path, subset: str, name: str, picture: LabelledPicture) -> None:
    for folder in ("images", "labels"):
        (target / folder / subset).mkdir(parents=True, exist_ok=True)
    image_file = target / "images" / subset / f"{name}.jpg"
    PillowImage.fromarray(picture.image).save(image_file, quality=_JPEG_QUALITY)
    lines = [
        f"{int(kind)} " + " ".join(f"{value:.5f}" for value in (polygon / SIZE).ravel())
        for kind, polygon in polygons(picture.classes)
    ]
    (target / "labels" / subset / f"{name}.txt").write_text("\n".join(lines) + "\n")
    if subset == "test":
        (target / "masks").mkdir(exist_ok=True)
        PillowImage.fromarray(picture.classes).save(target / "masks" / f"{name}.png")


def _write_index(target: Path, left_out: dict[str, str]) -> None:
    index = {
        "path": str(target.resolve()),
        "train": "images/train",
        "val": "images/val",
        "test": "images/test",
        "names": dict(enumerate(TITLES)),
    }
    (target / "data.yaml").write_text(yaml.safe_dump(index, sort_keys=False))
    (target / "left_out.json").write_text(json.dumps(left_out, indent=1) + "\n")
