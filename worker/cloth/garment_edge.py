"""Moves the edge of the network's coarse mask to the edge that the photograph shows.

GrabCut (Rother, Kolmogorov, Blake, SIGGRAPH 2004) decides by colour and contrast in a band about the coarse
edge; all else stays as the network sees it.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.cloth.garment_reader import GarmentReading
from worker.images.arrays import Image


@dataclass(frozen=True)
class EdgeSettings:
    """How an edge is refined.

    Attributes:
        side: longer side at which the edge is sought, pixels; finer costs time and finds little more.
        band: half the width of the band that is decided again, share of the garment's diagonal: the network's
            cells are about 1 % of it.
        rounds: iterations of GrabCut; after three little moves.
        agree: least intersection over union with the network's mask; else colours misled the refinement.
        piece: pieces smaller than this share of the garment are dropped: a garment is in one piece.
        hole: holes smaller than this share of the garment are filled.
    """

    side: int = 512
    band: float = 0.016
    rounds: int = 3
    agree: float = 0.88
    piece: float = 0.08
    hole: float = 4e-4


SETTINGS = EdgeSettings()


def refined(photo: Image, reading: GarmentReading, settings: EdgeSettings = SETTINGS) -> NDArray[np.float32]:
    """Return the garment's mask at the photograph's resolution, float32 (h, w), 0..1.

    Where colours tell nothing, it is the network's own mask.
    """
    height, width = photo.shape[:2]
    coarse = reading.mask_of_photo(height, width)
    scale = min(1.0, settings.side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), np.uint8)
    soft = np.asarray(cv2.resize(coarse, size, interpolation=cv2.INTER_AREA), np.float32)
    solid = soft >= 0.5
    if not solid.any() or solid.all():
        return coarse
    found = _cut(small, solid, settings)
    if found is None or _overlap(found, solid) < settings.agree:
        return coarse
    edge = cv2.GaussianBlur(found.astype(np.float32), (0, 0), 1.0)
    return np.asarray(cv2.resize(edge, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _cut(small: Image, solid: NDArray[np.bool_], settings: EdgeSettings) -> NDArray[np.bool_] | None:
    rows, columns = (np.flatnonzero(solid.any(axis)) for axis in (1, 0))
    diagonal = float(np.hypot(np.ptp(rows), np.ptp(columns)))
    reach = max(2, round(settings.band * diagonal))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    inside = cv2.erode(solid.astype(np.uint8), kernel) > 0
    outside = cv2.dilate(solid.astype(np.uint8), kernel) == 0
    if not inside.any() or not outside.any():
        return None
    trimap = np.where(solid, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    trimap[inside], trimap[outside] = cv2.GC_FGD, cv2.GC_BGD
    models = [np.zeros((1, 65)) for _ in range(2)]
    bgr = np.ascontiguousarray(small[..., ::-1])
    whole = (0, 0, bgr.shape[1], bgr.shape[0])
    cv2.grabCut(bgr, trimap, whole, models[0], models[1], settings.rounds, cv2.GC_INIT_WITH_MASK)
    found = (trimap == cv2.GC_FGD) | (trimap == cv2.GC_PR_FGD)
    return _without_specks(found, settings)


def _without_specks(found: NDArray[np.bool_], settings: EdgeSettings) -> NDArray[np.bool_]:
    area = np.count_nonzero(found)
    for wanted, share in ((True, settings.piece), (False, settings.hole)):
        alike = (found == wanted).astype(np.uint8)
        _, labels, stats, _ = cv2.connectedComponentsWithStats(alike, connectivity=4)
        small = stats[:, cv2.CC_STAT_AREA] < share * area
        small[0] = False
        found = np.where(small[labels], not wanted, found)
    return found


def _overlap(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    both, either = int(np.count_nonzero(first & second)), int(np.count_nonzero(first | second))
    return both / max(1, either)
