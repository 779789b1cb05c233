"""Brings what changed on the canvas back into the photograph, at the photograph's own size."""

import cv2
import numpy as np

from worker.images.frame import Frame

_FADE = 16  # how wide the result fades out at a border of the canvas inside the photograph, pixels


def paste_back(
    photo_rgb: np.ndarray, frame: Frame, result_canvas: np.ndarray, region: np.ndarray
) -> np.ndarray:
    """Return the photograph with the changed region pasted in, RGB uint8 (h, w, 3).

    Args:
        photo_rgb: the person's photograph, RGB uint8 (h, w, 3).
        frame: where the photograph lies on the canvas.
        result_canvas: the changed picture, RGB uint8 (1024, 768, 3).
        region: uint8 (1024, 768), the soft alpha of what changed.

    Every photograph pixel whose region is 0 keeps its exact value. Where the photograph goes on beyond the
    canvas the region fades out, so that no edge is seen there. Where the canvas is larger than the
    photograph it is shrunk by area, where it is smaller it is enlarged by cubic interpolation.
    """
    region = _faded(region, frame)
    if frame.scale > 1:
        # warpAffine has no area filter: shrink by it first, then only place.
        drawn, alpha = _shrunk(result_canvas, frame), _shrunk(region, frame)
    else:
        drawn = frame.to_photo(result_canvas, interpolation=cv2.INTER_CUBIC)
        # Alpha by straight lines: a cubic overshoots and would touch pixels beyond the region.
        alpha = frame.to_photo(region, interpolation=cv2.INTER_LINEAR)
    changed = alpha > 0
    share = alpha[changed].astype(np.float32)[:, None] / 255
    out = photo_rgb.copy()
    mixed = share * drawn[changed] + (1 - share) * photo_rgb[changed]
    out[changed] = np.clip(np.round(mixed), 0, 255).astype(np.uint8)
    return out


def _faded(region: np.ndarray, frame: Frame) -> np.ndarray:
    """Return the region fading out towards those borders of the canvas that the photograph goes beyond."""
    height, width = region.shape
    right, bottom = (
        frame.left + frame.scale * frame.photo_width,
        frame.top + frame.scale * frame.photo_height,
    )
    x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
    share = np.ones((height, width), np.float32)
    for goes_on, distance in (
        (frame.left < -1, x[None]),
        (right > width + 1, (width - x)[None]),
        (frame.top < -1, y[:, None]),
        (bottom > height + 1, (height - y)[:, None]),
    ):
        if goes_on:
            share = share * np.clip(distance / _FADE, 0, 1)
    return np.round(region * share).astype(np.uint8)


def _shrunk(canvas: np.ndarray, frame: Frame) -> np.ndarray:
    """Return a canvas picture at the photograph's place and smaller size, filtered by area."""
    small = cv2.resize(canvas, None, fx=1 / frame.scale, fy=1 / frame.scale, interpolation=cv2.INTER_AREA)
    height, width = canvas.shape[:2]
    # What the rounded size leaves of the scale; pixel centres lie at whole numbers plus one half.
    scale_x, scale_y = frame.scale * small.shape[1] / width, frame.scale * small.shape[0] / height
    left, top = frame.left * small.shape[1] / width, frame.top * small.shape[0] / height
    matrix = np.array([[scale_x, 0, left + (scale_x - 1) / 2], [0, scale_y, top + (scale_y - 1) / 2]])
    return cv2.warpAffine(
        small,
        matrix,
        (frame.photo_width, frame.photo_height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
    )
