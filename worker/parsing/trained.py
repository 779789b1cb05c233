"""A person's parts by the trained network, settled with pose, person mask and colours: the default parser."""

import cv2
import numpy as np

from worker.images.frame import HEIGHT, WIDTH
from worker.images.maps import Part, Pose
from worker.parsing.classes import LABELS, Class
from worker.parsing.hands import with_hands
from worker.parsing.network import ParserNetwork
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
"""The kinds that a scene weighs, and the classes in each: by colour and place they compete as one."""


def parse(image_rgb: np.ndarray, pose: Pose, person_mask: np.ndarray, network: ParserNetwork) -> np.ndarray:
    """Return the human parse of the person on the canvas.

    The network says what is where, coarsely. The scene weighs that against joints and colours, which gives
    exact outlines and no holes; the sides come from the pose; within a kind the network's class wins.

    Args:
        image_rgb: uint8 (1024, 768, 3).
        pose: the person's joints on the canvas.
        person_mask: uint8 (1024, 768), 255 where the person is sure to be; 128 and more is person.
        network: the trained parser.

    Returns:
        uint8 (1024, 768), CIHP labels; 0 outside the person's mask and where a bag is.

    Raises:
        ParsingError: the mask and the pose do not fit each other, or no torso is to be seen.
    """
    scores = network.scores(with_skin_tone(image_rgb, pose))
    seen = np.stack([scores[..., list(_MEMBERS[kind])].max(-1) for kind in Kind], -1)
    scene = Scene(image_rgb, pose, person_mask, seen)
    kinds = scene.at_full_size(scene.solve()).argmax(-1)
    labels = scene.name_sides(kinds)
    for kind, members in _MEMBERS.items():
        named = [member for member in members if member in LABELS]
        if kind is not Kind.OTHER and len(named) > 1:
            _name(labels, kinds == kind, scores, named)
    labels = with_hands(labels, image_rgb, pose)
    labels[person_mask < 128] = Part.BACKGROUND
    scene.check(labels)
    return labels


def _name(labels: np.ndarray, where: np.ndarray, scores: np.ndarray, members: list[Class]) -> None:
    """Write the CIHP label of the surest of these classes to each pixel of a kind."""
    smooth = cv2.GaussianBlur(scores[..., members], (0, 0), 1.5)
    surest = cv2.resize(smooth, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR).argmax(-1)
    table = np.array([LABELS[member] for member in members], np.uint8)
    labels[where] = table[surest[where]]
