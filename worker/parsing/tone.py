"""Gives a grey photograph skin's colour, for a network that has learnt in colour what skin is."""

import cv2
import numpy as np

from worker.images.maps import Body25, Pose

_COLOURLESS = 5.0
"""A photograph has no colour when 99 % of it is nearer than this to grey (CIELAB a and b)."""
_SKIN = (12.6, 18.0)
"""How far skin lies from grey (CIELAB a and b)."""
_REACH = 60.0
"""How much lighter or darker than the face skin may be before its colour fades (OpenCV's 8-bit L)."""


def with_skin_tone(image_rgb: np.ndarray, pose: Pose) -> np.ndarray:
    """Return a grey photograph toned: skin's colour where it is as light as the face; another as it is.

    Not skin alone is toned, but the network knows garments in skin's colour too, and no grey arms.

    Args:
        image_rgb: uint8 (h, w, 3).
        pose: the person's joints in it, both shoulders among them.
    """
    lab = cv2.cvtColor(image_rgb, cv2.COLOR_RGB2LAB).astype(np.float32)
    colour = np.abs(lab[..., 1:] - 128).max(-1)
    if not pose.seen(Body25.NOSE) or np.percentile(colour, 99) > _COLOURLESS:
        return image_rgb
    right, left = pose.body[[Body25.R_SHOULDER, Body25.L_SHOULDER], :2]
    x, y = pose.body[Body25.NOSE, :2].astype(int)
    reach = max(2, round(0.1 * float(np.linalg.norm(left - right))))
    face = lab[max(y - reach, 0) : y + reach, max(x - reach, 0) : x + reach, 0]
    alike = np.exp(-np.square((lab[..., :1] - np.median(face)) / _REACH))
    lab[..., 1:] += alike * np.array(_SKIN, np.float32)
    return cv2.cvtColor(lab.clip(0, 255).astype(np.uint8), cv2.COLOR_LAB2RGB)
