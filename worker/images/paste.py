"""Composites the changed region of the canvas into the photograph, at the photograph's own size."""

import cv2
import numpy as np

from worker.images.arrays import Canvas, Image, Mask
from worker.images.frame import Frame, affine_matrix
from worker.images.shapes import Window, window

_FADE = 16
"""Width over which the result fades out at a canvas border inside the photograph, canvas pixels."""

_STRIP = 512
"""Rows of the photograph that are mixed at once."""


def paste_back(photo_rgb: Image, frame: Frame, result_canvas: Canvas, region: Mask) -> Image:
    """Composite the changed region on the photograph, in place; returns the photograph, RGB uint8 (h, w, 3).

    A second photograph of 60 million pixels would be 180 MB.

    Args:
        photo_rgb: the person's photograph, RGB uint8 (h, w, 3).
        frame: where the photograph is on the canvas.
        result_canvas: the changed picture, RGB uint8 (1024, 768, 3).
        region: uint8 (1024, 768), the alpha mask of the change.

    Every photograph pixel whose region is 0 keeps its exact value. Where the photograph extends beyond
    the canvas the region fades out, so that no edge is visible. Where the canvas has more pixels than
    the photograph it is downsampled by area, otherwise it is upsampled by cubic interpolation.
    """
    region = _faded(region, frame)
    if frame.scale > 1:
        # warpAffine has no area filter: downsample first, then only translate.
        result, alpha = _downsampled(result_canvas, frame), _downsampled(region, frame)
        part = window(alpha > 0)
        _mix(photo_rgb, result[part], alpha, part)
        return photo_rgb
    # Linear interpolation for the alpha: cubic overshoots and would change pixels outside the region.
    alpha = frame.to_photo(region, interpolation=cv2.INTER_LINEAR)
    rows, columns = window(alpha > 0)
    # In strips: of a photograph with 60 million pixels the numbers of a whole region need a gigabyte.
    for top in range(rows.start, rows.stop, _STRIP):
        part = slice(top, min(top + _STRIP, rows.stop)), columns
        changed = frame.part(*part).to_photo(result_canvas, interpolation=cv2.INTER_CUBIC)
        _mix(photo_rgb, changed, alpha, part)
    return photo_rgb


def _mix(photo_rgb: Image, changed: Image | Mask, alpha: Mask, part: Window) -> None:
    """Mix a part of the photograph, in place, with its changed pixels by their alpha."""
    share = alpha[part].astype(np.float32)[..., None] / 255
    mixed = share * changed + (1 - share) * photo_rgb[part]
    photo_rgb[part] = np.clip(np.round(mixed), 0, 255).astype(np.uint8)


def _faded(region: Mask, frame: Frame) -> Mask:
    """Return the region faded out at those canvas borders beyond which the photograph continues."""
    height, width = region.shape
    right = frame.left + frame.scale * frame.photo_width
    bottom = frame.top + frame.scale * frame.photo_height
    x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
    share = np.ones((height, width), np.float32)
    for continues, distance in (
        (frame.left < -1, x[None]),
        (right > width + 1, (width - x)[None]),
        (frame.top < -1, y[:, None]),
        (bottom > height + 1, (height - y)[:, None]),
    ):
        if continues:
            share = share * np.clip(distance / _FADE, 0, 1)
    return np.round(region * share).astype(np.uint8)


def _downsampled(canvas: Image | Mask, frame: Frame) -> Image | Mask:
    """Return a canvas picture at the photograph's position and smaller size, filtered by area."""
    small = cv2.resize(canvas, None, fx=1 / frame.scale, fy=1 / frame.scale, interpolation=cv2.INTER_AREA)
    height, width = canvas.shape[:2]
    # The size of `small` is rounded to whole pixels: what remains of the scale.
    matrix = affine_matrix(
        frame.scale * small.shape[1] / width,
        frame.scale * small.shape[0] / height,
        frame.left * small.shape[1] / width,
        frame.top * small.shape[0] / height,
    )
    placed = cv2.warpAffine(
        small,
        matrix,
        (frame.photo_width, frame.photo_height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
    )
    return np.asarray(placed, np.uint8)
