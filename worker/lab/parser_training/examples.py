"""Makes training pictures of the parser out of labelled street photographs.

Each photograph is brought to the canvas by the same frame as in a job, so that the parser learns on the
pictures that it will be given.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256

import cv2
import numpy as np

from config.errors import TryonError
from worker.images.arrays import Image, Labels
from worker.images.frame import FILL, WIDTH, Frame
from worker.lab.parser_training import ccp, skin, studio
from worker.parsing.body import Body, measure
from worker.pose.estimator import PersonPose

SIZE = (480, 640)
"""Width and height of the pictures, pixels."""

MAX_AMBIGUOUS_SKIN = 0.12
"""A photograph is left out when the part of more of its skin than this share is uncertain."""

MIN_FACE_VISIBLE = 0.35
"""A photograph is left out when less than this share of its face's ellipse is labelled skin."""

_ZOOM = SIZE[0] / WIDTH
_LEFT, _TOP = (WIDTH - SIZE[0]) // 2, 64
"""Where the canvas, at the pictures' scale, is in the larger map from which all pictures are cropped."""

_CLOSER, _WIDER = (0.72, 1.0), (1.2, 1.5)
"""Ranges of the crop's size, in canvas sizes: for studio pictures and for distant people."""

_SHIFT_X, _SHIFT_Y = (-0.06, 0.06), (0.0, 0.05)
"""Ranges of a closer crop's shift, as shares of the picture's width and height."""

_HEADROOM = 0.15
"""The share of a wider crop's additional height that is above the canvas."""

_WIDE_EVERY = 3
"""One in this many training photographs also gets a wide picture."""

Estimate = Callable[[Image], PersonPose]


@dataclass(frozen=True)
class LabelledPicture:
    """A picture with its labels.

    Attributes:
        image: RGB uint8 (h, w, 3).
        classes: uint8 (h, w), `Class`, or BACKGROUND where there is no person.
    """

    image: Image
    classes: Labels


class UnsuitableExampleError(Exception):
    """A photograph that is not a good example; the message gives the reason."""


def estimate_and_prepare(example: ccp.Example, estimate: Estimate) -> LabelledPicture:
    """Return `prepare`'s picture with the pose that `estimate` returns.

    Raises UnsuitableExampleError when no pose is found, or as `prepare` does.
    """
    try:
        person = estimate(example.photo)
    except TryonError as error:
        raise UnsuitableExampleError(f"{error.name}: {error.message}") from error
    return prepare(example, person)


def prepare(example: ccp.Example, person: PersonPose) -> LabelledPicture:
    """Return the photograph on the larger map, (1024, 768), with its skin split into parts.

    Raises UnsuitableExampleError when the parts of the skin are uncertain or the face is hidden.
    """
    frame = wider_frame(person.frame)
    # Nearest neighbour keeps every label. What is beyond the photograph is filled with 0, which becomes
    # BACKGROUND.
    inverted = frame.to_canvas(255 - example.classes, interpolation=cv2.INTER_NEAREST)
    image = frame.to_canvas(example.photo, fill=FILL)
    return LabelledPicture(image, resolve_classes(255 - inverted, measure(person.pose, 1)))


def wider_frame(frame: Frame) -> Frame:
    """Return the frame of the larger map that surrounds a canvas's frame."""
    return Frame(
        frame.scale * _ZOOM,
        frame.left * _ZOOM + _LEFT,
        frame.top * _ZOOM + _TOP,
        frame.photo_width,
        frame.photo_height,
    )


def resolve_classes(classes: Labels, body: Body) -> Labels:
    """Return the larger map's classes without SKIN and SMALL_ITEM.

    The pose decides the part of skin; small items take the nearest class.

    Raises UnsuitableExampleError as `prepare` does.
    """
    bare = classes == ccp.SKIN
    parts = skin.split(bare, body, _ZOOM, (_LEFT, _TOP))
    if parts.ambiguous > MAX_AMBIGUOUS_SKIN:
        raise UnsuitableExampleError(f"the part of {parts.ambiguous:.0%} of the skin is uncertain")
    if parts.face_visible < MIN_FACE_VISIBLE:
        raise UnsuitableExampleError(f"only {parts.face_visible:.0%} of the face is labelled skin")
    resolved = np.where(bare, parts.classes, classes).astype(np.uint8)
    small_items = resolved == ccp.SMALL_ITEM
    if small_items.any():
        known = ~small_items & (resolved != ccp.BACKGROUND)
        _, nearest = cv2.distanceTransformWithLabels(
            (~known).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
        )
        class_of = np.zeros(nearest.max() + 1, np.uint8)
        class_of[nearest[known]] = resolved[known]
        resolved[small_items] = class_of[nearest[small_items]]
    return resolved


def variants(
    name: str, subset: ccp.Subset, picture: LabelledPicture
) -> Iterator[tuple[str, LabelledPicture]]:
    """Yield the pictures of one photograph, (640, 480), each with its variant's name.

    A test photograph gives the canvas unchanged; of the validation photographs every second is on a wall,
    because what is selected on them must work on both. A training photograph gives up to three pictures:
    the canvas, a closer one on a wall, and (every third) a wider one.

    Args:
        name: the photograph's; it determines everything random.
        subset: the photograph's.
        picture: from `prepare`.
    """
    digest = sha256(name.encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    if subset == "test":
        yield "street", crop_to_canvas(picture)
    elif subset == "val":
        canvas = crop_to_canvas(picture)
        yield ("studio", _on_wall(canvas, rng)) if digest[8] % 2 else ("street", canvas)
    else:
        yield "street", crop_to_canvas(picture)
        closer = _crop(picture, rng.uniform(*_CLOSER), (rng.uniform(*_SHIFT_X), rng.uniform(*_SHIFT_Y)))
        yield "studio", _on_wall(closer, rng)
        if digest[8] % _WIDE_EVERY == 0:
            wide = _crop(picture, rng.uniform(*_WIDER))
            yield "wide", _on_wall(wide, rng) if digest[9] % 2 else wide


def crop_to_canvas(picture: LabelledPicture) -> LabelledPicture:
    """Return the part of the larger map that is on the canvas, (640, 480)."""
    return _crop(picture, 1)


def _crop(picture: LabelledPicture, size: float, shift: tuple[float, float] = (0, 0)) -> LabelledPicture:
    """Return a crop of the larger map that is `size` times as large as the canvas, (640, 480).

    It is centred on the canvas's middle column and starts at its top, or above it when it is larger.
    """
    width, height = SIZE
    x0 = _LEFT + width * (1 - size) / 2 + shift[0] * width
    y0 = _TOP + height * (min(1 - size, 0) * _HEADROOM + shift[1])
    matrix = np.array([[1 / size, 0, -x0 / size], [0, 1 / size, -y0 / size]])
    image = cv2.warpAffine(picture.image, matrix, SIZE, flags=cv2.INTER_LINEAR, borderValue=(FILL,) * 3)
    classes = cv2.warpAffine(
        picture.classes, matrix, SIZE, flags=cv2.INTER_NEAREST, borderValue=(ccp.BACKGROUND,) * 3
    )
    return LabelledPicture(np.asarray(image, np.uint8), np.asarray(classes, np.uint8))


def _on_wall(picture: LabelledPicture, rng: np.random.Generator) -> LabelledPicture:
    return LabelledPicture(studio.on_wall(picture.image, picture.classes, rng), picture.classes)
