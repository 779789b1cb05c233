"""A person's parts from pose landmarks, the person's mask and colour: the parser without trained weights."""

from worker.images.arrays import Canvas, Labels, Mask
from worker.images.maps import Part, Pose
from worker.parsing.scene import Scene, best_kinds


def parse(image_rgb: Canvas, pose: Pose, person_mask: Mask) -> Labels:
    """Return the human parse of the person on the canvas.

    Args:
        image_rgb: uint8 (1024, 768, 3).
        pose: the person's joints on the canvas.
        person_mask: uint8 (1024, 768), the confidence that a pixel is person; 128 and more is person.

    Returns:
        uint8 (1024, 768), CIHP labels; 0 outside the person's mask.

    Raises:
        ParsingError: the mask and the pose do not match, or no torso is visible.
    """
    scene = Scene(image_rgb, pose, person_mask)
    posterior = scene.solve()
    labels = scene.name_sides(scene.kinds_at_full_size(posterior))
    if scene.lower_is_skirt(best_kinds(posterior)):
        labels[labels == Part.PANTS] = Part.SKIRT
    labels[person_mask < 128] = Part.BACKGROUND
    scene.check(labels)
    return labels
