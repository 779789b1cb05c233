"""One picture of everything a job made, from the photograph to the result."""

from collections.abc import Mapping

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from worker.contract import Bundle
from worker.images.agnostic import image_agnostic
from worker.images.frame import FILL, Frame
from worker.images.openpose import from_openpose_json
from worker.parsing.palette import colourise

PANEL_HEIGHT = 420
MARGIN = 12
TITLE = 26


def contact_sheet(photo: np.ndarray, bundles: Mapping[str, Bundle]) -> np.ndarray:
    """Return the sheet, RGB uint8, of a job's photograph (h, w, 3) and the bundles of its four stages."""
    pose, cloth, parse, made = (bundles[name] for name in ("pose", "cloth", "parse", "generate"))
    canvas = Frame(**pose["frame.json"]).to_canvas(photo, fill=FILL)
    labels, body = parse["parse.png"], from_openpose_json(pose["pose.json"]).body
    drawn = pose["pose.png"].any(axis=2, keepdims=True)
    overlay = np.where(drawn, pose["pose.png"], (canvas * 0.6).astype(np.uint8))
    return sheet(
        [
            ("person", photo),
            ("pose", overlay),
            ("parse", colourise(labels)),
            ("agnostic", image_agnostic(canvas, labels, body)),
            ("garment", cloth["cloth.png"]),
            ("garment mask", cv2.cvtColor(cloth["mask.png"], cv2.COLOR_GRAY2RGB)),
            ("warped garment", made["warped.jpg"]),
            ("result", made["result.png"]),
        ],
        columns=4,
    )


def sheet(panels: list[tuple[str, np.ndarray]], *, columns: int, height: int = PANEL_HEIGHT) -> np.ndarray:
    """Return titled pictures, RGB uint8 of any size, at one height (pixels), laid out in rows on white."""
    shown = [(title, _fit(image, height)) for title, image in panels]
    rows = [shown[start : start + columns] for start in range(0, len(shown), columns)]
    width = MARGIN + max(sum(image.shape[1] + MARGIN for _, image in row) for row in rows)
    row_height = TITLE + height + MARGIN
    page = Image.new("RGB", (width, MARGIN + len(rows) * row_height), "white")
    pen = ImageDraw.Draw(page)
    font = ImageFont.load_default(size=16)
    for number, row in enumerate(rows):
        top = MARGIN + number * row_height
        left = MARGIN
        for title, image in row:
            pen.text((left, top), title, fill="black", font=font)
            page.paste(Image.fromarray(image), (left, top + TITLE))
            left += image.shape[1] + MARGIN
    return np.asarray(page)


def _fit(image: np.ndarray, height: int) -> np.ndarray:
    scale = height / image.shape[0]
    size = (max(1, round(image.shape[1] * scale)), height)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
