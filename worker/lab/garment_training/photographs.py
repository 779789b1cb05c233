"""Examples from the photographs of ../shared/garments and ../shared/ccp. Split `test` is never read here."""

import csv
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from config.errors import InputValidationError
from worker.cloth.landmarks import NAMES
from worker.lab.garment_training.examples import Example, attribute, letterbox


@dataclass(frozen=True)
class SplitSettings:
    """What is held out of the training, by a hash of the file's name, so that it never changes.

    Attributes:
        kind_share: share of unlabelled.csv on which the kind is measured.
        validation: number of labelled `train` photographs on which settings are chosen.
        guess_weight: weight of a landmark that the labels call a guess.
    """

    kind_share: float = 0.15
    validation: int = 20
    guess_weight: float = 0.4


SPLIT = SplitSettings()

KIND_OF_CLASS = {
    **dict.fromkeys(
        ("T-Shirt", "Longsleeve", "Shirt", "Polo", "Undershirt", "Top", "Blouse", "Hoodie"), "top"
    ),
    **dict.fromkeys(("Outwear", "Blazer"), "outerwear"),
    **dict.fromkeys(("Pants", "Shorts"), "trousers"),
    **{"Dress": "dress", "Skirt": "skirt", "Shoes": "shoes", "Hat": "other"},
}
"""Class of the clothing data set -> the network's kind."""

# Sleeve and neckline that follow from a class in every case.
_SLEEVE_OF_CLASS = {"Longsleeve": "long"}
_NECKLINE_OF_CLASS = {"Polo": "collar", "Hoodie": "hood"}


def labelled(folder: Path, split: str = "train") -> list[dict[str, Any]]:
    """Return the rows of labels.jsonl of one split, ordered by a hash of the file name."""
    rows = [json.loads(line) for line in (folder / "labels.jsonl").read_text().splitlines()]
    return sorted((row for row in rows if row["split"] == split), key=lambda row: _hash(row["file"]))


def training_rows(folder: Path, everything: bool) -> list[dict[str, Any]]:
    """Return the labelled photographs to train on: all of `train`, or all but the validation part."""
    return labelled(folder)[0 if everything else SPLIT.validation :]


def validation_rows(folder: Path) -> list[dict[str, Any]]:
    """Return the labelled photographs on which settings are chosen."""
    return labelled(folder)[: SPLIT.validation]


def classed(folder: Path, held_out: bool) -> list[tuple[str, str]]:
    """Return (file, class) of unlabelled.csv: the part that is held out, or the other."""
    with (folder / "unlabelled.csv").open() as lines:
        rows = [(row["file"], row["class"]) for row in csv.DictReader(lines)]
    limit = SPLIT.kind_share
    return [row for row in rows if (int(_hash(row[0])[:8], 16) / 16**8 < limit) == held_out]


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def read(file: Path) -> NDArray[np.uint8]:
    """Return a photograph, RGB uint8 (h, w, 3), upright by its EXIF data. Raises InputValidationError."""
    image = cv2.imread(str(file), cv2.IMREAD_COLOR)
    if image is None:
        raise InputValidationError(
            f"{file} is missing or is not a readable picture. Check the folder of photographs.",
            input=str(file),
        )
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def from_label(
    row: dict[str, Any], photo: NDArray[np.uint8], mask: NDArray[np.uint8] | None = None
) -> Example:
    """Return the example of a labelled photograph."""
    rgba, place, scale = letterbox(photo, mask)
    example = Example(rgba, place, rotation=float(row["rotation"]), mask_known=mask is not None)
    for index, name in enumerate(NAMES):
        point = row["points"][name]
        example.present[index] = point is not None
        if point is not None:
            example.points[index] = np.array(point) * scale + place[:2]
            example.weights[index] = SPLIT.guess_weight if name in row["guess"] else 1.0
    values = {
        **{name: row[name] for name in ("sleeve", "neckline", "front", "view", "support")},
        "kind": "dress" if row["length"] == "dress" else KIND_OF_CLASS[row["class"]],
        "whole": "whole" if row["whole"] else "cut off",
    }
    example.attributes = {name: attribute(name, value) for name, value in values.items()}
    return example


