"""Colours, cloth and backgrounds for drawn garments and composited pictures."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Picture = NDArray[np.float32]
"""RGB, (h, w, 3), 0..255."""


@dataclass(frozen=True)
class FabricShares:
    """Relative frequency of each pattern, as in shops: most garments are plain.

    Attributes:
        plain, stripes, checks, dots, blobs, crop: weights of the patterns; `crop` is cut from a photograph.
        white, black: share of garments that are nearly white or black: both are common and hard to segment.
        printed: share of garments with something printed on the chest.
    """

    plain: float = 0.46
    stripes: float = 0.12
    checks: float = 0.06
    dots: float = 0.06
    blobs: float = 0.1
    crop: float = 0.2
    white: float = 0.24
    black: float = 0.2
    printed: float = 0.35


SHARES = FabricShares()


def colour(rng: Generator) -> NDArray[np.float32]:
    """Return a garment's colour, RGB (3,)."""
    draw = rng.random()
    if draw < SHARES.white:
        return np.asarray(rng.uniform(222, 252) + rng.normal(0, 3, 3), np.float32)
    if draw < SHARES.white + SHARES.black:
        return np.asarray(np.clip(rng.uniform(15, 50) + rng.normal(0, 4, 3), 5, 255), np.float32)
    hsv = np.array([[[rng.integers(0, 180), rng.integers(20, 230), rng.integers(70, 245)]]], np.uint8)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0], np.float32)


def noise(rng: Generator, size: tuple[int, int], cells: tuple[float, float]) -> NDArray[np.float32]:
    """Return smooth noise, float32 (h, w), mean 0 and about ±1, from a random grid of (rows, columns)."""
    rows, columns = max(2, round(cells[0])), max(2, round(cells[1]))
    grid = rng.normal(0, 0.6, (rows, columns)).astype(np.float32)
    return np.asarray(cv2.resize(grid, size[::-1], interpolation=cv2.INTER_CUBIC), np.float32)


def cloth(
    rng: Generator, side: int, base: NDArray[np.float32], crops: Sequence[NDArray[np.uint8]]
) -> Picture:
    """Return cloth, (side, side, 3), of a base colour: plain or with a random pattern."""
    names = ["plain", "stripes", "checks", "dots", "blobs", "crop"]
    weights = np.array([getattr(SHARES, name) for name in names])
    name = str(rng.choice(names, p=weights / weights.sum()))
    sheet = np.empty((side, side, 3), np.float32)
    sheet[:] = base
    if name == "crop" and len(crops):
        patch = crops[int(rng.integers(len(crops)))]
        sheet[:] = cv2.resize(patch, (side, side), interpolation=cv2.INTER_LINEAR)
    elif name in ("stripes", "checks"):
        _stripe(rng, sheet, both=name == "checks")
    elif name == "dots":
        _dots(rng, sheet)
    elif name == "blobs":
        _blobs(rng, sheet)
    weave = rng.uniform(0, 5) * rng.normal(0, 1, (side, side, 1)).astype(np.float32)
    return sheet + cv2.GaussianBlur(weave, (0, 0), 0.8)[..., None]


def _stripe(rng: Generator, sheet: Picture, both: bool) -> None:
    side = len(sheet)
    period = rng.uniform(0.015, 0.16) * side
    y, x = np.mgrid[:side, :side].astype(np.float32)
    tones = [colour(rng) for _ in range(2)]
    directions = (0.0, np.pi / 2) if both else (rng.choice([0.0, 0.0, np.pi / 2, rng.uniform(0, np.pi)]),)
    for index, angle in enumerate(directions):
        wave = (np.cos(angle) * y + np.sin(angle) * x) / period % 1
        band = (wave < rng.uniform(0.1, 0.6))[..., None]
        strength = rng.uniform(0.3, 0.6) if both else 1.0
        sheet[:] = np.where(band, (1 - strength) * sheet + strength * tones[index], sheet)


def _dots(rng: Generator, sheet: Picture) -> None:
    side = len(sheet)
    period, radius = rng.uniform(0.03, 0.12) * side, rng.uniform(0.15, 0.4)
    y, x = np.mgrid[:side, :side].astype(np.float32) / period
    shift = 0.5 * (np.floor(y) % 2)
    inside = ((y % 1 - 0.5) ** 2 + ((x + shift) % 1 - 0.5) ** 2 < radius**2)[..., None]
    sheet[:] = np.where(inside, colour(rng), sheet)


