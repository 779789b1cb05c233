"""Brings what changed on the canvas back into the photograph, at the photograph's own size."""

import cv2
import numpy as np

from worker.frame import Frame


def paste_back(photo_rgb: np.ndarray, frame: Frame, result_canvas: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Return the photograph with the changed region pasted in, RGB uint8 (h, w, 3).

    Args:
        photo_rgb: the person's photograph, RGB uint8 (h, w, 3).
        frame: where the photograph lies on the canvas.
        result_canvas: the changed picture, RGB uint8 (1024, 768, 3).
        region: uint8 (1024, 768), the soft alpha of what changed.

    Every photograph pixel whose region is 0 keeps its exact value. Where the canvas is larger than the
    photograph it is shrunk by area, where it is smaller it is enlarged by cubic interpolation.
    """
    interpolation = cv2.INTER_AREA if frame.scale > 1 else cv2.INTER_CUBIC
    drawn = frame.to_photo(result_canvas, interpolation=interpolation)
    # Alpha by straight lines: a cubic overshoots and would touch pixels beyond the region.
    alpha = frame.to_photo(region, interpolation=cv2.INTER_AREA if frame.scale > 1 else cv2.INTER_LINEAR)
    changed = alpha > 0
    share = alpha[changed].astype(np.float32)[:, None] / 255
    out = photo_rgb.copy()
    mixed = share * drawn[changed] + (1 - share) * photo_rgb[changed]
    out[changed] = np.clip(np.round(mixed), 0, 255).astype(np.uint8)
    return out
