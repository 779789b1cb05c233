"""Builds a YOLO segmentation data set of people's parts from Clothing Co-Parsing.

Each photograph is brought to the canvas by the same frame as in a job, so that the parser learns what it
will be shown. A training photograph is written up to three times: as it is, before a studio wall and closer,
and (every third) from farther away.
"""

import json
import multiprocessing
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from itertools import repeat
from pathlib import Path

import cv2
import numpy as np
import yaml
from PIL import Image

from config.errors import TryonError
from worker.images.frame import WIDTH, Frame
from worker.lab.parser_training import ccp, skin, studio
from worker.parsing.body import Body, measure
from worker.parsing.classes import TITLES, Class
from worker.pose.estimator import PersonPose
from worker.stages.models import Models

SIZE = (480, 640)
"""Width and height of the data set's pictures."""

_ZOOM = SIZE[0] / WIDTH
_LEFT, _TOP = (WIDTH - SIZE[0]) // 2, 64
"""Where the canvas lies, at the pictures' scale, in the larger map that all pictures are cut from."""

MAX_UNSURE = 0.12
"""A photograph is left out when the split of more of its skin than this is a guess."""
MIN_FACE = 0.35
"""A photograph is left out when less of its face's ellipse than this is labelled skin."""
MIN_AREA = 60
"""Parts smaller than this (pixels of the data set's pictures) are not labelled."""

