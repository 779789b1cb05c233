"""A canvas on which a garment's parts are composited from back to front, with shading and texture."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.images.arrays import Canvas, Floats, Mask, Points
from worker.images.frame import HEIGHT, WIDTH
from worker.lab.demo.curves import MIDDLE, Fold, Path, Point, mirror, normals

BACKGROUND = 246
"""The grey level behind a garment: the light grey of product photographs."""

SUPERSAMPLING = 2
"""Garments are drawn at this multiple of the canvas's size and reduced by area, for smooth edges."""

Colour = tuple[int, int, int]

Fabric = Callable[[Floats, Floats], Floats]
"""Canvas coordinates x, y, float32 (h, w) -> the fabric's colour before shading, float32 (h, w, 3)."""

# Shading. Distances are in canvas pixels; light is a factor, 1 for the fabric's own colour.
_BODY_EDGE, _SLEEVE_EDGE, _CUFF_EDGE = (46, 0.22), (34, 0.26), (16, 0.25)
"""How far from its outline a part curves away from the light, and how much darker its outline is."""
_SEAM_WIDTH, _SEAM_LIGHT = 1.6, 0.55
"""The dark line where a ribbed band is sewn on."""
_LEFT_SLEEVE_LIGHT = -0.05
"""Light comes from the upper left: the sleeve on the picture's right is a little darker."""
_ARMHOLE_SHADOW, _COLLAR_SHADOW, _HEM_SHADOW = 0.30, 0.28, 0.10
"""How much the body darkens the sleeves, the collar the body, and a hem's fold the fabric beside it."""
_NECKLINE_SHADOW = 0.55
"""Opacity of the shadow that the front neckline casts on the inner back."""
_LABEL_COLOUR, _LABEL_TEXT_COLOUR = (236, 232, 224), (90, 90, 90)

_POLYGON_SHIFT = 4
"""Fractional bits of the coordinates that OpenCV's drawing functions take."""


@dataclass(frozen=True)
class Drawing:
    """A drawn garment with its exact mask and landmarks.

    Attributes:
        image: RGB uint8 (1024, 768, 3), on light grey.
        mask: uint8 (1024, 768), the alpha.
        landmarks: name -> (x, y) of the wearer's right side and the middle, named as in
            `worker.cloth.landmarks`; the left side is the mirror image.
    """

    image: Canvas
    mask: Mask
    landmarks: dict[str, Point]


