"""Connected regions of a mask, by scikit-image, and the overlap of two masks."""

import numpy as np
from skimage.measure import label
from skimage.morphology import remove_small_objects

from worker.images.arrays import Flags, Indices


def largest_region(area: Flags, *, diagonal: bool = True) -> Flags:
    """Return the region with the most pixels, bool (h, w); empty when the area is empty.

    Args:
        area: bool (h, w).
        diagonal: whether pixels that meet at a corner are connected.
    """
    regions = _labelled(area, diagonal)
    sizes = np.bincount(regions.ravel())
    if len(sizes) < 2:
        return np.zeros(area.shape, np.bool_)
    return np.asarray(regions == 1 + int(sizes[1:].argmax()))


def region_sizes(area: Flags) -> list[int]:
    """Return the number of pixels of each connected region of an area, bool (h, w), the largest first."""
    sizes = np.bincount(_labelled(area, True).ravel())[1:]
    return sorted((int(size) for size in sizes), reverse=True)


def without_small_regions(area: Flags, min_pixels: int, *, diagonal: bool = True) -> Flags:
    """Return the regions of at least `min_pixels`, bool (h, w)."""
    large = remove_small_objects(area, max_size=min_pixels - 1, connectivity=2 if diagonal else 1)
    return np.asarray(large, np.bool_)


def regions_that_touch(area: Flags, seeds: Flags, *, diagonal: bool = True) -> Flags:
    """Return the regions of the area that share a pixel with the seeds, bool (h, w)."""
    regions = _labelled(area, diagonal)
    touched = np.zeros(int(regions.max()) + 1, np.bool_)
    touched[np.unique(regions[seeds & area])] = True
    touched[0] = False
    return np.asarray(touched[regions])


def _labelled(area: Flags, diagonal: bool) -> Indices:
    """Return the number of each pixel's region, from 1; 0 outside the area."""
    return np.asarray(label(area, connectivity=2 if diagonal else 1), np.intp)  # type: ignore[no-untyped-call]


def iou(first: Flags, second: Flags) -> float:
    """Return the intersection over union of two areas, bool (h, w); 1 when both are empty."""
    union = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / union if union else 1.0
