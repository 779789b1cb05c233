"""Twenty hard backgrounds for the garment mask, like those in photographs of private sellers.

All are computed with fixed seeds, and by other code than the backgrounds of the training.
"""

from collections.abc import Callable, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.images.arrays import Flags, Image
from worker.lab.evaluation.hard_garments import CutOut, composite

_Ground = NDArray[np.float32]
_Shape = tuple[int, int]


def composite_on(ground: str, garment: CutOut) -> tuple[Image, Flags]:
    """Return the garment on one of GROUNDS, saved as a JPEG, and its mask."""
    height, width = garment.mask.shape
    # Padding around it, as in hand-held photographs; the scale of the published picture stays.
    pad = width // 10
    mask = np.pad(garment.mask, pad)
    colours = np.pad(garment.colours, ((pad, pad), (pad, pad), (0, 0)), mode="edge")
    rng = np.random.default_rng(sorted(GROUNDS).index(ground))
    back = GROUNDS[ground](rng, (height + 2 * pad, width + 2 * pad))
    strength, reach = (0.6, 0.05) if "shadow" in ground else (0.3, 0.015)
    moved = np.array([[1, 0, reach * width], [0, 1, reach * width]])
    dark = cv2.warpAffine(mask.astype(np.float32), moved, mask.shape[::-1])
    dark = cv2.GaussianBlur(dark, (0, 0), 0.35 * reach * width)
    if "door" in ground:
        _hanger(back, mask)
    picture = composite(colours, mask, back * (1 - strength * dark)[..., None])
    noisy = picture + rng.normal(0, 3, picture.shape)
    _, coded = cv2.imencode(".jpg", np.clip(noisy, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 70])
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8), mask


