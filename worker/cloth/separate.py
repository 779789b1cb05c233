"""Reads a garment and separates it from its background: the network and the colours check each other."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from config.errors import GarmentMaskError
from worker.cloth.garment_edge import refined
from worker.cloth.garment_reader import MASK_THRESHOLD, GarmentReader, GarmentReading
from worker.cloth.mask import Cutout, cut_along, cut_out
from worker.images.arrays import Flags, Image
from worker.images.regions import iou, regions_that_touch
from worker.images.shapes import bounding_box, dilated, eroded

Cutter = Callable[[Image], Cutout]
"""Separates the garment from its background in a photograph, RGB uint8 (h, w, 3). Raises GarmentMaskError."""


@dataclass(frozen=True)
class SeparationSettings:
    """When the mask by colour is used.

    Attributes:
        min_agreement: least intersection over union of the mask by colour with the network's. On a plain
            ground the mask by colour is exact to a pixel; with less agreement it has taken a shadow, a
            second object or a patterned ground for the garment: measured on 250 photographs of sellers.
        studio: share of the border that has the background's colour from which the ground is a studio's.
        min_agreement_studio: least agreement there: the network sees less of thin straps than the colours.
        plain: share of the border that has the background's colour from which the ground counts as plain.
        core: a piece belongs to the garment if it touches the network's mask eroded by this share of the
            garment's longer side: a price tag or an inset at most touches its rim.
        fade: width of the rim in which alpha fades out, pixels.
        bright: mean level of a garment from which its contrasting ground is dark.
        dark_ground, light_ground: grey levels of a contrasting ground.
    """

    min_agreement: float = 0.93
    studio: float = 0.99
    min_agreement_studio: float = 0.85
    plain: float = 0.95
    core: float = 0.02
    fade: int = 3
    bright: float = 150.0
    dark_ground: int = 100
    light_ground: int = 246


SETTINGS = SeparationSettings()


@dataclass(frozen=True)
class SeparatedGarment:
    """A garment's reading and its cut-out; `cutout` is None where the colours do not separate it."""

    reading: GarmentReading
    cutout: Cutout | None


def read_and_separate(
    photo: Image, reader: GarmentReader, settings: SeparationSettings = SETTINGS
) -> SeparatedGarment:
    """Return the reading of a photograph, and the garment cut out by colour if the network agrees with it.

    A white garment on light grey has an outline that the colours show and the network does not see. So where
    they disagree on a plain ground, the cut-out is put on a ground of contrasting colour and read again: what
    the network then recognises as one garment of the same outline is the garment.

    Args:
        photo: RGB uint8 (h, w, 3), at most about MAX_PIXELS.
        reader: reads the photograph.
        settings: when the mask by colour is used.
    """
    reading = reader.read(photo)
    try:
        cutout = cut_out(photo)
    except GarmentMaskError:
        return SeparatedGarment(reading, None)
    own = _garment(reading, photo)
    confirmed = _confirmed(cutout, own, settings) if own.any() else cutout
    agreement = _agreement(confirmed, own)
    if agreement >= settings.min_agreement:
        return SeparatedGarment(reading, confirmed)
    if cutout.plain_share >= settings.plain:
        again = reader.read(_on_contrast(cutout, settings))
        if _agreement(cutout, _garment(again, photo)) >= settings.min_agreement:
            return SeparatedGarment(again, cutout)
    if cutout.plain_share >= settings.studio and agreement >= settings.min_agreement_studio:
        return SeparatedGarment(reading, confirmed)
    return SeparatedGarment(reading, None)


def along_network(photo: Image, reading: GarmentReading) -> Cutout:
    """Return the garment along the refined edge of the network's mask.

    Raises GarmentMaskError when there is almost no garment, or it is cut off by the picture's edge.
    """
    return cut_along(photo, refined(photo, reading) >= MASK_THRESHOLD)


def _garment(reading: GarmentReading, photo: Image) -> Flags:
    return np.asarray(reading.mask_of_photo(*photo.shape[:2]) >= MASK_THRESHOLD)


def _agreement(cutout: Cutout, own: Flags) -> float:
    return iou(cutout.alpha >= 128, own)


def _confirmed(cutout: Cutout, own: Flags, settings: SeparationSettings) -> Cutout:
    """Return the cut-out with the connected pieces that reach into the core of the network's mask."""
    x0, y0, x1, y1 = bounding_box(own)
    core = eroded(own, max(1, round(settings.core * max(x1 - x0, y1 - y0))))
    solid = regions_that_touch(cutout.alpha >= 128, core)
    return replace(cutout, alpha=np.where(dilated(solid, settings.fade), cutout.alpha, 0).astype(np.uint8))


def _on_contrast(cutout: Cutout, settings: SeparationSettings) -> Image:
    """Return the garment on a plain ground that its colours stand out from, RGB uint8 (h, w, 3)."""
    alpha = cutout.alpha[..., None].astype(np.float32) / 255
    mean = float((cutout.image * alpha).sum() / max(3 * float(alpha.sum()), 1.0))
    ground = settings.dark_ground if mean >= settings.bright else settings.light_ground
    return np.round(alpha * cutout.image + (1 - alpha) * ground).astype(np.uint8)
