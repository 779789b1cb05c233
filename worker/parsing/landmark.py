"""A person's parts from pose landmarks, the person's mask and colour: the parser without trained weights."""

import numpy as np

from worker.images.maps import Part, Pose
from worker.parsing.scene import Scene


def parse(image_rgb: np.ndarray, pose: Pose, person_mask: np.ndarray) -> np.ndarray:
    """Return the human parse of the person on the canvas.

    Args:
        image_rgb: uint8 (1024, 768, 3).
        pose: the person's joints on the canvas.
        person_mask: uint8 (1024, 768), 255 where the person is sure to be; 128 and more is person.

    Returns:
        uint8 (1024, 768), CIHP labels; 0 outside the person's mask.

    Raises:
        ParsingError: the mask and the pose do not fit each other, or no torso is to be seen.
    """
    scene = Scene(image_rgb, pose, person_mask)
    shares = scene.solve()
    labels = scene.name_sides(scene.at_full_size(shares).argmax(-1))
    if scene.lower_is_skirt(shares.argmax(-1)):
        labels[labels == Part.PANTS] = Part.SKIRT
    labels[person_mask < 128] = Part.BACKGROUND
    scene.check(labels)
    return labels
