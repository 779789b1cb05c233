"""Refuses photographs without a garment that a try-on can use, and names what is seen in them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np

from config.errors import GarmentMaskError, GarmentUnsuitableError
from worker.cloth.garment_reader import MASK_THRESHOLD, GarmentReading
from worker.cloth.landmarks import NAMES
from worker.images.arrays import Flags, Floats, Image
from worker.images.regions import region_sizes
from worker.images.shapes import bounding_box, dilated, eroded, square

CATEGORIES: Mapping[str, tuple[str, ...]] = {
    "upper_body": ("top", "outerwear", "dress"),
    "lower_body": ("trousers", "skirt"),
    "dresses": ("dress",),
}
"""Category of a job -> the kinds of garment that it can show."""

UPPER_BODY = CATEGORIES["upper_body"]
"""Kinds that are worn on the upper body."""

_WANTED: Mapping[str, str] = {
    "upper_body": "garment for the upper body, such as a shirt, a pullover or a jacket",
    "lower_body": "garment for the lower body, such as trousers, shorts or a skirt",
    "dresses": "dress",
}
"""Category of a job -> the garment to photograph, in words."""

_FITTING: Mapping[str, str] = {
    **{"top": "upper_body", "outerwear": "upper_body", "dress": "dresses"},
    **{"trousers": "lower_body", "skirt": "lower_body"},
}
"""Kind -> the category that fits it best; other kinds have none."""

_SHOWN: Mapping[str, str] = {
    **{"top": "a top", "outerwear": "a jacket or a coat", "dress": "a dress"},
    **{"trousers": "trousers or shorts", "skirt": "a skirt", "shoes": "shoes"},
}
"""Kind -> what the photograph shows, in words."""


@dataclass(frozen=True)
class SuitabilitySettings:
    """Limits of what is refused; all are set on the labelled and class-labelled `train` photographs.

    Attributes:
        min_range: least difference of the brightest and darkest levels: with less the picture is blank.
        min_area: least share of the photograph that the network's mask covers if there is a garment.
        min_kind: category -> least probability of a garment of that category. Of garments of other kinds a
            few are read as tops with up to 0.58; a dress may be read as a long top nearly as well.
        worn, folded, back, open: least probability from which a garment counts as worn by a person, folded,
            seen from behind, or open at the front. Closed labelled garments have at most 0.54; blazers, which
            hang open a little, more, and they can be worn.
        contact: a side of the photograph that touches this much of the garment's extent cuts it off; whole
            garments touch at most 0.16, and with a cuff cut off mostly less than 0.3.
        contact_strip: width of the strip at a side that counts as touching, pixels.
        outside: a landmark this far outside the photograph is cut off, share of the garment's diagonal; whole
            garments have at most 0.005, and with a cuff cut off mostly less than 0.03.
        min_confidence: landmarks with less confidence are not looked at.
        min_side: least longer side of a garment, pixels: below, its print and edge are a blur on the canvas.
        second: a second region of the mask this large is another garment, share of the first.
        edge_side: longer side to which the garment is scaled to measure its sharpness, pixels.
        edge_reach: distance to both sides of the outline that is compared, pixels of that scale.
        max_edge_width: largest width of the outline, pixels of that scale; 310 usable photographs have
            2.1 to 4.7.
        min_contrast: least difference of brightness across the outline where its width is measured, levels.
        min_outline: least number of pixels with that contrast; with fewer the sharpness is unknown.
    """

    min_range: float = 6.0
    min_area: float = 0.004
    min_kind: Mapping[str, float] = field(
        default_factory=lambda: {"upper_body": 0.6, "lower_body": 0.5, "dresses": 0.5}
    )
    worn: float = 0.3
    folded: float = 0.5
    back: float = 0.85
    open: float = 0.9
    contact: float = 0.5
    contact_strip: int = 3
    outside: float = 0.07
    min_confidence: float = 0.3
    min_side: int = 150
    second: float = 0.3
    edge_side: int = 512
    edge_reach: int = 14
    max_edge_width: float = 8.0
    min_contrast: float = 24.0
    min_outline: int = 60


SETTINGS = SuitabilitySettings()


def require_suitable(
    photo: Image,
    reading: GarmentReading,
    category: str = "upper_body",
    settings: SuitabilitySettings = SETTINGS,
) -> None:
    """Raise unless the photograph shows one whole garment of the category.

    Args:
        photo: RGB uint8 (h, w, 3).
        reading: what the garment network reads in it.
        category: one of CATEGORIES.
        settings: the limits.

    Raises:
        GarmentMaskError: nothing in the photograph looks like a garment.
        GarmentUnsuitableError: it shows something else than one whole garment of the category.
    """
    mask = reading.mask_of_photo(*photo.shape[:2]) >= MASK_THRESHOLD
    darkest, brightest = np.percentile(photo[::4, ::4], (0.2, 99.8))
    if brightest - darkest < settings.min_range or float(np.mean(mask)) < settings.min_area:
        raise GarmentMaskError(
            "No garment was found. Use a photograph in which the garment stands out from its background."
        )
    reason = (
        _wrong_kind(reading, category, settings)
        or _wrong_presentation(reading, category, settings)
        or _wrong_extent(reading, mask, settings)
        or _too_coarse(photo, mask, settings)
    )
    if reason:
        raise GarmentUnsuitableError(reason)


def _wrong_kind(reading: GarmentReading, category: str, settings: SuitabilitySettings) -> str:
    if reading.sure("support", "worn", settings.worn):
        return (
            "The garment is worn by a person. Use a photograph of the garment alone: lying flat, on a hanger "
            "or on a mannequin that is not visible."
        )
    if reading.probability("kind", CATEGORIES[category]) >= settings.min_kind[category]:
        return ""
    kind, wanted = reading.best("kind"), _WANTED[category]
    shown = _SHOWN.get(kind, f"no {wanted.partition(',')[0]}")
    fitting = _FITTING.get(kind, category)
    other = (
        f"submit it with category={fitting} to an engine that draws it, or " if fitting != category else ""
    )
    return (
        f"The photograph shows {shown}, and the job's category is {category}: {other}use a photograph of one "
        f"whole {wanted}."
    )


def _wrong_presentation(reading: GarmentReading, category: str, settings: SuitabilitySettings) -> str:
    if reading.sure("support", "folded", settings.folded):
        return "The garment is folded. Spread it out, so that all of it is visible."
    if category == "lower_body":  # the network knows neither the backs nor the fronts of trousers and skirts
        return ""
    if reading.sure("view", "back", settings.back):
        return "The garment is seen from behind. Use a photograph of its front."
    if reading.sure("front", "open", settings.open):
        return (
            "The garment is open at the front, and what is worn under it is unknown. Use a photograph in "
            "which it is closed."
        )
    return ""


def _wrong_extent(reading: GarmentReading, mask: Flags, settings: SuitabilitySettings) -> str:
    """Return why the garment is not whole, or not alone; empty if it is whole and alone."""
    sizes = region_sizes(mask)
    if len(sizes) > 1 and sizes[1] >= settings.second * sizes[0]:
        return "The photograph shows several garments. Use a photograph of one garment."
    for side, share in _contact(mask, settings).items():
        if share >= settings.contact:
            return (
                f"The garment is cut off at the {side} of the photograph. "
                "Use a photograph that shows the whole garment."
            )
    seen: Flags = np.asarray(reading.confidence >= settings.min_confidence)
    if not seen.any():
        return ""
    points, (height, width) = reading.points[seen], mask.shape
    margin = settings.outside * float(np.linalg.norm(np.ptp(points, axis=0)))
    outside = np.any((points < -margin) | (points > np.array([width, height]) + margin), axis=1)
    names = [name for name, use in zip(NAMES, seen, strict=True) if use]
    missing = sorted({_part(name) for name, out in zip(names, outside, strict=True) if out})
    if missing:
        return (
            f"The garment is cut off: {' and '.join(missing)} outside of the photograph. "
            "Use a photograph that shows the whole garment."
        )
    return ""


def _contact(mask: Flags, settings: SuitabilitySettings) -> dict[str, float]:
    """Return for each side of the photograph how much of the garment's extent along it touches it, 0..1."""
    if not mask.any():
        return {}
    x0, y0, x1, y1 = bounding_box(mask)
    strip = settings.contact_strip
    return {
        "top": np.count_nonzero(mask[:strip].any(0)) / (x1 - x0),
        "bottom": np.count_nonzero(mask[-strip:].any(0)) / (x1 - x0),
        "left": np.count_nonzero(mask[:, :strip].any(1)) / (y1 - y0),
        "right": np.count_nonzero(mask[:, -strip:].any(1)) / (y1 - y0),
    }


