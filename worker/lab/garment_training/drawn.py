"""Renders garment outlines as pictures without background, with cloth, folds, seams and prints."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from worker.cloth.landmarks import NAMES
from worker.lab.garment_training.examples import SIZE, UNKNOWN, Example, attribute
from worker.lab.garment_training.fabric import SHARES, Picture, cloth, colour, noise
from worker.lab.garment_training.lower import random_lower_garment
from worker.lab.garment_training.outline import Garment, Part, random_garment


@dataclass(frozen=True)
class PaintSettings:
    """How garments are rendered.

    Attributes:
        scale: rendered pixels per stored pixel; 1 is enough, because OpenCV antialiases outlines.
        margin: empty margin on each side, share of the picture; the deformation needs it.
        bend: standard deviation of the deformation, share of the picture.
        fold: brightness change by folds, share of the cloth's level.
        lower: share of trousers and skirts: examples that are no upper-body garments.
        back_view: share of back views.
        guess_weight: weight of a landmark without an exact position.
    """

    scale: int = 1
    margin: float = 0.07
    bend: float = 0.012
    fold: float = 0.13
    lower: float = 0.09
    back_view: float = 0.03
    guess_weight: float = 0.0


SETTINGS = PaintSettings()
_FINE = 4  # fractional bits of the coordinates that OpenCV draws with


def drawn(rng: Generator, crops: Sequence[NDArray[np.uint8]], settings: PaintSettings = SETTINGS) -> Example:
    """Return a random garment as a layer; `crops` are pieces of photographs that serve as cloth."""
    lower = rng.random() < settings.lower
    garment = random_lower_garment(rng) if lower else random_garment(rng)
    back = not lower and garment.front != "open" and rng.random() < settings.back_view
    if back:
        garment.parts = [part for part in garment.parts if part.role != "inside"]
        garment.buttons, garment.front = [], None
        garment.uncertain.add("neck_front")
    side = SIZE * settings.scale
    place = _Placement.fitting(garment, side, settings.margin)
    picture = _paint(rng, garment, place, crops, settings)
    bend = _Bend(rng, side, settings.bend * (1 if rng.random() < 0.6 else 1.8))
    picture = bend.picture(picture)
    rgba = cv2.resize(picture, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    # Rendered over black, the colours are multiplied by alpha: divide by it.
    rgba[..., :3] = rgba[..., :3] / np.maximum(rgba[..., 3:] / 255, 0.02)
    example = Example(
        np.round(np.clip(rgba, 0, 255)).astype(np.uint8), layer=True, mask_known=True, rotation=0.0
    )
    _label(example, garment, place, bend, back, settings)
    return example


def _label(
    example: Example,
    garment: Garment,
    place: "_Placement",
    bend: "_Bend",
    back: bool,
    settings: PaintSettings,
) -> None:
    for index, name in enumerate(NAMES):
        if name in garment.points:
            point = bend.point(place.pixels(np.array([garment.points[name]]))[0])
            example.points[index] = point / settings.scale
            example.weights[index] = settings.guess_weight if name in garment.uncertain else 1.0
            example.present[index] = UNKNOWN if name in garment.uncertain else 1
        else:
            example.present[index] = 0
    values = {
        **{"kind": garment.kind, "sleeve": garment.sleeve, "neckline": garment.neckline},
        **{"front": garment.front, "view": "back" if back else "front", "support": None, "whole": "whole"},
    }
    example.attributes = {name: attribute(name, value) for name, value in values.items()}


@dataclass(frozen=True)
class _Placement:
    """The transform from a garment's units to the rendered picture."""

    scale: float
    shift: NDArray[np.float64]

    @classmethod
    def fitting(cls, garment: Garment, side: int, margin: float) -> "_Placement":
        corners = np.concatenate([part.outline for part in garment.parts])
        low, high = corners.min(0), corners.max(0)
        scale = float(side * (1 - 2 * margin) / (high - low).max())
        return cls(scale, side / 2 - scale * (low + high) / 2)

    def pixels(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return points of the garment in pixels of the rendered picture."""
        return points * self.scale + self.shift


class _Bend:
    """A smooth deformation of the picture: real cloth is never exactly symmetric."""

    def __init__(self, rng: Generator, side: int, spread: float) -> None:
        dx, dy = (noise(rng, (side, side), (4, 4)) * spread * side for _ in range(2))
        self.shift = np.stack([dx, dy], -1)
        self.side = side

    def picture(self, picture: Picture) -> Picture:
        """Return the deformed picture: the value at p comes from p + shift(p)."""
        y, x = np.mgrid[: self.side, : self.side].astype(np.float32)
        return np.asarray(
            cv2.remap(picture, x + self.shift[..., 0], y + self.shift[..., 1], cv2.INTER_LINEAR), np.float32
        )

    def point(self, point: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the new position of a point: the p with p + shift(p) = point."""
        found = point.copy()
        for _ in range(4):  # fixed-point iteration; the shift is smooth, so it converges fast
            column, row = np.clip(np.round(found - 0.5).astype(int), 0, self.side - 1)
            found = point - self.shift[row, column]
        return found


def _paint(
    rng: Generator,
    garment: Garment,
    place: _Placement,
    crops: Sequence[NDArray[np.uint8]],
    settings: PaintSettings,
) -> Picture:
    """Return the garment without background, RGBA float32 (side, side, 4)."""
    side = SIZE * settings.scale
    sheets = _sheets(rng, side, crops)
    picture = np.zeros((side, side, 4), np.float32)
    for part in garment.parts:
        _paint_part(rng, picture, part, sheets, place, settings)
    _print(rng, picture, garment, place, crops)
    _sew(rng, picture, garment, place)
    picture[..., :3] *= (1 + 0.1 * rng.random() * noise(rng, (side, side), (2, 2)))[..., None]
    return picture


def _sheets(rng: Generator, side: int, crops: Sequence[NDArray[np.uint8]]) -> dict[str, Picture]:
    """Return the cloth of each role: mostly one cloth, sometimes another for sleeves or collar."""
    base = colour(rng)
    body = cloth(rng, side, base, crops)
    other = cloth(rng, side, colour(rng), crops)
    sleeve = other if rng.random() < 0.12 else body
    trim = other if rng.random() < 0.15 else body
    if rng.random() < 0.12:
        body = body.copy()
        lines = np.sort(rng.uniform(0.2, 0.9, 2) * side).astype(int)
        body[lines[0] : lines[1]] = cloth(rng, side, colour(rng), crops)[lines[0] : lines[1]]
    lining = body
    if rng.random() < 0.3:
        lining = np.broadcast_to(base * 0.4 + colour(rng) * 0.6, body.shape).astype(np.float32)
    return {
        **{"cloth": body, "sleeve": sleeve, "inside": lining, "collar": trim, "strap": trim},
        **{"hood": body, "lapel": body, "trim": trim},
    }


def _paint_part(
    rng: Generator,
    picture: Picture,
    part: Part,
    sheets: dict[str, Picture],
    place: _Placement,
    settings: PaintSettings,
) -> None:
    """Composite one part onto the picture, with a blurred shadow and folds."""
    side = picture.shape[0]
    corners = np.round((place.pixels(part.outline) - 0.5) * 2**_FINE).astype(np.int32)
    cover = np.zeros((side, side), np.uint8)
    cv2.fillPoly(cover, [corners], 255, cv2.LINE_AA, _FINE)
    x, y, w, h = cv2.boundingRect(corners)
    reach = round(0.03 * side)
    x0, y0 = max(0, (x >> _FINE) - reach), max(0, (y >> _FINE) - reach)
    x1, y1 = ((x + w) >> _FINE) + reach, ((y + h) >> _FINE) + reach
    window = (slice(y0, y1), slice(x0, x1))
    alpha = cover[window].astype(np.float32) / 255
    if alpha.size == 0:
        return
    below = picture[window]
    shadow = cv2.GaussianBlur(alpha, (0, 0), 0.012 * side)
    below[..., :3] *= (1 - rng.uniform(0.05, 0.45) * shadow * (1 - alpha))[..., None]
    inner = cv2.distanceTransform((alpha > 0.5).astype(np.uint8), cv2.DIST_L2, 3)
    rim = np.clip(inner / (rng.uniform(0.004, 0.03) * side), 0, 1)
    light = part.shade * (1 - rng.uniform(0.04, 0.28) * (1 - rim)) + _folds(
        rng, alpha.shape, part.role, settings
    )
    own = sheets[part.role][window] * light[..., None]
    below[..., :3] = alpha[..., None] * own + (1 - alpha[..., None]) * below[..., :3]
    below[..., 3] = np.maximum(below[..., 3], 255 * alpha)


def _folds(rng: Generator, shape: tuple[int, ...], role: str, settings: PaintSettings) -> NDArray[np.float32]:
    """Return the brightness change by folds, float32 (h, w), around 0."""
    high, wide = shape[:2]
    long = rng.uniform(2, 5), rng.uniform(6, 16)
    streaks = noise(rng, (high, wide), long if rng.random() < 0.7 else long[::-1])
    soft = noise(rng, (high, wide), (5, 5))
    strength = settings.fold * rng.uniform(0.2, 1.0) * (0.4 if role == "inside" else 1.0)
    return np.asarray(strength * (0.6 * streaks + 0.5 * soft), np.float32)


def _print(
    rng: Generator, picture: Picture, garment: Garment, place: _Placement, crops: Sequence[NDArray[np.uint8]]
) -> None:
    """Draw a random print on the chest and a label at the neck, each with some probability."""
    trunk = np.concatenate([part.outline for part in garment.parts if part.role == "cloth"])
    low, high = place.pixels(np.stack([trunk.min(0), trunk.max(0)]))
    width, height = high - low
    if rng.random() < SHARES.printed and width > 20:
        at = np.array([low[0] + width * rng.uniform(0.4, 0.6), low[1] + height * rng.uniform(0.25, 0.6)])
        _stamp(rng, picture, at, float(width) * rng.uniform(0.1, 0.55), crops)
    if rng.random() < 0.4 and "neck_front" in garment.points:
        x, y = place.pixels(np.array([garment.points["neck_front"]]))[0]
        half, deep = width * rng.uniform(0.02, 0.06), width * rng.uniform(0.02, 0.07)
        y -= deep + width * rng.uniform(0.0, 0.06)
        _fill(picture, np.array([[x - half, y], [x + half, y], [x + half, y + deep], [x - half, y + deep]]),
              colour(rng), 1.0)  # fmt: skip


def _stamp(
    rng: Generator, picture: Picture, at: NDArray[np.float64], size: float, crops: Sequence[NDArray[np.uint8]]
) -> None:
    style = rng.integers(4)
    ink = np.zeros(picture.shape[:2], np.uint8)
    x, y = (round(float(value)) for value in at)
    half = max(4, round(size / 2))
    if style == 0:
        text = "".join(rng.choice(list("ABCDEHKLMNORSTUWXZ"), rng.integers(3, 8)))
        grow = size / (22.0 * len(text))
        font = int(
            rng.choice([cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX, cv2.FONT_HERSHEY_SCRIPT_COMPLEX])
        )
        thick = max(1, round(grow * rng.uniform(1, 5)))
        for line in range(int(rng.integers(1, 4))):
            cv2.putText(
                ink, text, (x - half, y + round(34 * grow) * line), font, grow, 255, thick, cv2.LINE_AA
            )
        paint: NDArray[np.float32] = np.broadcast_to(colour(rng), (*picture.shape[:2], 3)).astype(np.float32)
    elif style == 1 and len(crops):
        paint = np.zeros((*picture.shape[:2], 3), np.float32)
        patch = cv2.resize(crops[int(rng.integers(len(crops)))], (2 * half, round(2.4 * half)))
        x0, y0 = max(0, x - half), max(0, y - half)
        room = paint[y0 : y0 + len(patch), x0 : x0 + 2 * half]
        room[:] = patch[: room.shape[0], : room.shape[1]]
        ink[y0 : y0 + len(patch), x0 : x0 + 2 * half] = 255
    else:
        paint = np.broadcast_to(colour(rng), (*picture.shape[:2], 3)).astype(np.float32)
        for _ in range(int(rng.integers(1, 5))):
            centre = (x + round(rng.normal(0, half / 2)), y + round(rng.normal(0, half / 2)))
            axes = (max(2, round(half * rng.uniform(0.1, 0.7))), max(2, round(half * rng.uniform(0.1, 0.7))))
            thick = -1 if rng.random() < 0.6 else max(1, half // 8)
            cv2.ellipse(ink, centre, axes, rng.uniform(0, 180), 0, 360, 255, thick, cv2.LINE_AA)
    share = (ink.astype(np.float32) / 255 * rng.uniform(0.7, 1.0) * (picture[..., 3] > 0))[..., None]
    picture[..., :3] = (1 - share) * picture[..., :3] + share * paint


def _fill(picture: Picture, corners: NDArray[np.float64], ink: NDArray[np.float32], share: float) -> None:
    """Fill a polygon inside the garment."""
    cover = np.zeros(picture.shape[:2], np.uint8)
    cv2.fillPoly(cover, [np.round(corners).astype(np.int32)], 255, cv2.LINE_AA)
    where = (cover.astype(np.float32) / 255 * share * (picture[..., 3] > 0))[..., None]
    picture[..., :3] = (1 - where) * picture[..., :3] + where * ink


def _sew(rng: Generator, picture: Picture, garment: Garment, place: _Placement) -> None:
    """Draw seams, ribbed edges and buttons."""
    side = picture.shape[0]
    lines = np.zeros((side, side), np.uint8)
    for seam in garment.seams:
        if rng.random() < 0.75:
            corners = np.round((place.pixels(seam) - 0.5) * 2**_FINE).astype(np.int32)
            wide = int(rng.choice([1, 2, 3, round(0.02 * side)], p=[0.45, 0.3, 0.15, 0.1]))
            cv2.polylines(lines, [corners], False, int(rng.integers(60, 255)), wide, cv2.LINE_AA, _FINE)
    share = cv2.GaussianBlur(lines, (0, 0), 0.8).astype(np.float32) / 255 * rng.uniform(0.1, 0.6)
    picture[..., :3] *= (1 - share)[..., None]
    button, radius = colour(rng), max(2, round(rng.uniform(0.008, 0.02) * place.scale))
    for point in garment.buttons:
        x, y = (round(float(value)) for value in place.pixels(np.array([point]))[0])
        cover = np.zeros((side, side), np.uint8)
        cv2.circle(cover, (x, y), radius, 255, -1, cv2.LINE_AA)
        share = cover.astype(np.float32)[..., None] / 255
        picture[..., :3] = (1 - share) * picture[..., :3] + share * button
