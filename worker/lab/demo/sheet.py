"""Contact sheets: titled pictures in rows, and the sheet of everything that a job produced."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from worker.contract import Bundle
from worker.images.agnostic import image_agnostic
from worker.images.arrays import Image
from worker.images.frame import FILL, Frame
from worker.images.openpose import from_openpose_json
from worker.parsing.palette import colourise

Panel = tuple[str, Image]
"""A title and a picture, RGB uint8 of any size."""

PANEL_HEIGHT = 420
"""The height of a picture on a sheet unless the caller sets another, pixels."""

_SURE = 0.5
"""Landmarks with this confidence or more are drawn as dots, others as rings."""

_LANDMARK_RADIUS = 9  # pixels of the canvas
_SIDE_COLOURS = {"r_": (230, 30, 30), "l_": (40, 60, 240)}
_MIDDLE_COLOUR = (0, 170, 0)

_MARGIN = 12
_TITLE_HEIGHT = 26
_FONT_SIZE = 16


def contact_sheet(photo: Image, bundles: Mapping[str, Bundle]) -> Image:
    """Return a job's contact sheet, RGB uint8: the photograph, (h, w, 3), every stage's map, the result.

    Args:
        photo: the person's photograph.
        bundles: stage name -> its bundle, of all four stages.
    """
    pose, cloth, parse, generate = (bundles[name] for name in ("pose", "cloth", "parse", "generate"))
    canvas = Frame(**pose["frame.json"]).to_canvas(photo, fill=FILL)
    labels, body = parse["parse.png"], from_openpose_json(pose["pose.json"]).body
    has_joint = pose["pose.png"].any(axis=2, keepdims=True)
    overlay = np.where(has_joint, pose["pose.png"], (canvas * 0.6).astype(np.uint8))
    garment_mask = np.asarray(cv2.cvtColor(cloth["mask.png"], cv2.COLOR_GRAY2RGB), np.uint8)
    return sheet(
        [
            ("person", photo),
            ("pose", overlay),
            ("parse", colourise(labels)),
            ("agnostic", image_agnostic(canvas, labels, body)),
            (_garment_title(cloth), _with_landmarks(cloth)),
            ("garment mask", garment_mask),
            # An engine that draws everything anew warps nothing.
            *([("warped garment", generate["warped.jpg"])] if "warped.jpg" in generate else []),
            ("result", generate["result.png"]),
        ],
        columns=4,
    )


def landmark_colour(name: str) -> tuple[int, int, int]:
    """Return the colour in which a landmark is drawn, RGB: by its side."""
    return _SIDE_COLOURS.get(name[:2], _MIDDLE_COLOUR)


def _garment_title(cloth: Bundle) -> str:
    read = cloth["attributes.json"]
    return "garment: " + ", ".join(read[name]["value"] for name in ("kind", "sleeve", "neckline"))


def _with_landmarks(cloth: Bundle) -> Image:
    """Return the garment with its landmarks; those with a low confidence are rings."""
    picture, landmarks = cloth["cloth.png"].copy(), cloth["landmarks.json"]
    for name, point in landmarks["points"].items():
        at = (round(point[0]), round(point[1]))
        width = -1 if landmarks["confidence"][name] >= _SURE else 3
        cv2.circle(picture, at, _LANDMARK_RADIUS, landmark_colour(name), width, cv2.LINE_AA)
    return np.asarray(picture, np.uint8)


def sheet(panels: Sequence[Panel], *, columns: int, height: int = PANEL_HEIGHT) -> Image:
    """Return titled pictures at one height (pixels), in rows of `columns` on white, RGB uint8."""
    scaled = [(title, resize(image, height / image.shape[0])) for title, image in panels]
    rows = [scaled[start : start + columns] for start in range(0, len(scaled), columns)]
    width = _MARGIN + max(sum(image.shape[1] + _MARGIN for _, image in row) for row in rows)
    row_height = _TITLE_HEIGHT + height + _MARGIN
    page = PillowImage.new("RGB", (width, _MARGIN + len(rows) * row_height), "white")
    pen = ImageDraw.Draw(page)
    font = ImageFont.load_default(size=_FONT_SIZE)
    for number, row in enumerate(rows):
        top = _MARGIN + number * row_height
        left = _MARGIN
        for title, image in row:
            pen.text((left, top), title, fill="black", font=font)
            page.paste(PillowImage.fromarray(image), (left, top + _TITLE_HEIGHT))
            left += image.shape[1] + _MARGIN
    return np.asarray(page)


def resize(image: Image, scale: float) -> Image:
    """Return a picture, RGB uint8, scaled to at least one pixel each way."""
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, size, interpolation=interpolation), np.uint8)
