"""Removes a frame or letterbox bars from a photograph of a garment."""

from dataclasses import dataclass

import cv2
import numpy as np

from worker.images.arrays import Flags, Image


@dataclass(frozen=True)
class TrimSettings:
    """What counts as a frame.

    Attributes:
        tolerance: grey levels by which the pixels of a frame differ at most from its colour: JPEG noise.
        even: share of a line's pixels that must have the frame's colour.
        step: grey levels by which the photograph's first line differs at least from the frame's colour.
        stepped: share of that line's pixels that must differ: the edge of a frame is straight, that of a
            garment on a plain ground is not.
        max_share: largest thickness of a frame, share of the photograph's side.
    """

    tolerance: int = 12
    even: float = 0.985
    step: int = 24
    stepped: float = 0.85
    max_share: float = 0.35


SETTINGS = TrimSettings()


def frame_thickness(photo: Image, settings: TrimSettings = SETTINGS) -> tuple[int, int, int, int]:
    """Return the thickness of the frame at top, bottom, left and right of a photograph, pixels.

    photo: RGB uint8 (h, w, 3). A side without a frame has 0. Bars at top and bottom only are a letterbox.
    """
    top = _bar(photo, settings)
    bottom = _bar(photo[::-1], settings)
    between = photo[top : len(photo) - bottom].transpose(1, 0, 2)
    return top, bottom, _bar(between, settings), _bar(between[::-1], settings)


def without_frame(photo: Image, settings: TrimSettings = SETTINGS) -> tuple[Image, tuple[int, int]]:
    """Return the photograph inside its frame, and the (left, top) of that part in pixels."""
    top, bottom, left, right = frame_thickness(photo, settings)
    height, width = photo.shape[:2]
    return photo[top : height - bottom, left : width - right], (left, top)


def _bar(photo: Image, settings: TrimSettings) -> int:
    """Return the thickness of the bar at the top of a picture, pixels; 0 without one."""
    colour = np.median(photo[0], axis=0)
    most = int(settings.max_share * len(photo))
    alike = _differs(photo[: most + 1], colour, settings.tolerance).mean(1) <= 1 - settings.even
    if alike.all():
        return 0  # a plain ground without an edge
    thickness = int(np.argmin(alike))
    # The line after the edge is mixed with the frame's colour.
    first = min(thickness + 2, len(photo) - 1)
    if thickness == 0 or _differs(photo[first : first + 1], colour, settings.step).mean() < settings.stepped:
        return 0
    return first


def _differs(pixels: Image, colour: np.ndarray[tuple[int, ...], np.dtype[np.float64]], by: int) -> Flags:
    """Return which pixels, (h, w, 3), differ in a channel by more than a number of levels, bool (h, w)."""
    lowest, highest = np.ceil(colour - by).clip(0), np.floor(colour + by)
    alike = cv2.inRange(np.ascontiguousarray(pixels), lowest, highest)
    return np.asarray(alike == 0).reshape(pixels.shape[:-1])
