"""Draws the demo's garments: the project's own pictures, laid out as product photographs are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from worker.images.frame import HEIGHT, WIDTH

NAMES = ("long_sleeve", "word_tee", "striped_tee", "tank")
"""The garments that `draw` knows; the first is the demo's."""

BACKGROUND = 246

_S = 2  # supersampling: drawn at twice the size, brought down by area
_MIDDLE = WIDTH / 2

Colour = tuple[int, int, int]
Cloth = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Canvas coordinates x, y (h, w) of a part -> its colour before shading, float32 (h, w, 3)."""


@dataclass(frozen=True)
class Drawing:
    """A drawn garment and what is known of it exactly.

    Attributes:
        image: RGB uint8 (1024, 768, 3), on light grey.
        mask: uint8 (1024, 768), soft alpha.
        landmarks: name -> (x, y) of the wearer's right side and the middle, named as in
            `worker.cloth.landmarks`; the left side is the mirror image.
    """

    image: np.ndarray
    mask: np.ndarray
    landmarks: dict[str, tuple[float, float]]


def draw(name: str) -> np.ndarray:
    """Return the picture of the garment, RGB uint8 (1024, 768, 3); the same for every call.

    Raises KeyError for a name that is not in NAMES.
    """
    return drawing(name).image.copy()


@lru_cache(maxsize=len(NAMES))
def drawing(name: str) -> Drawing:
    """Return the garment's picture with its exact mask and landmarks."""
    return {"striped_tee": _striped_tee, "word_tee": _word_tee, "long_sleeve": _long_sleeve, "tank": _tank}[
        name
    ]()


# --- the four garments ---------------------------------------------------------------------------


