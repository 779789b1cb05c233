"""Measures the human parsers against published label maps, side by side."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from config.errors import ParsingError
from worker.images.frame import FILL, HEIGHT, WIDTH
from worker.images.maps import Part, Pose
from worker.lab.demo.sheet import sheet
from worker.lab.evaluation import samples
from worker.lab.evaluation.cloth import iou
from worker.lab.parser_training import ccp, dataset
from worker.parsing import landmark, trained
from worker.parsing.classes import LABELS, SIDED, Class
from worker.parsing.palette import colourise
from worker.stages.models import Models
from worker.stages.parse import TRAINED

PARTS: Mapping[str, tuple[Part, ...]] = {
    "upper clothes": (Part.UPPER_CLOTHES, Part.DRESS, Part.COAT),
    "lower clothes": (Part.PANTS, Part.SKIRT),
    "arms": (Part.LEFT_ARM, Part.RIGHT_ARM),
    "hair": (Part.HAIR, Part.HAT),
    "face": (Part.FACE, Part.SUNGLASSES),
    "neck": (Part.NECK,),
    "legs": (Part.LEFT_LEG, Part.RIGHT_LEG),
}
AIM = ("upper clothes", "lower clothes", "arms", "hair", "face")
"""The parts that a try-on stands on."""

LEAST = 0.001
"""Parts that cover less of the picture than this are too small to score."""

Parser = Callable[[np.ndarray, Pose, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Scene:
    """What a parser is given, and the truth.

    Attributes:
        name: the picture's.
        canvas: RGB uint8 (1024, 768, 3).
        pose: joints on the canvas.
        mask: the person's mask, uint8 (1024, 768).
        truth: CIHP labels, uint8 (1024, 768); the sides of limbs may be wrong.
    """

    name: str
    canvas: np.ndarray
    pose: Pose
    mask: np.ndarray
    truth: np.ndarray


def parsers(models: Models) -> dict[str, Parser]:
    """Return the parsers by name."""
    return {
        "trained": lambda canvas, pose, mask: trained.parse(canvas, pose, mask, models.of(TRAINED)),
        "landmark": landmark.parse,
    }


def viton_hd(folder: Path, models: Models) -> Iterator[Scene]:
    """Yield the people of a folder laid out as VITON-HD's test set."""
    for person in samples.people(folder):
        found = models.of_stage("pose").estimate(person.photo)
        canvas = found.frame.to_canvas(person.photo, fill=FILL)
        truth = found.frame.to_canvas(person.parse, interpolation=cv2.INTER_NEAREST)
        yield Scene(person.name, canvas, found.pose, found.mask, truth)


def ccp_test(source: Path, models: Models) -> Iterator[Scene]:
    """Yield the test photographs of Clothing Co-Parsing, which nothing was trained or tuned on."""
    for name in ccp.names(source):
        if ccp.subset(name) != "test":
            continue
        example = ccp.read(source, name)
        found = models.of_stage("pose").estimate(example.photo)
        parsed = dataset.prepare(example, lambda photo, found=found: found)  # type: ignore[misc]
        classes = cv2.resize(
            dataset.canvas_of(parsed).classes, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST
        )
        canvas = found.frame.to_canvas(example.photo, fill=FILL)
        yield Scene(name, canvas, found.pose, found.mask, _cihp(classes))


def compare(scenes: Iterator[Scene], parsers: Mapping[str, Parser]) -> tuple[dict[str, Any], np.ndarray]:
    """Return each part's mean IoU over the pictures that show it, for each parser, and a picture of it all.

    Intersection over union as in Everingham et al., The PASCAL Visual Object Classes Challenge, IJCV 2010. A
    picture that a parser refuses counts as zero for each of its parts. The row `mean` is over the parts that
    a try-on stands on, and neither neck nor legs.
    """
    scores: dict[str, dict[str, list[float]]] = {name: {part: [] for part in PARTS} for name in parsers}
    panels = []
    for scene in scenes:
        shown = [part for part, labels in PARTS.items() if np.isin(scene.truth, labels).mean() >= LEAST]
        panels += [(scene.name, scene.canvas), ("truth", colourise(scene.truth))]
        for name, parser in parsers.items():
            try:
                labels = parser(scene.canvas, scene.pose, scene.mask)
            except ParsingError:
                labels = np.zeros_like(scene.truth)
            panels.append((name, colourise(labels)))
            for part in shown:
                one, other = (np.isin(which, PARTS[part]) for which in (labels, scene.truth))
                scores[name][part].append(iou(one, other))
    rows: dict[str, Any] = {
        part: {"pictures": len(next(iter(scores.values()))[part])}
        | {name: round(float(np.mean(found[part])), 3) for name, found in scores.items()}
        for part in PARTS
        if next(iter(scores.values()))[part]
    }
    rows["mean"] = {
        name: round(float(np.mean([np.mean(found[part]) for part in AIM if found[part]])), 3)
        for name, found in scores.items()
    }
    return rows, sheet(panels, columns=(2 + len(parsers)) * 2)


def _cihp(classes: np.ndarray) -> np.ndarray:
    """Return CIHP labels of a class map, uint8 (h, w) both; limbs are all given to the right."""
    table = np.zeros(256, np.uint8)
    for kind in Class:
        table[kind] = SIDED[kind][0] if kind in SIDED else LABELS[kind]
    labels: np.ndarray = table[classes]
    return labels
