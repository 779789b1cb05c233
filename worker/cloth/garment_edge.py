"""Refines the outline of the network's mask to the edge that the photograph shows.

GrabCut (Rother, Kolmogorov, Blake, SIGGRAPH 2004) decides by colour and contrast in a band around the coarse
outline; outside of the band the network's mask stays.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.cloth.garment_reader import MASK_THRESHOLD, GarmentReading
from worker.images.arrays import Flags, Image
from worker.images.regions import iou, without_small_regions
from worker.images.shapes import disc


@dataclass(frozen=True)
class EdgeSettings:
    """How an outline is refined.

    Attributes:
        side: longer side of the picture in which the edge is searched, pixels; more costs time and finds
            little more.
        band: half the width of the band that GrabCut decides, share of the garment's diagonal: a cell of the
            network's mask is about 1 % of it.
        iterations: iterations of GrabCut; after three little changes.
        min_iou: least intersection over union with the network's mask; with less, colours have misled
            GrabCut, and the network's mask is used.
        min_region: smaller regions are removed, share of the garment: a garment is in one piece.
        min_hole: smaller holes are filled, share of the garment.
        feather: standard deviation of the blur of the refined mask, pixels of the smaller picture.
    """

    side: int = 512
    band: float = 0.016
    iterations: int = 3
    min_iou: float = 0.88
    min_region: float = 0.08
    min_hole: float = 4e-4
    feather: float = 1.0


SETTINGS = EdgeSettings()


def refined(photo: Image, reading: GarmentReading, settings: EdgeSettings = SETTINGS) -> NDArray[np.float32]:
    """Return the garment's mask at the photograph's resolution, float32 (h, w), 0..1.

    Where the colours do not separate garment and background, it is the network's own mask.
    """
    height, width = photo.shape[:2]
    coarse = reading.mask_of_photo(height, width)
    scale = min(1.0, settings.side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), np.uint8)
    solid = np.asarray(cv2.resize(coarse, size, interpolation=cv2.INTER_AREA)) >= MASK_THRESHOLD
    if not solid.any() or solid.all():
        return coarse
    area = _grab_cut(small, solid, settings)
    if area is None or iou(area, solid) < settings.min_iou:
        return coarse
    edge = cv2.GaussianBlur(area.astype(np.float32), (0, 0), settings.feather)
    return np.asarray(cv2.resize(edge, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _grab_cut(small: Image, solid: Flags, settings: EdgeSettings) -> Flags | None:
    """Return the area that GrabCut finds, bool (h, w); None when no pixel is certain to be in or out."""
    rows, columns = (np.flatnonzero(solid.any(axis)) for axis in (1, 0))
    diagonal = float(np.hypot(np.ptp(rows), np.ptp(columns)))
    kernel = disc(max(2, round(settings.band * diagonal)))
    inside = cv2.erode(solid.astype(np.uint8), kernel) > 0
    outside = cv2.dilate(solid.astype(np.uint8), kernel) == 0
    if not inside.any() or not outside.any():
        return None
    trimap = np.where(solid, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    trimap[inside], trimap[outside] = cv2.GC_FGD, cv2.GC_BGD
    inner, outer = np.zeros((1, 65)), np.zeros((1, 65))  # models, of the size that cv2.grabCut requires
    bgr = np.ascontiguousarray(small[..., ::-1])
    # GrabCut initialises its clusters at random: the same photograph must give the same mask.
    cv2.setRNGSeed(0)
    unused_box = (0, 0, bgr.shape[1], bgr.shape[0])
    cv2.grabCut(bgr, trimap, unused_box, outer, inner, settings.iterations, cv2.GC_INIT_WITH_MASK)
    return _without_specks((trimap == cv2.GC_FGD) | (trimap == cv2.GC_PR_FGD), settings)


def _without_specks(area: Flags, settings: EdgeSettings) -> Flags:
    """Return the area without small regions and without small holes."""
    size = np.count_nonzero(area)
    kept = without_small_regions(area, math.ceil(settings.min_region * size), diagonal=False)
    return ~without_small_regions(~kept, math.ceil(settings.min_hole * size), diagonal=False)