def _striped_tee() -> Drawing:
    navy, cream = (38, 52, 92), (236, 226, 205)

    def stripes(across: np.ndarray) -> np.ndarray:
        wave = np.abs((across / 44.0) % 1.0 - 0.5) * 44.0  # distance from a stripe's middle
        share = np.clip((8.5 - wave) * 1.0 + 0.5, 0, 1)[..., None]
        return _mix(navy, cream, share)

    def body(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return stripes(y - 7 * ((x - _MIDDLE) / 150) ** 2 + 2 * np.sin(y / 90 + x / 70))

    def sleeve(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        # Along the sleeve, which runs down and out from the shoulder; the same on both sides.
        out = np.abs(x - _MIDDLE) - 166
        along = 0.56 * out + 0.83 * (y - 186)
        return stripes(along + 0.0004 * out**2 + 14)

    return _tee(body, sleeve, rib=navy, inside=(58, 70, 106), seed=3)


def _word_tee() -> Drawing:
    coral = (214, 92, 70)
    picture = Image.new("L", (WIDTH * _S, HEIGHT * _S), 0)
    pen = ImageDraw.Draw(picture)
    for text, size, height in (("GOOD DAY", 50, 412), ("every day", 27, 462)):
        font = ImageFont.load_default(size=size * _S)
        pen.text(
            (_MIDDLE * _S, height * _S), text, fill=255, font=font, anchor="mm", stroke_width=size * _S // 34
        )
    pen.line([(312 * _S, 372 * _S), (456 * _S, 372 * _S)], fill=255, width=4 * _S)
    pen.ellipse([(372 * _S, 318 * _S), (396 * _S, 342 * _S)], fill=255)
    for turn in np.linspace(0, 2 * np.pi, 12, endpoint=False):
        ray = [((_MIDDLE + r * np.cos(turn)) * _S, (330 + r * np.sin(turn)) * _S) for r in (18.0, 27.0)]
        pen.line(ray, fill=255, width=3 * _S)
    ink = cv2.GaussianBlur(np.asarray(picture, np.float32) / 255, (0, 0), 0.8)

    def body(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        # The print follows the cloth's slow waves.
        moved = cv2.remap(
            ink,
            ((x + 1.5 * np.sin(y / 40)) * _S).astype(np.float32),
            ((y + 2.0 * np.sin(x / 55)) * _S).astype(np.float32),
            cv2.INTER_LINEAR,
        )
        return _mix(coral, (250, 240, 222), 0.95 * moved[..., None])

    return _tee(body, _plain(coral), rib=(200, 80, 60), inside=(176, 70, 54), seed=5)


def _long_sleeve() -> Drawing:
    green = (62, 96, 82)
    r = {
        "neck": (318.0, 118.0),
        "shoulder": (210.0, 156.0),
        "armpit": (216.0, 330.0),
        "cuff_outer": (70.0, 742.0),
        "cuff_inner": (134.0, 760.0),
        "hem": (206.0, 752.0),
    }
    hem_y = 762.0
    body = [
        ("M", r["neck"]),
        ("C", (282, 134), (244, 142), r["shoulder"]),
        ("C", (212, 210), (226, 280), r["armpit"]),
        ("C", (228, 460), (222, 600), r["hem"]),
        ("C", (262, 762), (324, hem_y), (_MIDDLE, hem_y)),
    ]
    sleeve = [
        ("M", r["shoulder"]),
        ("C", (164, 174), (144, 236), (132, 330)),
        ("C", (114, 470), (90, 610), r["cuff_outer"]),
        ("C", (86, 752), (112, 758), r["cuff_inner"]),
        ("C", (164, 610), (192, 460), r["armpit"]),
        ("C", (226, 280), (212, 210), r["shoulder"]),
    ]
    bench = _Bench(11)
    back = [("M", r["neck"]), ("C", (340, 126), (362, 128), (_MIDDLE, 128))]
    front = [("M", r["neck"]), ("C", (326, 160), (352, 182), (_MIDDLE, 182))]
    bench.inside(back, front, (38, 62, 53), rib=(44, 72, 62))
    folds = [
        ((160, 330), (182, 420), (158, 520), 9, 0.09),
        ((140, 470), (160, 540), (136, 640), 8, 0.10),
        ((170, 300), (190, 350), (222, 380), 10, 0.10),
        ((106, 600), (120, 640), (100, 705), 7, 0.08),
        ((134, 520), (150, 560), (136, 660), 7, 0.08),
    ]
    bench.sleeves(sleeve, _plain(green), folds)
    bench.band(sleeve, r["cuff_outer"], r["cuff_inner"], 34, (54, 86, 73))
    bench.body(
        body,
        front,
        _plain(green),
        [
            ((236, 345), (300, 380), (340, 470), 14, 0.09),
            ((240, 420), (262, 560), (250, 700), 16, 0.07),
            ((532, 350), (480, 390), (440, 500), 14, 0.09),
            ((530, 470), (510, 580), (530, 710), 16, 0.08),
            ((350, 540), (366, 640), (344, 740), 18, 0.06),
            ((420, 560), (410, 640), (428, 740), 16, 0.05),
        ],
    )
    bench.ribbed_hem(hem_y, 38, (54, 86, 73))
    bench.collar(front, 20, (52, 84, 71))
    return bench.finish({f"r_{k}": v for k, v in r.items()} | {"hem_centre": (_MIDDLE, hem_y)})


def _tank() -> Drawing:
    wine, dot = (122, 36, 56), (238, 214, 200)

    def dots(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        pitch = 38.0
        row = np.round(y / (pitch * 0.5))
        u = (x - _MIDDLE) / pitch + 0.5 * (row % 2)
        du, dv = (u - np.round(u)) * pitch, y - row * pitch * 0.5
        return _mix(wine, dot, np.clip(5.2 - np.hypot(du, dv) + 0.5, 0, 1)[..., None])

    r = {
        "neck": (304.0, 96.0),
        "shoulder": (246.0, 108.0),
        "armpit": (214.0, 344.0),
        "hem": (192.0, 820.0),
    }
    hem_y = 834.0
    bench = _Bench(17)
    back = [("M", r["neck"]), ("C", (312, 150), (344, 178), (_MIDDLE, 178))]
    front = [("M", r["neck"]), ("C", (308, 210), (336, 274), (_MIDDLE, 274))]
    bench.inside(back, front, (88, 26, 42), rib=(100, 30, 47))
    body = [
        ("M", r["neck"]),
        ("L", r["shoulder"]),
        ("C", (258, 190), (262, 286), r["armpit"]),
        ("C", (232, 450), (234, 520), (224, 600)),
        ("C", (216, 680), (200, 750), r["hem"]),
        ("C", (252, 832), (324, hem_y), (_MIDDLE, hem_y)),
    ]
    bench.body(
        body,
        front,
        dots,
        [
            ((226, 372), (290, 400), (330, 470), 14, 0.09),
            ((542, 372), (490, 400), (444, 480), 14, 0.10),
            ((250, 560), (276, 700), (240, 815), 18, 0.09),
            ((330, 600), (352, 760), (322, 828), 20, 0.08),
            ((432, 580), (420, 740), (446, 828), 20, 0.08),
            ((520, 560), (500, 720), (530, 815), 18, 0.09),
        ],
    )
    bench.trim(body[1:3], 9, (104, 30, 47))
    bench.stitches([("M", r["hem"]), *body[-1:]], 16)
    bench.collar(front, 14, (104, 30, 47))
    landmarks = {f"r_{k}": v for k, v in r.items()}
    landmarks |= {"r_cuff_outer": r["shoulder"], "r_cuff_inner": r["armpit"]}
    return bench.finish(landmarks | {"hem_centre": (_MIDDLE, hem_y)})


def _tee(body_cloth: Cloth, sleeve_cloth: Cloth, *, rib: Colour, inside: Colour, seed: int) -> Drawing:
    r = {
        "neck": (312.0, 136.0),
        "shoulder": (204.0, 178.0),
        "armpit": (212.0, 352.0),
        "cuff_outer": (72.0, 372.0),
        "cuff_inner": (178.0, 430.0),
        "hem": (204.0, 800.0),
    }
    hem_y = 812.0
    body = [
        ("M", r["neck"]),
        ("C", (278, 152), (240, 164), r["shoulder"]),
        ("C", (204, 236), (220, 300), r["armpit"]),
        ("C", (228, 500), (220, 660), r["hem"]),
        ("C", (260, 810), (324, hem_y), (_MIDDLE, hem_y)),
    ]
    sleeve = [
        ("M", r["shoulder"]),
        ("C", (160, 200), (122, 276), r["cuff_outer"]),
        ("C", (104, 398), (140, 418), r["cuff_inner"]),
        ("C", (190, 400), (202, 376), r["armpit"]),
        ("C", (220, 300), (204, 236), r["shoulder"]),
    ]
    bench = _Bench(seed)
    back = [("M", r["neck"]), ("C", (336, 146), (360, 149), (_MIDDLE, 149))]
    front = [("M", r["neck"]), ("C", (322, 188), (352, 216), (_MIDDLE, 216))]
    bench.inside(back, front, inside, rib=rib)
    bench.sleeves(
        sleeve,
        sleeve_cloth,
        [
            ((212, 250), (190, 330), (150, 400), 10, 0.10),
            ((214, 330), (204, 370), (176, 418), 8, 0.10),
            ((190, 230), (150, 290), (118, 380), 10, 0.06),
        ],
    )
    bench.stitches(sleeve[1:3], 14, mirrored=True, skip_first=True)
    bench.body(
        body,
        front,
        body_cloth,
        [
            ((232, 370), (290, 390), (330, 450), 13, 0.10),
            ((536, 370), (486, 392), (430, 470), 13, 0.10),
            ((238, 430), (262, 600), (240, 760), 17, 0.08),
            ((528, 440), (506, 600), (524, 780), 17, 0.08),
            ((320, 520), (352, 700), (318, 805), 20, 0.06),
            ((450, 540), (424, 700), (452, 805), 20, 0.06),
            ((240, 700), (300, 760), (400, 790), 16, 0.04),
        ],
    )
    bench.stitches([("M", r["hem"]), *body[-1:]], 18)
    bench.collar(front, 19, rib)
    return bench.finish({f"r_{k}": v for k, v in r.items()} | {"hem_centre": (_MIDDLE, hem_y)})


# --- the drawing bench ---------------------------------------------------------------------------

Step = tuple
"""("M" or "L", point) or ("C", control, control, point): a cubic Bézier curve, canvas pixels."""
Fold = tuple[tuple[float, float], tuple[float, float], tuple[float, float], float, float]
"""Beginning, control and end of a fold's line, its width in canvas pixels, its depth in light."""


class _Bench:
    """A canvas at twice the size onto which parts are laid from back to front."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.RandomState(seed)  # its stream is promised not to change
        self.shape = (HEIGHT * _S, WIDTH * _S)
        self.image = np.full((*self.shape, 3), BACKGROUND, np.float32)
        self.alpha = np.zeros(self.shape, np.float32)
        ys, xs = np.indices(self.shape, np.float32)
        self.x, self.y = (xs + 0.5) / _S, (ys + 0.5) / _S
        # Cloth: a fine weave, and slow waves, longer downwards than across.
        grain = self.random.standard_normal(self.shape).astype(np.float32)
        fine = cv2.GaussianBlur(grain, (0, 0), 0.9)
        weave = np.sin(self.x * np.pi * 1.0) * np.sin(self.y * np.pi * 0.8)
        self.texture = 0.016 * fine / fine.std() + 0.008 * weave
        slow = cv2.resize(grain[:48, :36], (192, 256), interpolation=cv2.INTER_CUBIC)
        slow = cv2.GaussianBlur(slow, (0, 0), sigmaX=2.75, sigmaY=7.5)
        slow = cv2.resize(slow, self.shape[::-1], interpolation=cv2.INTER_CUBIC)
        self.waves = 0.022 * slow / slow.std()

    def inside(self, back: Sequence[Step], front: Sequence[Step], colour: Colour, *, rib: Colour) -> None:
        """Lay the inner back that shows between the back and the front neckline."""
        opening = np.vstack([_both(back), _both(front)[::-1]])
        cover = self._cover(opening)
        below = np.clip((self.y - back[-1][-1][1]) / 60, 0, 1)
        self._lay(cover, self._flat(colour), 0.80 + 0.2 * below)
        band = self._stroke(_both(back) + np.array([0, 7.0]), 15) * cover
        ribs = 1 + 0.06 * np.sin(self.x * np.pi / 1.6)
        self._lay(band, self._flat(rib), 0.9 * ribs)
        edge = self._stroke(_both(back) + np.array([0, 15.5]), 1.6) * cover
        self._lay(edge * 0.5, self._flat(colour), np.full(self.shape, 0.6, np.float32))
        # The front neckline throws its shadow on the inner back.
        shadow = cv2.GaussianBlur(self._stroke(_both(front), 16), (0, 0), 7 * _S) * cover
        self._lay(0.55 * shadow, self._flat(colour), np.full(self.shape, 0.45, np.float32))
        x, y = _MIDDLE, back[-1][-1][1]
        label = self._cover(np.array([(x - 17, y + 9), (x + 17, y + 9), (x + 17, y + 24), (x - 17, y + 24)]))
        self._lay(label, self._flat((236, 232, 224)), np.full(self.shape, 0.97, np.float32))
        lines = self._stroke(np.array([(x - 10, y + 16.5), (x + 10, y + 16.5)]), 2.2)
        self._lay(0.6 * lines, self._flat((90, 90, 90)), np.ones(self.shape, np.float32))

    def sleeves(self, outline: Sequence[Step], cloth: Cloth, folds: Sequence[Fold]) -> None:
        """Lay both sleeves, the second as the mirror image of the first."""
        one = _points(outline)
        for shape, turned in ((one, False), (_mirrored(one), True)):
            cover = self._cover(shape)
            shade = self._round(cover, 34, 0.26) + self.waves
            for fold in folds:
                shade += self._fold(_turn(fold) if turned else fold)
            # Light comes from the upper left: the left sleeve's outside is lit, the right one's in shade.
            shade += -0.05 if turned else 0.0
            self._lay(cover, cloth(self.x, self.y), shade)

    def band(
        self,
        outline: Sequence[Step],
        outer: tuple[float, float],
        inner: tuple[float, float],
        depth: float,
        colour: Colour,
    ) -> None:
        """Lay a ribbed cuff on both sleeves' ends."""
        one = _points(outline)
        line = np.array([outer, inner])
        across = (line[1] - line[0]) / np.linalg.norm(line[1] - line[0])
        up = np.array([across[1], -across[0]])
        for turned in (False, True):
            sleeve = self._cover(_mirrored(one) if turned else one)
            x = 2 * _MIDDLE - self.x if turned else self.x
            height = (x - line[0, 0]) * up[0] + (self.y - line[0, 1]) * up[1]
            side = (x - line[0, 0]) * across[0] + (self.y - line[0, 1]) * across[1]
            cover = sleeve * np.clip((depth - height) * _S, 0, 1)
            ribs = 1 + 0.10 * np.sin(side * 2 * np.pi / 4.5)
            self._lay(cover, self._flat(colour), self._round(sleeve, 16, 0.25) * ribs)
            seam = sleeve * np.exp(-(((height - depth) / 1.6) ** 2))
            self._lay(0.5 * seam, self._flat(colour), np.full(self.shape, 0.55, np.float32))

    def body(
        self, outline: Sequence[Step], front: Sequence[Step], cloth: Cloth, folds: Sequence[Fold]
    ) -> None:
        """Lay the body, whose outline is given for one half, below the front neckline."""
        half = _points(outline)
        cover = self._cover(np.vstack([half, _mirrored(half)[::-1], _both(front)[::-1]]))
        # A shadow on the sleeves along the armholes' seams.
        soft = cv2.GaussianBlur(cover, (0, 0), 4 * _S) * self.alpha
        self.image *= 1 - 0.30 * (soft * (1 - cover))[..., None]
        shade = self._round(cover, 46, 0.22) + self.waves
        for fold in folds:
            shade += self._fold(fold)
        shade += 0.03 - 0.06 * np.clip((self.x - _MIDDLE) / 160, -1, 1) * np.abs((self.x - _MIDDLE) / 160)
        self._lay(cover, cloth(self.x, self.y), shade)

    def collar(self, front: Sequence[Step], width: float, colour: Colour) -> None:
        """Lay the front neckline's ribbed band, which lies below the opening's edge."""
        line = _both(front)
        below = line + np.array([0, width / 2])
        centre = np.array([_MIDDLE, front[0][-1][1] - 30])
        # The band keeps its width where the neckline rises: move it along the normal, not downwards.
        tangent = np.gradient(line, axis=0)
        normal = np.column_stack([-tangent[:, 1], tangent[:, 0]])
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6)
        normal *= np.where(np.sum(normal * (line - centre), axis=1, keepdims=True) < 0, -1, 1)
        below = line + normal * width / 2
        cover = self._stroke(below, width, ends=False) * self.alpha
        angle = np.arctan2(self.y - centre[1], self.x - centre[0])
        ribs = 1 + 0.07 * np.sin(angle * 130)
        distance = self._distance_to(below) / (width / 2)
        shade = (1.02 - 0.16 * np.clip(distance, 0, 1) ** 2) * ribs
        dark = cv2.GaussianBlur(cover, (0, 0), 2.5 * _S) * (1 - cover) * self.alpha
        self.image *= 1 - 0.28 * dark[..., None]
        self._lay(cover, self._flat(colour), shade)

    def trim(self, steps: Sequence[Step], width: float, colour: Colour) -> None:
        """Lay a narrow binding along a part of the outline, on both sides."""
        line = _points([("M", steps[0][-1]), *steps[1:]])
        for points in (line, _mirrored(line)):
            self._lay(
                self._stroke(points, 2 * width, ends=False) * self.alpha,
                self._flat(colour),
                np.full(self.shape, 1.0, np.float32),
            )

    def ribbed_hem(self, hem_y: float, depth: float, colour: Colour) -> None:
        """Lay a ribbed band along the body's lower end."""
        inside = np.abs(self.x - _MIDDLE) < 190
        cover = self.alpha * np.clip((self.y - (hem_y - depth)) * _S, 0, 1) * inside
        ribs = 1 + 0.09 * np.sin(self.x * 2 * np.pi / 5)
        side = 1 - 0.16 * (np.abs(self.x - _MIDDLE) / 180) ** 4
        self._lay(cover, self._flat(colour), (ribs * side).astype(np.float32))
        seam = self.alpha * inside * np.exp(-(((self.y - hem_y + depth) / 1.6) ** 2))
        self._lay(0.5 * seam, self._flat(colour), np.full(self.shape, 0.55, np.float32))

    def stitches(
        self, steps: Sequence[Step], inset: float, *, mirrored: bool = True, skip_first: bool = False
    ) -> None:
        """Draw a hem's double row of stitches, inset from a part of the outline."""
        first, rest = steps[0], steps[1:]
        line = _points([("M", first[-1]), *rest])
        tangent = np.gradient(line, axis=0)
        normal = np.column_stack([tangent[:, 1], -tangent[:, 0]])
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6)
        for extra in (0.0, 4.0):
            inner = line + normal * (inset + extra)
            for points in (inner, _mirrored(inner)) if mirrored else (inner,):
                cover = self._stroke(points, 1.3) * self.alpha
                dashes = 0.65 + 0.35 * np.sign(np.sin(self.x * 2 * np.pi / 4.2))
                self.image *= 1 - (0.26 * cover * dashes)[..., None]
        # The hem's fold shows as a soft step.
        for points in (line + normal * (inset + 7), _mirrored(line + normal * (inset + 7))):
            step = cv2.GaussianBlur(self._stroke(points, 3), (0, 0), 2 * _S) * self.alpha
            self.image *= 1 - 0.10 * step[..., None]

    def finish(self, landmarks: dict[str, tuple[float, float]]) -> Drawing:
        """Return the picture at the canvas's size, moved to the canvas's middle."""
        rows = np.nonzero((self.alpha > 0.5).any(1))[0]
        down = round((HEIGHT - (rows[0] + rows[-1] + 1) / _S) / 2)
        size = (WIDTH, HEIGHT)
        image = cv2.resize(np.clip(self.image, 0, 255), size, interpolation=cv2.INTER_AREA)
        mask = cv2.resize(np.clip(self.alpha, 0, 1) * 255, size, interpolation=cv2.INTER_AREA)
        # What comes in at the top is what went out at the bottom: background.
        return Drawing(
            np.roll(np.round(image).astype(np.uint8), down, axis=0),
            np.roll(np.round(mask).astype(np.uint8), down, axis=0),
            {name: (x, y + down) for name, (x, y) in landmarks.items()},
        )

    def _lay(self, cover: np.ndarray, colour: np.ndarray, shade: np.ndarray) -> None:
        x, y, width, height = cv2.boundingRect((cover > 0).astype(np.uint8))
        part = slice(y, y + height), slice(x, x + width)
        cover = cover[part].astype(np.float32)
        light = (shade[part] + self.texture[part]).astype(np.float32)
        image = self.image[part]
        image += cover[..., None] * (np.minimum(colour[part] * light[..., None], 255) - image)
        self.alpha[part] = np.maximum(self.alpha[part], cover)

    def _flat(self, colour: Colour) -> np.ndarray:
        return np.broadcast_to(np.array(colour, np.float32), (*self.shape, 3))

    def _cover(self, points: np.ndarray) -> np.ndarray:
        """Return how much of each pixel a polygon covers."""
        cover = np.zeros(self.shape, np.uint8)
        fixed = np.round(points * _S * 16 - 8).astype(np.int32)
        cv2.fillPoly(cover, [fixed], 255, lineType=cv2.LINE_AA, shift=4)
        return cover.astype(np.float32) / 255

    def _stroke(self, points: np.ndarray, width: float, *, ends: bool = True) -> np.ndarray:
        distance = self._distance_to(points)
        return np.clip((width / 2 - distance) * _S + 0.5, 0, 1).astype(np.float32)

    def _distance_to(self, points: np.ndarray) -> np.ndarray:
        """Return each pixel's distance to a line, canvas pixels."""
        line = np.full(self.shape, 255, np.uint8)
        fixed = np.round(points * _S * 16 - 8).astype(np.int32)
        cv2.polylines(line, [fixed], False, 0, 1, shift=4)
        return cv2.distanceTransform(line, cv2.DIST_L2, 5) / _S

    def _round(self, cover: np.ndarray, reach: float, depth: float) -> np.ndarray:
        """Return the light on a part that curves away at its outline."""
        distance = cv2.distanceTransform((cover > 0.5).astype(np.uint8), cv2.DIST_L2, 5) / _S
        return (1 - depth * np.exp(-distance / (0.35 * reach))).astype(np.float32)

    def _fold(self, fold: Fold) -> np.ndarray:
        """Return the light of one fold: a dark valley with a lit ridge on its left, fading at its ends."""
        p0, p1, p2, width, depth = fold
        t = np.linspace(0, 1, 60)[:, None]
        line = (1 - t) ** 2 * np.array(p0) + 2 * t * (1 - t) * np.array(p1) + t**2 * np.array(p2)
        strength = np.zeros((HEIGHT // 2, WIDTH // 2), np.float32)  # soft: half the canvas's size will do
        fixed = np.round(line * 8).astype(np.int32)
        for a, b, s in zip(fixed[:-1], fixed[1:], np.sin(np.pi * t[:-1, 0]) ** 0.8, strict=True):
            cv2.line(strength, tuple(map(int, a)), tuple(map(int, b)), float(s), 1, shift=4)
        blurred = cv2.GaussianBlur(strength, (0, 0), 0.25 * width)
        valley = np.asarray(blurred / max(float(blurred.max()), 1e-6), np.float32)
        move = np.array([[1, 0, -0.45 * width], [0, 1, -0.15 * width]], np.float64)
        ridge = cv2.warpAffine(valley, move, valley.shape[::-1])
        light = depth * (0.7 * ridge - 1.2 * valley)
        return cv2.resize(light, self.shape[::-1], interpolation=cv2.INTER_LINEAR)


def _plain(colour: Colour) -> Cloth:
    def cloth(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.broadcast_to(np.array(colour, np.float32), (*x.shape, 3))

    return cloth


def _mix(one: Colour, other: Colour, share: np.ndarray) -> np.ndarray:
    return (np.array(one, np.float32) * (1 - share) + np.array(other, np.float32) * share).astype(np.float32)


def _points(steps: Sequence[Step]) -> np.ndarray:
    """Return a path's points, (n, 2) canvas pixels."""
    points = [np.array([steps[0][-1]], float)]
    for kind, *parts in steps[1:]:
        begin = points[-1][-1]
        if kind == "L":
            t = np.linspace(0, 1, 20)[1:, None]
            points.append(begin + t * (np.array(parts[0]) - begin))
        else:
            a, b, end = (np.array(part, float) for part in parts)
            t = np.linspace(0, 1, 60)[1:, None]
            points.append(
                (1 - t) ** 3 * begin + 3 * t * (1 - t) ** 2 * a + 3 * t**2 * (1 - t) * b + t**3 * end
            )
    return np.vstack(points)


def _mirrored(points: np.ndarray) -> np.ndarray:
    return np.column_stack([2 * _MIDDLE - points[:, 0], points[:, 1]])


def _both(steps: Sequence[Step]) -> np.ndarray:
    """Return a half line that ends at the middle, continued by its mirror image."""
    half = _points(steps)
    return np.vstack([half, _mirrored(half)[-2::-1]])


def _turn(fold: Fold) -> Fold:
    p0, p1, p2, width, depth = fold
    mirror = [(2 * _MIDDLE - x, y) for x, y in (p0, p1, p2)]
    return mirror[0], mirror[1], mirror[2], width, depth
