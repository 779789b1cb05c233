"""A person's parts by the trained network, refined with pose, mask and colours: the default parser."""

import math

import cv2
import numpy as np

from worker.images.arrays import Canvas, Flags, Floats, Labels, Mask
from worker.images.frame import HEIGHT
from worker.images.maps import Part, Pose
from worker.images.shapes import bounding_box
from worker.parsing.classes import LABELS, Class
from worker.parsing.hands import with_hands
from worker.parsing.network import SCORE_HEIGHT, ParserNetwork
from worker.parsing.scene import Kind, Scene
from worker.parsing.tone import with_skin_tone

_MEMBERS: dict[Kind, tuple[Class, ...]] = {
    Kind.HAIR: (Class.HAIR, Class.HAT),
    Kind.FACE: (Class.FACE, Class.SUNGLASSES),
    Kind.NECK: (Class.NECK,),
    Kind.UPPER: (Class.UPPER_CLOTHES, Class.DRESS, Class.COAT, Class.SCARF),
    Kind.LOWER: (Class.PANTS, Class.SKIRT),
    Kind.ARM: (Class.ARM,),
    Kind.LEG: (Class.LEG, Class.SOCKS),
    Kind.SHOE: (Class.SHOE,),
    Kind.OTHER: (Class.BAG,),
}
"""The network's classes in each kind of a scene: their colours and positions are too similar to separate."""

_CELL = HEIGHT // SCORE_HEIGHT
"""Side of a cell of the score maps, pixels of the canvas."""

_SCORE_BLUR = 1.5
"""Smoothing of the scores before the class within a kind is chosen: sigma, in pixels of the score maps."""


def parse(image_rgb: Canvas, pose: Pose, person_mask: Mask, network: ParserNetwork) -> Labels:
    """Return the human parse of the person on the canvas.

    The network gives a coarse score map of each class. The scene combines it with joints and colours,
    which gives exact outlines without holes; the pose gives the sides; within a kind the network's most
    confident class wins.

    Args:
        image_rgb: uint8 (1024, 768, 3).
        pose: the person's joints on the canvas.
        person_mask: uint8 (1024, 768), the confidence that a pixel is person; 128 and more is person.
        network: the trained parser.

    Returns:
        uint8 (1024, 768), CIHP labels; 0 outside the person's mask and on a bag.

    Raises:
        ParsingError: the mask and the pose do not match, or no torso is visible.
    """
    scores = network.scores(with_skin_tone(image_rgb, pose))
    kind_scores = np.stack([scores[..., list(_MEMBERS[kind])].max(-1) for kind in Kind], -1)
    scene = Scene(image_rgb, pose, person_mask, kind_scores)
    kinds = scene.kinds_at_full_size(scene.solve())
    labels = scene.name_sides(kinds)
    for kind, members in _MEMBERS.items():
        labelled = [member for member in members if member in LABELS]
        if kind is not Kind.OTHER and len(labelled) > 1:
            _set_class_labels(labels, kinds == kind, scores, labelled)
    labels = with_hands(labels, image_rgb, pose)
    labels[person_mask < 128] = Part.BACKGROUND
    scene.check(labels)
    return labels


def _set_class_labels(labels: Labels, area: Flags, scores: Floats, members: list[Class]) -> None:
    """Write the CIHP label of the most confident of these classes to each pixel of the area, in place."""
    if not area.any():
        return
    # Only the cells under the area are enlarged, with a margin for the blur and the interpolation.
    x0, y0, x1, y1 = bounding_box(area)
    margin = math.ceil(4 * _SCORE_BLUR) + 1
    left, top = max(0, x0 // _CELL - margin), max(0, y0 // _CELL - margin)
    window = scores[top : -(-y1 // _CELL) + margin, left : -(-x1 // _CELL) + margin, members]
    smooth = cv2.GaussianBlur(window, (0, 0), _SCORE_BLUR)
    fine = cv2.resize(smooth, None, fx=_CELL, fy=_CELL, interpolation=cv2.INTER_LINEAR)
    fine = fine[y0 - _CELL * top : y1 - _CELL * top, x0 - _CELL * left : x1 - _CELL * left]
    inside = area[y0:y1, x0:x1]
    label_of = np.array([LABELS[member] for member in members], np.uint8)
    labels[y0:y1, x0:x1][inside] = label_of[fine[inside].argmax(-1)]