def labelled_examples(folder: Path, everything: bool, masks: Path | None = None) -> Iterator[Example]:
    """Yield the labelled photographs to train on, with their masks if the folder of PNGs has them."""
    for row in training_rows(folder, everything):
        photo = read(folder / "photos" / row["file"])
        mask = None
        if masks is not None and (masks / f"{Path(row['file']).stem}.png").is_file():
            found = cv2.imread(str(masks / f"{Path(row['file']).stem}.png"), cv2.IMREAD_GRAYSCALE)
            mask = None if found is None else np.asarray(found, np.uint8)
        yield from_label(row, photo, mask)


def classed_examples(folder: Path) -> Iterator[Example]:
    """Yield the photographs with a class as their only label."""
    for file, name in classed(folder, held_out=False):
        rgba, place, _ = letterbox(read(folder / "unlabelled" / file))
        example = Example(rgba, place)
        values = {
            **{"kind": KIND_OF_CLASS[name], "sleeve": _SLEEVE_OF_CLASS.get(name)},
            "neckline": _NECKLINE_OF_CLASS.get(name),
        }
        example.attributes |= {key: attribute(key, value) for key, value in values.items()}
        yield example


def worn_examples(folder: Path) -> Iterator[Example]:
    """Yield people in street clothes (Clothing Co-Parsing), each whole and cropped to the upper clothes.

    The mask is that of the upper clothes.
    """
    names = [line.strip() for line in (folder / "labels.txt").read_text().splitlines() if line.strip()]
    upper = {"blazer", "blouse", "bodysuit", "bra", "cape", "cardigan", "coat", "dress", "hoodie", "jacket",
             "jumper", "romper", "shirt", "suit", "sweater", "sweatshirt", "t-shirt", "top",
             "vest"}  # fmt: skip
    wanted = [index for index, name in enumerate(names) if name.split()[-1].lower() in upper]
    for file in sorted((folder / "labels").glob("*.png"))[::2]:
        labels = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
        photo = read(folder / "photos" / f"{file.stem}.jpg")
        if labels is None or not np.isin(labels, wanted).any():
            continue
        mask = np.isin(labels, wanted)
        rows = np.flatnonzero(mask.any(1))
        tall = rows[-1] - rows[0]
        closer = slice(max(0, rows[0] - tall // 3), rows[-1] + tall // 5)
        for cut in (slice(None), closer):
            alpha = mask[cut].astype(np.uint8) * 255
            rgba, place, _ = letterbox(photo[cut], alpha)
            example = Example(rgba, place, mask_known=True)
            example.attributes["support"] = attribute("support", "worn")
            yield example


@dataclass(frozen=True)
class CropSettings:
    """Pieces of photographs for use as backgrounds and cloth.

    Attributes:
        side: sides of a stored piece, pixels.
        corner: side of a background piece, share of the photograph's width; corners rarely show the garment.
        middle: side of a piece of cloth, share of the width.
    """

    side: int = 96
    corner: float = 0.24
    middle: float = 0.22


def crops(folder: Path, settings: CropSettings | None = None) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return background pieces and cloth pieces of the class-labelled photographs, uint8 (n, 96, 96, 3)."""
    settings = settings or CropSettings()
    grounds, cloths = [], []
    for file, name in classed(folder, held_out=False):
        photo = read(folder / "unlabelled" / file)
        height, width = photo.shape[:2]
        part = round(settings.corner * min(height, width))
        grounds += [_piece(corner, settings) for corner in (photo[:part, :part], photo[-part:, -part:])]
        if name in ("T-Shirt", "Shirt", "Blouse", "Dress", "Skirt", "Top", "Longsleeve", "Outwear"):
            half = round(settings.middle * min(height, width) / 2)
            y, x = round(0.58 * height), width // 2
            cloths.append(_piece(photo[y - half : y + half, x - half : x + half], settings))
    return np.stack(grounds), np.stack(cloths)


def _piece(piece: NDArray[np.uint8], settings: CropSettings) -> NDArray[np.uint8]:
    side = settings.side
    return np.asarray(cv2.resize(piece, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