_PARTS: Mapping[str, str] = {
    **{"neck": "the neckline", "hem": "the hem", "cuff": "a sleeve"},
    **{"shoulder": "a shoulder", "armpit": "an armpit"},
}


def _part(name: str) -> str:
    """Return the part of the garment that a landmark belongs to, in words."""
    return next(words for part, words in _PARTS.items() if part in name)


def _too_coarse(photo: Image, mask: Flags, settings: SuitabilitySettings) -> str:
    """Return why the garment's picture is too small or too blurred; empty if it is not."""
    if not mask.any():
        return ""
    x0, y0, x1, y1 = bounding_box(mask)
    side = max(x1 - x0, y1 - y0)
    if side < settings.min_side:
        return (
            f"The garment is only {side} pixels large. Use a photograph in which it is at least "
            f"{settings.min_side} pixels high or wide."
        )
    width = outline_width(photo, mask, settings)
    if width is not None and width > settings.max_edge_width:
        return (
            "The photograph is blurred: the garment's outline is not sharp. "
            "Use a photograph that is in focus."
        )
    return ""


def outline_width(photo: Image, mask: Flags, settings: SuitabilitySettings = SETTINGS) -> float | None:
    """Return over how many pixels the brightness changes at the garment's outline; None if it is unknown.

    The garment is first scaled to `edge_side`. The width at a pixel is the range of the brightness around it
    divided by the steepest slope around it; returned is the median over the outline.

    Args:
        photo: RGB uint8 (h, w, 3).
        mask: the garment, bool (h, w).
        settings: the scale and the least contrast.
    """
    x0, y0, x1, y1 = bounding_box(mask)
    scale = settings.edge_side / max(x1 - x0, y1 - y0)
    size = (max(1, round(photo.shape[1] * scale)), max(1, round(photo.shape[0] * scale)))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    grey = cv2.cvtColor(cv2.resize(photo, size, interpolation=interpolation), cv2.COLOR_RGB2GRAY)
    solid = np.asarray(cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)) > 0
    brightness: Floats = grey.astype(np.float32)
    slope = np.hypot(*(np.asarray(part, np.float32) for part in np.gradient(brightness)))
    kernel = square(settings.edge_reach)
    change = cv2.dilate(brightness, kernel) - cv2.erode(brightness, kernel)
    steepest = cv2.dilate(slope, kernel)
    outline = dilated(solid, 1) & ~eroded(solid, 1) & (change >= settings.min_contrast)
    if np.count_nonzero(outline) < settings.min_outline:
        return None
    return float(np.median(change[outline] / steepest[outline]))