class GarmentCanvas:
    """A canvas at SUPERSAMPLING times the size; each `draw_*` composites one part over the previous ones."""

    def __init__(self, seed: int) -> None:
        """Start with the background and the fabric's texture, which the seed determines."""
        random = np.random.RandomState(seed)  # NumPy guarantees that its stream does not change
        self._shape = (HEIGHT * SUPERSAMPLING, WIDTH * SUPERSAMPLING)
        self._image = np.full((*self._shape, 3), BACKGROUND, np.float32)
        self._alpha = np.zeros(self._shape, np.float32)
        ys, xs = np.indices(self._shape, np.float32)
        self._x, self._y = (xs + 0.5) / SUPERSAMPLING, (ys + 0.5) / SUPERSAMPLING
        # A fine weave, and large smooth waves that are longer vertically than horizontally.
        grain = random.standard_normal(self._shape).astype(np.float32)
        fine = cv2.GaussianBlur(grain, (0, 0), 0.9)
        weave = np.sin(self._x * np.pi * 1.0) * np.sin(self._y * np.pi * 0.8)
        self._texture: Floats = 0.016 * fine / fine.std() + 0.008 * weave
        coarse = cv2.resize(grain[:48, :36], (192, 256), interpolation=cv2.INTER_CUBIC)
        coarse = cv2.GaussianBlur(coarse, (0, 0), sigmaX=2.75, sigmaY=7.5)
        coarse = cv2.resize(coarse, self._shape[::-1], interpolation=cv2.INTER_CUBIC)
        self._waves: Floats = np.asarray(0.022 * coarse / coarse.std(), np.float32)

    def draw_inner_back(self, back: Path, front: Path, colour: Colour, *, rib_colour: Colour) -> None:
        """Draw the inner back that is visible between the back and the front neckline, with its label."""
        back_line, front_line = back.symmetric_points(), front.symmetric_points()
        top = back.end[1]
        opening = self._coverage(np.vstack([back_line, front_line[::-1]]))
        below = np.clip((self._y - top) / 60, 0, 1)
        self._composite(opening, self._solid(colour), 0.80 + 0.2 * below)
        band = self._stroke(back_line + np.array([0, 7.0]), 15) * opening
        self._composite(band, self._solid(rib_colour), 0.9 * _ribs(self._x, 3.2, 0.06))
        band_edge = self._stroke(back_line + np.array([0, 15.5]), 1.6) * opening
        self._composite(band_edge * 0.5, self._solid(colour), self._light(0.6))
        shadow = cv2.GaussianBlur(self._stroke(front_line, 16), (0, 0), 7 * SUPERSAMPLING) * opening
        self._composite(_NECKLINE_SHADOW * shadow, self._solid(colour), self._light(0.45))
        self._draw_label(top)

    def _draw_label(self, top: float) -> None:
        """Draw a label of 34×15 pixels with one line of text, 9 pixels below `top`."""
        x, y = MIDDLE, top
        label = self._coverage(
            np.array([(x - 17, y + 9), (x + 17, y + 9), (x + 17, y + 24), (x - 17, y + 24)])
        )
        self._composite(label, self._solid(_LABEL_COLOUR), self._light(0.97))
        text = self._stroke(np.array([(x - 10, y + 16.5), (x + 10, y + 16.5)]), 2.2)
        self._composite(0.6 * text, self._solid(_LABEL_TEXT_COLOUR), self._light(1))

    def draw_sleeves(self, outline: Path, fabric: Fabric, folds: Sequence[Fold]) -> None:
        """Draw the wearer's right sleeve, and the left one as its mirror image."""
        right = outline.points()
        for points, is_left in ((right, False), (mirror(right), True)):
            coverage = self._coverage(points)
            light = self._edge_light(coverage, *_SLEEVE_EDGE) + self._waves
            for fold in folds:
                light += _fold_light(fold.mirrored() if is_left else fold, self._shape)
            light += _LEFT_SLEEVE_LIGHT if is_left else 0.0
            self._composite(coverage, fabric(self._x, self._y), light)

    def draw_cuffs(self, sleeve: Path, outer: Point, inner: Point, depth: float, colour: Colour) -> None:
        """Draw a ribbed cuff at the end of both sleeves.

        Args:
            sleeve: the right sleeve's outline.
            outer, inner: the ends of the right sleeve's opening.
            depth: the cuff's height, canvas pixels.
            colour: the cuff's.
        """
        right = sleeve.points()
        opening = np.array([outer, inner])
        along = (opening[1] - opening[0]) / np.linalg.norm(opening[1] - opening[0])
        up = np.array([along[1], -along[0]])
        for is_left in (False, True):
            coverage = self._coverage(mirror(right) if is_left else right)
            x = 2 * MIDDLE - self._x if is_left else self._x
            height = (x - opening[0, 0]) * up[0] + (self._y - opening[0, 1]) * up[1]
            position = (x - opening[0, 0]) * along[0] + (self._y - opening[0, 1]) * along[1]
            cuff = coverage * np.clip((depth - height) * SUPERSAMPLING, 0, 1)
            light = self._edge_light(coverage, *_CUFF_EDGE) * _ribs(position, 4.5, 0.10)
            self._composite(cuff, self._solid(colour), light)
            self._composite_seam(coverage, height - depth, colour)

    def draw_body(self, outline: Path, front: Path, fabric: Fabric, folds: Sequence[Fold]) -> None:
        """Draw the body below the front neckline; `outline` is its right half."""
        half = outline.points()
        coverage = self._coverage(np.vstack([half, mirror(half)[::-1], front.symmetric_points()[::-1]]))
        # A shadow on the sleeves along the armholes' seams.
        near = cv2.GaussianBlur(coverage, (0, 0), 4 * SUPERSAMPLING) * self._alpha
        self._image *= 1 - _ARMHOLE_SHADOW * (near * (1 - coverage))[..., None]
        light = self._edge_light(coverage, *_BODY_EDGE) + self._waves
        for fold in folds:
            light += _fold_light(fold, self._shape)
        # Lighter on the left, darker on the right, where the body curves away.
        light += 0.03 - 0.06 * np.clip((self._x - MIDDLE) / 160, -1, 1) * np.abs((self._x - MIDDLE) / 160)
        self._composite(coverage, fabric(self._x, self._y), light)

    def draw_collar(self, front: Path, width: float, colour: Colour) -> None:
        """Draw the ribbed band below the front neckline, with its shadow on the body."""
        line = front.symmetric_points()
        centre = np.array([MIDDLE, front.start[1] - 30])
        # The band keeps its width where the neckline rises: offset it along the outward normal.
        normal = -normals(line)
        normal *= np.where(np.sum(normal * (line - centre), axis=1, keepdims=True) < 0, -1, 1)
        middle = line + normal * width / 2
        coverage = self._stroke(middle, width) * self._alpha
        angle = np.arctan2(self._y - centre[1], self._x - centre[0])
        ribs = 1 + 0.07 * np.sin(angle * 130)
        distance = self._distance_to(middle) / (width / 2)
        light = (1.02 - 0.16 * np.clip(distance, 0, 1) ** 2) * ribs
        shadow = cv2.GaussianBlur(coverage, (0, 0), 2.5 * SUPERSAMPLING) * (1 - coverage) * self._alpha
        self._image *= 1 - _COLLAR_SHADOW * shadow[..., None]
        self._composite(coverage, self._solid(colour), light)

    def draw_binding(self, path: Path, width: float, colour: Colour) -> None:
        """Draw a narrow binding inside a part of the outline, on both sides."""
        line = path.points()
        for points in (line, mirror(line)):
            coverage = self._stroke(points, 2 * width) * self._alpha
            self._composite(coverage, self._solid(colour), self._light(1))

    def draw_ribbed_hem(self, hem_y: float, depth: float, colour: Colour) -> None:
        """Draw a ribbed band of this height at the body's lower end, canvas pixels."""
        inside = np.abs(self._x - MIDDLE) < 190  # the body's half width; the sleeves are farther out
        coverage = self._alpha * np.clip((self._y - (hem_y - depth)) * SUPERSAMPLING, 0, 1) * inside
        side = 1 - 0.16 * (np.abs(self._x - MIDDLE) / 180) ** 4
        self._composite(coverage, self._solid(colour), (_ribs(self._x, 5, 0.09) * side).astype(np.float32))
        self._composite_seam(self._alpha * inside, self._y - hem_y + depth, colour)

    def draw_stitches(self, path: Path, inset: float) -> None:
        """Draw a hem's double row of stitches, `inset` canvas pixels from a part of the outline."""
        line = path.points()
        normal = normals(line)
        for extra in (0.0, 4.0):
            row = line + normal * (inset + extra)
            for points in (row, mirror(row)):
                coverage = self._stroke(points, 1.3) * self._alpha
                dashes = 0.65 + 0.35 * np.sign(np.sin(self._x * 2 * np.pi / 4.2))
                self._image *= 1 - (0.26 * coverage * dashes)[..., None]
        # The hem's fold is visible as a smooth step.
        for points in (line + normal * (inset + 7), mirror(line + normal * (inset + 7))):
            step = cv2.GaussianBlur(self._stroke(points, 3), (0, 0), 2 * SUPERSAMPLING) * self._alpha
            self._image *= 1 - _HEM_SHADOW * step[..., None]

    def finish(self, landmarks: dict[str, Point]) -> Drawing:
        """Return the drawing at the canvas's size, the garment centred vertically."""
        rows = np.nonzero((self._alpha > 0.5).any(1))[0]
        down = round((HEIGHT - (rows[0] + rows[-1] + 1) / SUPERSAMPLING) / 2)
        size = (WIDTH, HEIGHT)
        image = cv2.resize(np.clip(self._image, 0, 255), size, interpolation=cv2.INTER_AREA)
        mask = cv2.resize(np.clip(self._alpha, 0, 1) * 255, size, interpolation=cv2.INTER_AREA)
        # The rows that wrap around are background.
        return Drawing(
            np.roll(np.round(image).astype(np.uint8), down, axis=0),
            np.roll(np.round(mask).astype(np.uint8), down, axis=0),
            {name: (x, y + down) for name, (x, y) in landmarks.items()},
        )

    def _composite(self, coverage: Floats, colour: Floats, light: Floats) -> None:
        """Blend a colour, times its light and the texture, over the picture by its coverage, 0..1."""
        x, y, width, height = cv2.boundingRect((coverage > 0).astype(np.uint8))
        part = slice(y, y + height), slice(x, x + width)
        alpha = coverage[part].astype(np.float32)
        textured = (light[part] + self._texture[part]).astype(np.float32)
        image = self._image[part]
        image += alpha[..., None] * (np.minimum(colour[part] * textured[..., None], 255) - image)
        self._alpha[part] = np.maximum(self._alpha[part], alpha)

    def _composite_seam(self, coverage: Floats, distance: Floats, colour: Colour) -> None:
        """Composite a dark line where the distance, canvas pixels, is zero."""
        seam = coverage * np.exp(-((distance / _SEAM_WIDTH) ** 2))
        self._composite(0.5 * seam, self._solid(colour), self._light(_SEAM_LIGHT))

    def _solid(self, colour: Colour) -> Floats:
        return np.broadcast_to(np.array(colour, np.float32), (*self._shape, 3))

    def _light(self, value: float) -> Floats:
        return np.full(self._shape, value, np.float32)

    def _coverage(self, polygon: Points) -> Floats:
        """Return how much of each pixel a polygon covers, float32, 0..1."""
        coverage = np.zeros(self._shape, np.uint8)
        cv2.fillPoly(coverage, [_to_fixed_point(polygon)], 255, lineType=cv2.LINE_AA, shift=_POLYGON_SHIFT)
        return coverage.astype(np.float32) / 255

    def _stroke(self, line: Points, width: float) -> Floats:
        """Return how much of each pixel a line of this width covers, float32, 0..1."""
        distance = self._distance_to(line)
        return np.asarray(np.clip((width / 2 - distance) * SUPERSAMPLING + 0.5, 0, 1), np.float32)

    def _distance_to(self, line: Points) -> Floats:
        """Return each pixel's distance to a line, float32, canvas pixels."""
        picture = np.full(self._shape, 255, np.uint8)
        cv2.polylines(picture, [_to_fixed_point(line)], False, 0, 1, shift=_POLYGON_SHIFT)
        return np.asarray(cv2.distanceTransform(picture, cv2.DIST_L2, 5) / SUPERSAMPLING, np.float32)

    def _edge_light(self, coverage: Floats, reach: float, depth: float) -> Floats:
        """Return the light on a part that curves away at its outline, float32.

        Args:
            coverage: the part's, 0..1.
            reach: how far from the outline it is darker, canvas pixels.
            depth: how much darker it is at the outline.
        """
        solid = (coverage > 0.5).astype(np.uint8)
        distance = cv2.distanceTransform(solid, cv2.DIST_L2, 5) / SUPERSAMPLING
        return (1 - depth * np.exp(-distance / (0.35 * reach))).astype(np.float32)