# What is one thing even where something lies across it; the others are one thing per connected piece.
_WHOLE = frozenset(
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

Estimate = Callable[[np.ndarray], PersonPose]


@dataclass(frozen=True)
class Parsed:
    """A photograph's canvas and its surroundings.

    Attributes:
        image: RGB uint8 (1024, 768, 3).
        classes: uint8 (1024, 768), `Class` or 255 where nobody is.
    """

    image: np.ndarray
    classes: np.ndarray


class UnsureError(Exception):
    """A photograph that is no good example; the message says why."""


def build(
    source: Path,
    target: Path,
    models_dir: Path,
    *,
    processes: int = 2,
    report: Callable[[int, int], None] = lambda done, of: None,
) -> dict[str, int]:
    """Write the data set and return how many photographs and pictures went into each part of it.

    Args:
        source: the folder of Clothing Co-Parsing.
        target: a folder that is made anew: images/ and labels/ (YOLO polygons) of each part, masks/ (class
            maps of the test pictures), data.yaml, left_out.json (photograph -> why).
        models_dir: where the pose estimator's models are.
        processes: how many photographs are worked on at once.
        report: called with the number of photographs done and their total.
    """
    names = ccp.names(source)
    for folder in ("images", "labels", "masks"):
        shutil.rmtree(target / folder, ignore_errors=True)
    left_out: dict[str, str] = {}
    counts: Counter[str] = Counter()
    # A landmarker that was made before a fork hangs in the child.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, spawn, _load, (models_dir,)) as pool:
        results = pool.map(_one, repeat(source), repeat(target), names, chunksize=4)
        for done, (name, result) in enumerate(zip(names, results, strict=True), 1):
            if isinstance(result, str):
                left_out[name] = result
            else:
                counts[f"{ccp.subset(name)} photographs"] += 1
                counts[f"{ccp.subset(name)} pictures"] += result
            report(done, len(names))
    _write_index(target, left_out)
    return dict(sorted(counts.items())) | {"left out": len(left_out)}


_models: Models | None = None


def _load(models_dir: Path) -> None:
    global _models
    cv2.setNumThreads(1)
    _models = Models(models_dir)


def _one(source: Path, target: Path, name: str) -> int | str:
    """Write a photograph's pictures and return their number, or why the photograph is left out."""
    assert _models is not None
    example = ccp.read(source, name)
    try:
        parsed = prepare(example, _models.of_stage("pose").estimate)
    except UnsureError as reason:
        return str(reason)
    written = 0
    for variant, picture in variants(example.name, example.subset, parsed):
        _write(target, example.subset, f"{name}_{variant}", picture)
        written += 1
    return written


def prepare(example: ccp.Example, estimate: Estimate) -> Parsed:
    """Return the photograph as the canvas has it, with its surroundings and its skin split.

    Raises UnsureError when the pose is not found or the skin's parts cannot be told apart.
    """
    try:
        found = estimate(example.photo)
    except TryonError as error:
        raise UnsureError(f"{error.name}: {error.message}") from error
    wider = around(found.frame)
    # Every pixel is its own: labels, also the special ones, survive only the nearest-neighbour warp, and
    # what lies beyond the photograph is background.
    classes = 255 - wider.to_canvas(255 - example.classes, interpolation=cv2.INTER_NEAREST)
    image = wider.to_canvas(example.photo, fill=240)
    body = measure(found.pose, 1)
    return Parsed(image, settled(classes, body))


def around(frame: Frame) -> Frame:
    """Return the frame of the larger map that a canvas's frame belongs to."""
    return Frame(
        frame.scale * _ZOOM,
        frame.left * _ZOOM + _LEFT,
        frame.top * _ZOOM + _TOP,
        frame.photo_width,
        frame.photo_height,
    )


def settled(classes: np.ndarray, body: Body) -> np.ndarray:
    """Return the classes with skin split by the pose and small things worn given to what is around them."""
    bare = classes == ccp.SKIN
    parts = skin.split(bare, body, _ZOOM, (_LEFT, _TOP))
    if parts.unsure > MAX_UNSURE:
        raise UnsureError(f"the part of {parts.unsure:.0%} of the skin is not sure")
    if parts.face < MIN_FACE:
        raise UnsureError(f"only {parts.face:.0%} of the face is labelled skin")
    settled = np.where(bare, parts.classes, classes).astype(np.uint8)
    worn = settled == ccp.WHATEVER
    if worn.any():
        known = ~worn & (settled != ccp.BACKGROUND)
        _, nearest = cv2.distanceTransformWithLabels(
            (~known).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
        )
        values = np.zeros(nearest.max() + 1, np.uint8)
        values[nearest[known]] = settled[known]
        settled[worn] = values[nearest[worn]]
    return settled


def variants(name: str, subset: ccp.Subset, parsed: Parsed) -> Iterator[tuple[str, Parsed]]:
    """Yield the pictures that are made of a photograph, (640, 480), each with its name.

    A test picture is the canvas as it is. Of the validation photographs every second is before a wall: what
    is chosen by them has to work on both.
    """
    digest = sha256(name.encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    if subset == "test":
        yield "street", _window(parsed, 1)
    elif subset == "val":
        studio_turn = digest[8] % 2
        yield (
            ("studio", _before_wall(_window(parsed, 1), rng))
            if studio_turn
            else ("street", _window(parsed, 1))
        )
    else:
        yield "street", _window(parsed, 1)
        closer = _window(parsed, rng.uniform(0.72, 1), (rng.uniform(-0.06, 0.06), rng.uniform(0, 0.05)))
        yield "studio", _before_wall(closer, rng)
        if digest[8] % 3 == 0:
            wide = _window(parsed, rng.uniform(1.2, 1.5))
            yield "wide", _before_wall(wide, rng) if digest[9] % 2 else wide


def canvas_of(parsed: Parsed) -> Parsed:
    """Return what lies on the canvas, at the pictures' size."""
    return _window(parsed, 1)


def _window(parsed: Parsed, size: float, shift: tuple[float, float] = (0, 0)) -> Parsed:
    """Return a window of the map, `size` times as large as the canvas, at the pictures' size.

    The window is centred on the canvas's middle column and begins at its top, or above it when it is larger.
    """
    width, height = SIZE
    x0 = _LEFT + width * (1 - size) / 2 + shift[0] * width
    y0 = _TOP + height * (min(1 - size, 0) * 0.15 + shift[1])
    matrix = np.array([[1 / size, 0, -x0 / size], [0, 1 / size, -y0 / size]])
    image = cv2.warpAffine(parsed.image, matrix, SIZE, flags=cv2.INTER_LINEAR, borderValue=(240, 240, 240))
    classes = cv2.warpAffine(
        parsed.classes, matrix, SIZE, flags=cv2.INTER_NEAREST, borderValue=(ccp.BACKGROUND,) * 3
    )
    return Parsed(image, classes)


def _before_wall(picture: Parsed, rng: np.random.Generator) -> Parsed:
    return Parsed(studio.on_wall(picture.image, picture.classes, rng), picture.classes)


def polygons(classes: np.ndarray) -> list[tuple[Class, np.ndarray]]:
    """Return the class map's things as polygons, float32 (n, 2) in pixels, largest first.

    A thing in several pieces becomes one polygon whose pieces are joined by lines of no width. Holes are
    filled: what lies in them is a smaller thing, drawn over it.
    """
    from ultralytics.data.converter import merge_multi_segment

    found = []
    for kind in Class:
        mask = (classes == kind).astype(np.uint8)
        if not mask.any():
            continue
        contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        pieces = [contour for contour in contours if cv2.contourArea(contour) >= MIN_AREA]
        if kind in _WHOLE and pieces:
            largest = max(map(cv2.contourArea, pieces))
            pieces = [piece for piece in pieces if cv2.contourArea(piece) >= 0.02 * largest]
        outlines = [cv2.approxPolyDP(piece, 0.7, True)[:, 0].astype(np.float32) for piece in pieces]
        outlines = [outline for outline in outlines if len(outline) >= 3]
        if kind in _WHOLE and len(outlines) > 1:
            outlines = [np.concatenate(merge_multi_segment(outlines)).astype(np.float32)]
        found += [(kind, outline) for outline in outlines]
    return sorted(found, key=lambda thing: -cv2.contourArea(thing[1]))


def _write(target: Path, subset: str, name: str, picture: Parsed) -> None:
    for folder in ("images", "labels"):
        (target / folder / subset).mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture.image).save(target / "images" / subset / f"{name}.jpg", quality=92)
    lines = [
        f"{int(kind)} " + " ".join(f"{value:.5f}" for value in (outline / SIZE).ravel())
        for kind, outline in polygons(picture.classes)
    ]
    (target / "labels" / subset / f"{name}.txt").write_text("\n".join(lines) + "\n")
    if subset == "test":
        (target / "masks").mkdir(exist_ok=True)
        Image.fromarray(picture.classes).save(target / "masks" / f"{name}.png")


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
