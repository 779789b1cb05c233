"""Measures the human parsers against published label maps, side by side."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from config.errors import ParsingError
from worker.images.arrays import Canvas, Image, Labels, Mask
from worker.images.frame import FILL, HEIGHT, WIDTH
from worker.images.maps import Part, Pose
from worker.images.regions import iou
from worker.lab.demo.sheet import Panel, sheet
from worker.lab.evaluation import samples
from worker.lab.parser_training import ccp
from worker.lab.parser_training.examples import crop_to_canvas, prepare
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
"""Row of the table -> the CIHP labels that it counts as one part."""

MEAN_PARTS = ("upper clothes", "lower clothes", "arms", "hair", "face")
"""The parts in the row `mean`: the ones that a try-on depends on."""

MIN_PART_SHARE = 0.001
"""Parts that cover a smaller share of the canvas are too small to score."""

Parser = Callable[[Canvas, Pose, Mask], Labels]
"""Canvas, pose and the person's mask -> CIHP labels. It may raise ParsingError."""


@dataclass(frozen=True)
class ParserSample:
    """The input of a parser, and the truth.

    Attributes:
        name: the picture's.
        canvas: RGB uint8 (1024, 768, 3).
        pose: joints on the canvas.
        mask: the person's mask, uint8 (1024, 768).
        truth: CIHP labels, uint8 (1024, 768); the sides of limbs may be wrong.
    """

    name: str
    canvas: Canvas
    pose: Pose
    mask: Mask
    truth: Labels


def parsers(models: Models) -> dict[str, Parser]:
    """Return the parsers by name."""

    def parse_trained(canvas: Canvas, pose: Pose, mask: Mask) -> Labels:
        return trained.parse(canvas, pose, mask, models.of(TRAINED))

    return {"trained": parse_trained, "landmark": landmark.parse}


def viton_hd(folder: Path, models: Models) -> Iterator[ParserSample]:
    """Yield the people of a folder laid out as VITON-HD's test set.

    Raises InputValidationError when it contains none.
    """
    for sample in samples.people(folder):
        person = models.of_stage("pose").estimate(sample.photo)
        canvas = person.frame.to_canvas(sample.photo, fill=FILL)
        truth = person.frame.to_canvas(sample.parse, interpolation=cv2.INTER_NEAREST)
        yield ParserSample(sample.name, canvas, person.pose, person.mask, truth)


def ccp_test(source: Path, models: Models) -> Iterator[ParserSample]:
    """Yield the test photographs of Clothing Co-Parsing, which no training and no tuning used.

    Raises InputValidationError when the folder is not that data set.
    """
    for name in ccp.names(source):
        if ccp.subset(name) != "test":
            continue
        example = ccp.read(source, name)
        person = models.of_stage("pose").estimate(example.photo)
        classes = crop_to_canvas(prepare(example, person)).classes
        truth = _to_cihp(cv2.resize(classes, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST))
        canvas = person.frame.to_canvas(example.photo, fill=FILL)
        yield ParserSample(name, canvas, person.pose, person.mask, truth)


def compare(
    parser_samples: Iterator[ParserSample], parsers: Mapping[str, Parser]
) -> tuple[dict[str, dict[str, Any]], Image]:
    """Return each part's mean IoU over the pictures that show it, for each parser, and a contact sheet.

    Intersection over union as in Everingham et al., The PASCAL Visual Object Classes Challenge, IJCV 2010. A
    picture that a parser refuses counts as zero for each of its parts. The row `mean` is over MEAN_PARTS.
    """
    scores: dict[str, dict[str, list[float]]] = {name: {part: [] for part in PARTS} for name in parsers}
    panels: list[Panel] = []
    for sample in parser_samples:
        shares = {part: np.isin(sample.truth, labels).mean() for part, labels in PARTS.items()}
        panels += [(sample.name, sample.canvas), ("truth", colourise(sample.truth))]
        for name, parser in parsers.items():
            try:
                labels = parser(sample.canvas, sample.pose, sample.mask)
            except ParsingError:
                labels = np.zeros_like(sample.truth)
            panels.append((name, colourise(labels)))
            for part in (part for part, share in shares.items() if share >= MIN_PART_SHARE):
                area, true_area = (np.isin(which, PARTS[part]) for which in (labels, sample.truth))
                scores[name][part].append(iou(area, true_area))
    return _table(scores), sheet(panels, columns=(2 + len(parsers)) * 2)


def _table(scores: Mapping[str, Mapping[str, list[float]]]) -> dict[str, dict[str, Any]]:
    """Return one row per part that a picture shows, and the row `mean`, from parser -> part -> IoUs."""
    pictures = {part: len(values) for part, values in next(iter(scores.values())).items()}
    rows: dict[str, dict[str, Any]] = {
        part: {"pictures": count}
        | {parser: round(float(np.mean(by_part[part])), 3) for parser, by_part in scores.items()}
        for part, count in pictures.items()
        if count
    }
    rows["mean"] = {
        parser: round(float(np.mean([np.mean(by_part[part]) for part in MEAN_PARTS if by_part[part]])), 3)
        for parser, by_part in scores.items()
    }
    return rows


def _to_cihp(classes: Labels | cv2.typing.MatLike) -> Labels:
    """Return CIHP labels of a class map, uint8 (h, w); all limbs become right ones."""
    table = np.zeros(256, np.uint8)
    for kind in Class:
        table[kind] = SIDED[kind][0] if kind in SIDED else LABELS[kind]
    return np.asarray(table[classes])
