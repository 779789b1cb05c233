"""Adds skin's colour to a grey photograph, for a network that was trained on colour photographs."""

import cv2
import numpy as np

from worker.images.arrays import Image
from worker.images.maps import Body25, Pose

_MAX_GREY_CHROMA = 5.0
"""A photograph is grey when 99 % of its pixels have a smaller distance to grey than this (CIELAB a and b)."""
_SKIN_CHROMA = (12.6, 18.0)
"""Skin's difference from grey (CIELAB a and b)."""
_LIGHTNESS_FALLOFF = 60.0
"""Difference from the face's lightness at which the added colour falls to 1/e (OpenCV's 8-bit L)."""
_TESTED_EVERY = 4
"""Every so many pixels in each direction are enough to see whether a photograph is grey."""
_FACE_RADIUS = 0.1
"""Half the side of the square around the nose whose lightness is the face's, in shoulder widths."""
_MIN_FACE_RADIUS = 2
"""The least half side of that square, pixels."""


def with_skin_tone(image_rgb: Image, pose: Pose) -> Image:
    """Return a grey photograph with skin's colour where it is as light as the face.

    A photograph in colour, or without a visible nose, is returned as it is. Other surfaces of the same
    lightness get the colour too: the network knows garments in skin's colour, but no grey arms.

    Args:
        image_rgb: uint8 (h, w, 3).
        pose: the person's joints in it, with both shoulders.
    """
    if not pose.seen(Body25.NOSE) or not _is_grey(image_rgb):
        return image_rgb
    lab = cv2.cvtColor(image_rgb, cv2.COLOR_RGB2LAB).astype(np.float32)
    right, left = pose.body[[Body25.R_SHOULDER, Body25.L_SHOULDER], :2]
    x, y = pose.body[Body25.NOSE, :2].astype(int)
    radius = max(_MIN_FACE_RADIUS, round(_FACE_RADIUS * float(np.linalg.norm(left - right))))
    face = lab[max(y - radius, 0) : y + radius, max(x - radius, 0) : x + radius, 0]
    similarity = np.exp(-np.square((lab[..., :1] - np.median(face)) / _LIGHTNESS_FALLOFF))
    lab[..., 1:] += similarity * np.array(_SKIN_CHROMA, np.float32)
    return np.asarray(cv2.cvtColor(lab.clip(0, 255).astype(np.uint8), cv2.COLOR_LAB2RGB), np.uint8)


def _is_grey(image_rgb: Image) -> bool:
    tested = np.ascontiguousarray(image_rgb[::_TESTED_EVERY, ::_TESTED_EVERY])
    chroma = np.abs(cv2.cvtColor(tested, cv2.COLOR_RGB2LAB)[..., 1:].astype(np.int16) - 128).max(-1)
    return bool(np.percentile(chroma, 99) <= _MAX_GREY_CHROMA)
