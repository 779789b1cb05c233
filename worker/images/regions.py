"""Connected regions of a mask, and the overlap of two masks."""

import cv2
import numpy as np

from worker.images.arrays import Flags, Indices


def largest_region(area: Flags, *, diagonal: bool = True) -> Flags:
    """Return the region with the most pixels, bool (h, w); empty when the area is empty.

    Args:
        area: bool (h, w).
        diagonal: whether pixels that meet at a corner are connected.
    """
    regions, sizes = _labelled(area, diagonal)
    if len(sizes) < 2:
        return np.zeros(area.shape, np.bool_)
    return np.asarray(regions == 1 + int(sizes[1:].argmax()))


def region_sizes(area: Flags) -> list[int]:
    """Return the number of pixels of each connected region of an area, bool (h, w), the largest first."""
    _, sizes = _labelled(area, True)
    return sorted((int(size) for size in sizes[1:]), reverse=True)


def without_small_regions(area: Flags, min_pixels: int, *, diagonal: bool = True) -> Flags:
    """Return the regions of at least `min_pixels`, bool (h, w)."""
    regions, sizes = _labelled(area, diagonal)
    large = sizes >= min_pixels
    large[0] = False
    return np.asarray(large[regions])


def regions_that_touch(area: Flags, seeds: Flags, *, diagonal: bool = True) -> Flags:
    """Return the regions of the area that share a pixel with the seeds, bool (h, w)."""
    regions, sizes = _labelled(area, diagonal)
    touched = np.zeros(len(sizes), np.bool_)
    touched[regions[seeds & area]] = True
    touched[0] = False
    return np.asarray(touched[regions])


def _labelled(area: Flags, diagonal: bool) -> tuple[Indices, Indices]:
    """Return the number of each pixel's region, from 1, 0 outside the area; and the pixels of each region."""
    _, regions, stats, _ = cv2.connectedComponentsWithStats(
        area.astype(np.uint8), connectivity=8 if diagonal else 4, ltype=cv2.CV_32S
    )
    return np.asarray(regions), np.asarray(stats[:, cv2.CC_STAT_AREA])


def iou(first: Flags, second: Flags) -> float:
    """Return the intersection over union of two areas, bool (h, w); 1 when both are empty."""
    union = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / union if union else 1.0