def _blobs(rng: Generator, sheet: Picture) -> None:
    side = len(sheet)
    for _ in range(int(rng.integers(1, 4))):
        cells = rng.uniform(8, 50)
        inside = noise(rng, (side, side), (cells, cells)) > rng.uniform(0.1, 0.7)
        sheet[:] = np.where(inside[..., None], colour(rng), sheet)


def background(rng: Generator, side: int, crops: Sequence[NDArray[np.uint8]], plain: float) -> Picture:
    """Return a background, (side, side, 3): a studio with probability `plain`, else a floor or a bed."""
    if rng.random() < plain:
        return _studio(rng, side)
    if len(crops) and rng.random() < 0.55:
        patch = crops[int(rng.integers(len(crops)))]
        if rng.random() < 0.5:
            # Mirrored copies side by side have no visible joints, and a finer texture.
            row = np.concatenate([patch, patch[:, ::-1]], 1)
            patch = np.concatenate([row, row[::-1]], 0)
        sheet = cv2.resize(patch, (side, side), interpolation=cv2.INTER_LINEAR).astype(np.float32)
        if rng.random() < 0.5:
            sheet = np.ascontiguousarray(np.rot90(sheet, int(rng.integers(4))))
    else:
        sheet = _floor(rng, side)
    light = 1 + rng.uniform(0, 0.25) * noise(rng, (side, side), (3, 3))
    return np.asarray(sheet * light[..., None], np.float32)


def _studio(rng: Generator, side: int) -> Picture:
    level = rng.choice([246.0, 255.0, rng.uniform(225, 255), rng.uniform(190, 240)], p=[0.35, 0.3, 0.25, 0.1])
    tint = rng.normal(0, 1.5, 3) if level < 255 else np.zeros(3)
    return studio(rng, side, np.asarray(level + tint, np.float32))


def studio(rng: Generator, side: int, tone: NDArray[np.float32]) -> Picture:
    """Return a plain background, (side, side, 3), of a colour, RGB (3,); sometimes unevenly lit."""
    sheet = np.empty((side, side, 3), np.float32)
    sheet[:] = tone
    if rng.random() < 0.3:
        sheet *= (1 + 0.04 * noise(rng, (side, side), (2, 2)))[..., None]
    return sheet


def _pattern(rng: Generator, sheet: Picture) -> None:
    """Draw a pattern on a sheet: stripes, checks, blobs or dots."""
    style = rng.integers(4)
    if style < 2:
        _stripe(rng, sheet, both=bool(style))
    elif style == 2:
        _blobs(rng, sheet)
    else:
        _dots(rng, sheet)


def _floor(rng: Generator, side: int) -> Picture:
    """Return a floor of boards, tiles or carpet, or a patterned sheet."""
    base = np.asarray(rng.uniform(60, 230) + rng.normal(0, 18, 3), np.float32)
    sheet = np.empty((side, side, 3), np.float32)
    sheet[:] = base
    y, x = np.mgrid[:side, :side].astype(np.float32) / side
    style = int(rng.choice(4, p=[0.2, 0.2, 0.2, 0.4]))
    if style == 0:
        boards = rng.uniform(3, 12)
        grain = noise(rng, (side, side), (4, 60))
        board = np.floor(x * boards)
        tones = rng.normal(0, 12, 16)[board.astype(int) % 16]
        sheet += (tones + 10 * grain)[..., None].astype(np.float32)
        sheet[(x * boards % 1) < 0.03 * boards / 6] *= 0.6
    elif style == 1:
        tiles = rng.uniform(2, 7)
        joint = ((x * tiles % 1) < 0.03) | ((y * tiles % 1) < 0.03)
        sheet[joint] *= rng.uniform(0.6, 1.3)
        sheet += (8 * noise(rng, (side, side), (6, 6)))[..., None]
    elif style == 2:
        sheet += (rng.uniform(5, 22) * rng.normal(0, 1, (side, side, 1))).astype(np.float32)
        sheet += (14 * noise(rng, (side, side), (40, 40)))[..., None]
    else:
        _pattern(rng, sheet)
        sheet += (25 * noise(rng, (side, side), (5, 9)))[..., None]
    if rng.random() < 0.5:
        sheet = np.ascontiguousarray(np.rot90(sheet, 1))
    return sheet
