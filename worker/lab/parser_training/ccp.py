"""Reads Clothing Co-Parsing (Yang, Luo and Lin, CVPR 2014): photographs, labels, the fixed split.

https://github.com/bearpaw/clothing-co-parsing, Apache-2.0: 904 street photographs, 59 classes.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image as PillowImage

from config.errors import InputValidationError
from worker.images.arrays import Image, Labels
from worker.images.decode import decode_input
from worker.parsing.classes import Class

Subset = Literal["train", "val", "test"]

SKIN = 100
"""The label of bare skin; the pose decides later which part it belongs to."""

SMALL_ITEM = 101
"""The label of small items worn on a garment or on skin: each pixel takes the class nearest to it."""

BACKGROUND = 255

_CCP_CLASSES: dict[int, str] = {
    Class.HAT: "hat",
    Class.HAIR: "hair",
    Class.SUNGLASSES: "glasses sunglasses",
    Class.UPPER_CLOTHES: "blouse bodysuit bra hoodie intimate jumper shirt sweater sweatshirt swimwear "
    "t-shirt top vest",
    Class.DRESS: "dress romper",
    Class.COAT: "blazer cape cardigan coat jacket suit",
    Class.SOCKS: "socks stockings tights",
    Class.PANTS: "jeans leggings panties pants shorts",
    Class.SCARF: "scarf",
    Class.SKIRT: "skirt",
    Class.ARM: "gloves",
    Class.SHOE: "boots clogs flats heels loafers pumps sandals shoes sneakers wedges",
    Class.BAG: "bag purse wallet",
    SKIN: "skin",
    SMALL_ITEM: "accessories belt bracelet earrings necklace ring tie watch",
    BACKGROUND: "null",
}
"""Our label -> the data set's classes that it replaces."""


@dataclass(frozen=True)
class Example:
    """One photograph: RGB uint8 (h, w, 3), and its labels, uint8 (h, w).

    A label is a `Class`, SKIN, SMALL_ITEM or BACKGROUND.
    """

    name: str
    subset: Subset
    photo: Image
    classes: Labels


def names(source: Path) -> list[str]:
    """Return the photographs' names in order.

    Raises InputValidationError when the folder is not this data set.
    """
    photos = sorted(path.stem for path in (source / "photos").glob("*.jpg"))
    if not photos or not (source / "labels.txt").is_file():
        raise InputValidationError(
            f"{source} is not the Clothing Co-Parsing data set: it must contain photos/NNNN.jpg, "
            "labels/NNNN.png and labels.txt. Give its folder with --source.",
            input=str(source),
        )
    return photos


def read(source: Path, name: str) -> Example:
    """Return one photograph with its labels. Raises InputValidationError for an unknown label."""
    path = source / "photos" / f"{name}.jpg"
    labels = np.asarray(PillowImage.open(source / "labels" / f"{name}.png"))
    table = _label_table(source / "labels.txt")
    if labels.max() >= len(table):
        raise InputValidationError(
            f"{name}.png contains label {labels.max()}, which labels.txt does not define."
        )
    return Example(name, subset(name), decode_input(path.read_bytes(), name=str(path)), table[labels])


def subset(name: str) -> Subset:
    """Return the subset of the fixed split that a photograph belongs to; it never changes."""
    split = _split()
    if name in split["test"]:
        return "test"
    return "val" if name in split["val"] else "train"


@cache
def _split() -> dict[str, frozenset[str]]:
    document = json.loads(Path(__file__).with_name("ccp_split.json").read_text())
    return {part: frozenset(document[part]) for part in ("val", "test")}


@cache
def _label_table(path: Path) -> Labels:
    """Return our label of each label of the data set, uint8 (n,)."""
    label_of = {word: label for label, words in _CCP_CLASSES.items() for word in words.split()}
    table = []
    for line in path.read_text().splitlines():
        _, _, word = line.partition(" ")
        if word not in label_of:
            raise InputValidationError(f"{path} contains an unknown class: {word!r}.", input=str(path))
        table.append(label_of[word])
    return np.array(table, np.uint8)