def _to_fixed_point(points: Points) -> NDArray[np.int32]:
    """Return canvas points, (n, 2), as fixed-point pixels of the larger picture."""
    half_pixel = 2 ** (_POLYGON_SHIFT - 1)
    return np.asarray(np.round(points * (SUPERSAMPLING * 2**_POLYGON_SHIFT) - half_pixel), np.int32)


def _ribs(position: Floats, period: float, depth: float) -> Floats:
    """Return the light of ribs across a band: `period` canvas pixels apart, ±`depth` of the light."""
    return np.asarray(1 + depth * np.sin(position * 2 * np.pi / period))


def _fold_light(fold: Fold, shape: tuple[int, int]) -> Floats:
    """Return the light of one fold: a dark valley with a lit ridge on its left, fading at its ends."""
    t = np.linspace(0, 1, 60)[:, None]
    start, control, end = (np.array(point) for point in (fold.start, fold.control, fold.end))
    line = (1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * end
    strength = np.zeros((HEIGHT // 2, WIDTH // 2), np.float32)  # smooth: half the canvas's size is enough
    fixed = np.round(line / 2 * 2**_POLYGON_SHIFT).astype(np.int32)
    for a, b, s in zip(fixed[:-1], fixed[1:], np.sin(np.pi * t[:-1, 0]) ** 0.8, strict=True):
        cv2.line(strength, tuple(map(int, a)), tuple(map(int, b)), float(s), 1, shift=_POLYGON_SHIFT)
    blurred = cv2.GaussianBlur(strength, (0, 0), 0.25 * fold.width)
    valley = np.asarray(blurred / max(float(blurred.max()), 1e-6), np.float32)
    to_ridge = np.array([[1, 0, -0.45 * fold.width], [0, 1, -0.15 * fold.width]], np.float64)
    ridge = cv2.warpAffine(valley, to_ridge, valley.shape[::-1])
    light = fold.depth * (0.7 * ridge - 1.2 * valley)
    return np.asarray(cv2.resize(light, shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