def _hanger(back: _Ground, mask: Flags) -> None:
    """Draw a hanger behind the garment: its hook stands above the collar."""
    middle = int(np.mean(np.flatnonzero(mask.any(0))))
    top = int(np.flatnonzero(mask.any(1))[0])
    size = mask.shape[1] // 30
    cv2.ellipse(
        back, (middle, top - 2 * size), (size, size), 0, 150, 420, (90.0, 90.0, 95.0), size // 4, cv2.LINE_AA
    )
    cv2.line(back, (middle, top - size), (middle, top + 4 * size), (90.0, 90.0, 95.0), size // 4, cv2.LINE_AA)


def _smooth(rng: np.random.Generator, shape: _Shape, rows: int, columns: int) -> NDArray[np.float32]:
    grid = rng.normal(0, 1, (rows, columns)).astype(np.float32)
    return np.asarray(cv2.resize(grid, shape[::-1], interpolation=cv2.INTER_CUBIC), np.float32)


def _tinted(tone: tuple[int, int, int], relief: NDArray[np.float32]) -> _Ground:
    return np.asarray(np.array(tone, np.float32) * (1 + relief)[..., None], np.float32)


def _wood(tone: tuple[int, int, int], boards: int) -> Callable[[np.random.Generator, _Shape], _Ground]:
    def draw(rng: np.random.Generator, shape: _Shape) -> _Ground:
        grain = 0.07 * _smooth(rng, shape, 6, 160) + 0.05 * _smooth(rng, shape, 20, 40)
        across = np.arange(shape[1]) * boards / shape[1]
        relief = grain + rng.normal(0, 0.1, boards + 1)[across.astype(int)][None].astype(np.float32)
        relief[:, across % 1 < 0.02 * boards / 5] -= 0.35
        return _tinted(tone, relief)

    return draw


def _carpet(tone: tuple[int, int, int], pile: float) -> Callable[[np.random.Generator, _Shape], _Ground]:
    def draw(rng: np.random.Generator, shape: _Shape) -> _Ground:
        fibres = cv2.GaussianBlur(rng.normal(0, 1, shape).astype(np.float32), (0, 0), 1.6) * 3
        return _tinted(tone, pile * fibres + 0.08 * _smooth(rng, shape, 12, 9))

    return draw


def _sheet(
    tone: tuple[int, int, int], ink: tuple[int, int, int], pattern: str
) -> Callable[[np.random.Generator, _Shape], _Ground]:
    def draw(rng: np.random.Generator, shape: _Shape) -> _Ground:
        ground = _tinted(tone, np.zeros(shape, np.float32))
        y, x = np.mgrid[: shape[0], : shape[1]]
        if pattern == "stripes":
            ground[(x + y // 3) % 90 < 40] = ink
        elif pattern == "checks":
            for inside in (x % 120 < 55, y % 120 < 55):
                ground[inside] = 0.5 * ground[inside] + 0.5 * np.array(ink, np.float32)
        elif pattern == "flowers":
            for _ in range(160):
                centre = (int(rng.integers(shape[1])), int(rng.integers(shape[0])))
                for turn in range(0, 360, 60):
                    cv2.ellipse(
                        ground, centre, (34, 12), turn, 0, 360, tuple(map(float, ink)), -1, cv2.LINE_AA
                    )
        folds = 0.1 * _smooth(rng, shape, 5, 9) + 0.05 * _smooth(rng, shape, 14, 6)
        return np.asarray(ground * (1 + folds)[..., None], np.float32)

    return draw


def _tiles(tone: tuple[int, int, int], count: int) -> Callable[[np.random.Generator, _Shape], _Ground]:
    def draw(rng: np.random.Generator, shape: _Shape) -> _Ground:
        ground = _tinted(tone, 0.04 * _smooth(rng, shape, 30, 24) + 0.05 * _smooth(rng, shape, 4, 3))
        step = shape[1] / count
        for index in range(2 * count + 2):
            at = round((index + 0.3) * step)
            ground[at : at + 8] *= 0.7
            ground[:, at : at + 8] *= 0.7
        return ground

    return draw


def _door(tone: tuple[int, int, int]) -> Callable[[np.random.Generator, _Shape], _Ground]:
    def draw(rng: np.random.Generator, shape: _Shape) -> _Ground:
        height, width = shape
        ground = _tinted(tone, 0.03 * _smooth(rng, shape, 3, 3))
        for x0, x1 in ((0.1, 0.45), (0.55, 0.9)):
            for y0, y1 in ((0.06, 0.45), (0.53, 0.94)):
                box = (round(x0 * width), round(y0 * height)), (round(x1 * width), round(y1 * height))
                cv2.rectangle(ground, *box, tuple(0.75 * value for value in tone), 10)
                cv2.rectangle(ground, *box, tuple(1.08 * value for value in tone), 3)
        ground[:, : round(0.03 * width)] *= 0.6
        return ground

    return draw


GROUNDS: Mapping[str, Callable[[np.random.Generator, _Shape], _Ground]] = {
    "wood light": _wood((205, 176, 138), 6),
    "wood dark": _wood((96, 66, 48), 5),
    "wood red": _wood((152, 92, 62), 9),
    "wood grey": _wood((176, 172, 166), 4),
    "carpet beige": _carpet((188, 170, 148), 0.2),
    "carpet grey": _carpet((120, 122, 128), 0.25),
    "carpet red": _carpet((140, 46, 50), 0.18),
    "sheet blue stripes": _sheet((222, 226, 232), (120, 150, 200), "stripes"),
    "sheet red checks": _sheet((235, 228, 220), (190, 60, 60), "checks"),
    "sheet flowers": _sheet((238, 232, 222), (214, 120, 140), "flowers"),
    "sheet dark flowers": _sheet((52, 60, 84), (170, 150, 200), "flowers"),
    "sheet plain pink": _sheet((226, 176, 184), (0, 0, 0), "plain"),
    "tiles white": _tiles((226, 226, 224), 4),
    "tiles beige": _tiles((200, 184, 160), 3),
    "tiles small": _tiles((150, 166, 172), 8),
    "door white": _door((226, 224, 220)),
    "door brown": _door((134, 94, 66)),
    "door grey": _door((150, 154, 158)),
    "strong shadow on white": _sheet((236, 236, 234), (0, 0, 0), "plain"),
    "strong shadow on wood": _wood((190, 150, 110), 5),
}
"""Name -> draws the background of a shape; RGB float32 (h, w, 3), 0..255."""
