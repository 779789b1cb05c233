"""Reads Clothing Co-Parsing (Yang, Luo and Lin, CVPR 2014): photographs, labels, the fixed split.

https://github.com/bearpaw/clothing-co-parsing, Apache-2.0: 904 street photographs, 59 classes.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from config.errors import InputValidationError
from worker.images.decode import decode_input
from worker.parsing.classes import Class

Subset = Literal["train", "val", "test"]

SKIN = 100
"""Bare skin of any part; which part is told by the pose."""

WHATEVER = 101
"""Small things worn on a garment or on skin: each pixel becomes what is nearest around it."""

BACKGROUND = 255

_MEANS: dict[int, str] = {
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
    WHATEVER: "accessories belt bracelet earrings necklace ring tie watch",
    BACKGROUND: "null",
}


@dataclass(frozen=True)
class Example:
    """One photograph: RGB uint8 (h, w, 3), and its labels, uint8 (h, w).

    A label is a `Class`, SKIN, WHATEVER or BACKGROUND.
    """

    name: str
    subset: Subset
    photo: np.ndarray
    classes: np.ndarray


def names(source: Path) -> list[str]:
    """Return the photographs' names in order. Raises InputValidationError when the folder is another."""
    found = sorted(path.stem for path in (source / "photos").glob("*.jpg"))
    if not found or not (source / "labels.txt").is_file():
        raise InputValidationError(
            f"{source} is not the Clothing Co-Parsing data set: it must hold photos/NNNN.jpg, "
            "labels/NNNN.png and labels.txt. Give its folder with --source.",
            input=str(source),
        )
    return found


def read(source: Path, name: str) -> Example:
    """Return one photograph with its labels."""
    path = source / "photos" / f"{name}.jpg"
    labels = np.asarray(Image.open(source / "labels" / f"{name}.png"))
    table = _table(source / "labels.txt")
    if labels.max() >= len(table):
        raise InputValidationError(f"{name}.png has label {labels.max()}, which labels.txt does not name.")
    return Example(name, subset(name), decode_input(path.read_bytes(), name=str(path)), table[labels])


def subset(name: str) -> Subset:
    """Return the part of the fixed split that a photograph belongs to: never another."""
    held_out = _split()
    if name in held_out["test"]:
        return "test"
    return "val" if name in held_out["val"] else "train"


@cache
def _split() -> dict[str, frozenset[str]]:
    document = json.loads(Path(__file__).with_name("ccp_split.json").read_text())
    return {part: frozenset(document[part]) for part in ("val", "test")}


@cache
def _table(path: Path) -> np.ndarray:
    meanings = {word: value for value, words in _MEANS.items() for word in words.split()}
    table = []
    for line in path.read_text().splitlines():
        _, _, word = line.partition(" ")
        if word not in meanings:
            raise InputValidationError(f"{path} names a class that is not known: {word!r}.", input=str(path))
        table.append(meanings[word])
    return np.array(table, np.uint8)
