"""The demonstration's garments, drawn by this project as product photographs show garments."""

from functools import lru_cache

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from worker.images.arrays import Canvas, Floats
from worker.images.frame import HEIGHT, WIDTH
from worker.lab.demo.curves import MIDDLE, Curve, Fold, Line, Path, Point
from worker.lab.demo.garment_canvas import (
    BACKGROUND,
    SUPERSAMPLING,
    Colour,
    Drawing,
    Fabric,
    GarmentCanvas,
)

__all__ = ["BACKGROUND", "NAMES", "Drawing", "draw", "drawing"]

NAMES = ("long_sleeve", "word_tee", "striped_tee", "tank")
"""The garments that `draw` knows; the first is the demonstration's."""


def draw(name: str) -> Canvas:
    """Return the picture of a garment, RGB uint8 (1024, 768, 3); every call returns the same pixels.

    Raises KeyError for a name that is not in NAMES.
    """
    return drawing(name).image.copy()


@lru_cache(maxsize=len(NAMES))
def drawing(name: str) -> Drawing:
    """Return a garment's picture with its exact mask and landmarks. Raises KeyError as `draw` does."""
    garments = {
        "striped_tee": _striped_tee,
        "word_tee": _word_tee,
        "long_sleeve": _long_sleeve,
        "tank": _tank,
    }
    return garments[name]()


# --- the four garments ---------------------------------------------------------------------------


def _striped_tee() -> Drawing:
    navy, cream = (38, 52, 92), (236, 226, 205)

    def stripes(position: Floats) -> Floats:
        from_middle = np.abs((position / 44.0) % 1.0 - 0.5) * 44.0  # distance from a stripe's middle, pixels
        return _blend(navy, cream, np.clip(8.5 - from_middle + 0.5, 0, 1)[..., None])

    def body(x: Floats, y: Floats) -> Floats:
        return stripes(y - 7 * ((x - MIDDLE) / 150) ** 2 + 2 * np.sin(y / 90 + x / 70))

    def sleeve(x: Floats, y: Floats) -> Floats:
        # Along the sleeve, which runs down and outwards from the shoulder; the same on both sides.
        outwards = np.abs(x - MIDDLE) - 166
        along = 0.56 * outwards + 0.83 * (y - 186)
        return stripes(along + 0.0004 * outwards**2 + 14)

    return _tee(body, sleeve, rib_colour=navy, inside_colour=(58, 70, 106), seed=3)


def _word_tee() -> Drawing:
    coral, ink_colour = (214, 92, 70), (250, 240, 222)
    ink = _printed_words()

    def body(x: Floats, y: Floats) -> Floats:
        # The print follows the fabric's large waves.
        share = cv2.remap(
            ink,
            ((x + 1.5 * np.sin(y / 40)) * SUPERSAMPLING).astype(np.float32),
            ((y + 2.0 * np.sin(x / 55)) * SUPERSAMPLING).astype(np.float32),
            cv2.INTER_LINEAR,
        )
        return _blend(coral, ink_colour, np.asarray(0.95 * share[..., None], np.float32))

    return _tee(body, _plain(coral), rib_colour=(200, 80, 60), inside_colour=(176, 70, 54), seed=5)


def _printed_words() -> Floats:
    """Return the print on the chest: two lines of text, a rule and a sun; float32, SUPERSAMPLING times."""
    scale = SUPERSAMPLING
    picture = Image.new("L", (WIDTH * scale, HEIGHT * scale), 0)
    pen = ImageDraw.Draw(picture)
    for text, size, height in (("GOOD DAY", 50, 412), ("every day", 27, 462)):
        pen.text(
            (MIDDLE * scale, height * scale),
            text,
            fill=255,
            font=ImageFont.load_default(size=size * scale),
            anchor="mm",
            stroke_width=size * scale // 34,
        )
    pen.line([(312 * scale, 372 * scale), (456 * scale, 372 * scale)], fill=255, width=4 * scale)
    pen.ellipse([(372 * scale, 318 * scale), (396 * scale, 342 * scale)], fill=255)
    for angle in np.linspace(0, 2 * np.pi, 12, endpoint=False):
        ray = [
            ((MIDDLE + radius * np.cos(angle)) * scale, (330 + radius * np.sin(angle)) * scale)
            for radius in (18.0, 27.0)
        ]
        pen.line(ray, fill=255, width=3 * scale)
    return np.asarray(cv2.GaussianBlur(np.asarray(picture, np.float32) / 255, (0, 0), 0.8), np.float32)


_LONG_SLEEVE_FOLDS = (
    Fold((160, 330), (182, 420), (158, 520), 9, 0.09),
    Fold((140, 470), (160, 540), (136, 640), 8, 0.10),
    Fold((170, 300), (190, 350), (222, 380), 10, 0.10),
    Fold((106, 600), (120, 640), (100, 705), 7, 0.08),
    Fold((134, 520), (150, 560), (136, 660), 7, 0.08),
)
_LONG_SLEEVE_BODY_FOLDS = (
    Fold((236, 345), (300, 380), (340, 470), 14, 0.09),
    Fold((240, 420), (262, 560), (250, 700), 16, 0.07),
    Fold((532, 350), (480, 390), (440, 500), 14, 0.09),
    Fold((530, 470), (510, 580), (530, 710), 16, 0.08),
    Fold((350, 540), (366, 640), (344, 740), 18, 0.06),
    Fold((420, 560), (410, 640), (428, 740), 16, 0.05),
)


def _long_sleeve() -> Drawing:
    green, rib = (62, 96, 82), (54, 86, 73)
    neck, shoulder, armpit = (318.0, 118.0), (210.0, 156.0), (216.0, 330.0)
    cuff_outer, cuff_inner = (70.0, 742.0), (134.0, 760.0)
    hem, hem_centre = (206.0, 752.0), (MIDDLE, 762.0)
    body = Path(
        neck,
        (
            Curve((282, 134), (244, 142), shoulder),
            Curve((212, 210), (226, 280), armpit),
            Curve((228, 460), (222, 600), hem),
            Curve((262, 762), (324, 762), hem_centre),
        ),
    )
    sleeve = Path(
        shoulder,
        (
            Curve((164, 174), (144, 236), (132, 330)),
            Curve((114, 470), (90, 610), cuff_outer),
            Curve((86, 752), (112, 758), cuff_inner),
            Curve((164, 610), (192, 460), armpit),
            Curve((226, 280), (212, 210), shoulder),
        ),
    )
    back = Path(neck, (Curve((340, 126), (362, 128), (MIDDLE, 128)),))
    front = Path(neck, (Curve((326, 160), (352, 182), (MIDDLE, 182)),))
    canvas = GarmentCanvas(seed=11)
    canvas.draw_inner_back(back, front, (38, 62, 53), rib_colour=(44, 72, 62))
    canvas.draw_sleeves(sleeve, _plain(green), _LONG_SLEEVE_FOLDS)
    canvas.draw_cuffs(sleeve, cuff_outer, cuff_inner, 34, rib)
    canvas.draw_body(body, front, _plain(green), _LONG_SLEEVE_BODY_FOLDS)
    canvas.draw_ribbed_hem(hem_centre[1], 38, rib)
    canvas.draw_collar(front, 20, (52, 84, 71))
    return canvas.finish(_landmarks(neck, shoulder, armpit, cuff_outer, cuff_inner, hem, hem_centre))


_TANK_FOLDS = (
    Fold((226, 372), (290, 400), (330, 470), 14, 0.09),
    Fold((542, 372), (490, 400), (444, 480), 14, 0.10),
    Fold((250, 560), (276, 700), (240, 815), 18, 0.09),
    Fold((330, 600), (352, 760), (322, 828), 20, 0.08),
    Fold((432, 580), (420, 740), (446, 828), 20, 0.08),
    Fold((520, 560), (500, 720), (530, 815), 18, 0.09),
)


def _tank() -> Drawing:
    wine, dot_colour, rib = (122, 36, 56), (238, 214, 200), (104, 30, 47)

    def dots(x: Floats, y: Floats) -> Floats:
        pitch = 38.0
        row = np.round(y / (pitch * 0.5))
        column = (x - MIDDLE) / pitch + 0.5 * (row % 2)
        dx, dy = (column - np.round(column)) * pitch, y - row * pitch * 0.5
        return _blend(wine, dot_colour, np.clip(5.2 - np.hypot(dx, dy) + 0.5, 0, 1)[..., None])

    neck, shoulder, armpit = (304.0, 96.0), (246.0, 108.0), (214.0, 344.0)
    hem, hem_centre = (192.0, 820.0), (MIDDLE, 834.0)
    body = Path(
        neck,
        (
            Line(shoulder),
            Curve((258, 190), (262, 286), armpit),
            Curve((232, 450), (234, 520), (224, 600)),
            Curve((216, 680), (200, 750), hem),
            Curve((252, 832), (324, 834), hem_centre),
        ),
    )
    back = Path(neck, (Curve((312, 150), (344, 178), (MIDDLE, 178)),))
    front = Path(neck, (Curve((308, 210), (336, 274), (MIDDLE, 274)),))
    canvas = GarmentCanvas(seed=17)
    canvas.draw_inner_back(back, front, (88, 26, 42), rib_colour=(100, 30, 47))
    canvas.draw_body(body, front, dots, _TANK_FOLDS)
    canvas.draw_binding(body.segment(1), 9, rib)
    canvas.draw_stitches(body.segment(-1), 16)
    canvas.draw_collar(front, 14, rib)
    # Without sleeves the armhole takes the cuff's place.
    return canvas.finish(_landmarks(neck, shoulder, armpit, shoulder, armpit, hem, hem_centre))


_TEE_SLEEVE_FOLDS = (
    Fold((212, 250), (190, 330), (150, 400), 10, 0.10),
    Fold((214, 330), (204, 370), (176, 418), 8, 0.10),
    Fold((190, 230), (150, 290), (118, 380), 10, 0.06),
)
_TEE_BODY_FOLDS = (
    Fold((232, 370), (290, 390), (330, 450), 13, 0.10),
    Fold((536, 370), (486, 392), (430, 470), 13, 0.10),
    Fold((238, 430), (262, 600), (240, 760), 17, 0.08),
    Fold((528, 440), (506, 600), (524, 780), 17, 0.08),
    Fold((320, 520), (352, 700), (318, 805), 20, 0.06),
    Fold((450, 540), (424, 700), (452, 805), 20, 0.06),
    Fold((240, 700), (300, 760), (400, 790), 16, 0.04),
)


def _tee(
    body_fabric: Fabric, sleeve_fabric: Fabric, *, rib_colour: Colour, inside_colour: Colour, seed: int
) -> Drawing:
    neck, shoulder, armpit = (312.0, 136.0), (204.0, 178.0), (212.0, 352.0)
    cuff_outer, cuff_inner = (72.0, 372.0), (178.0, 430.0)
    hem, hem_centre = (204.0, 800.0), (MIDDLE, 812.0)
    body = Path(
        neck,
        (
            Curve((278, 152), (240, 164), shoulder),
            Curve((204, 236), (220, 300), armpit),
            Curve((228, 500), (220, 660), hem),
            Curve((260, 810), (324, 812), hem_centre),
        ),
    )
    sleeve = Path(
        shoulder,
        (
            Curve((160, 200), (122, 276), cuff_outer),
            Curve((104, 398), (140, 418), cuff_inner),
            Curve((190, 400), (202, 376), armpit),
            Curve((220, 300), (204, 236), shoulder),
        ),
    )
    back = Path(neck, (Curve((336, 146), (360, 149), (MIDDLE, 149)),))
    front = Path(neck, (Curve((322, 188), (352, 216), (MIDDLE, 216)),))
    canvas = GarmentCanvas(seed)
    canvas.draw_inner_back(back, front, inside_colour, rib_colour=rib_colour)
    canvas.draw_sleeves(sleeve, sleeve_fabric, _TEE_SLEEVE_FOLDS)
    canvas.draw_stitches(sleeve.segment(1), 14)
    canvas.draw_body(body, front, body_fabric, _TEE_BODY_FOLDS)
    canvas.draw_stitches(body.segment(-1), 18)
    canvas.draw_collar(front, 19, rib_colour)
    return canvas.finish(_landmarks(neck, shoulder, armpit, cuff_outer, cuff_inner, hem, hem_centre))


def _landmarks(
    neck: Point,
    shoulder: Point,
    armpit: Point,
    cuff_outer: Point,
    cuff_inner: Point,
    hem: Point,
    hem_centre: Point,
) -> dict[str, Point]:
    return {
        "r_neck": neck,
        "r_shoulder": shoulder,
        "r_armpit": armpit,
        "r_cuff_outer": cuff_outer,
        "r_cuff_inner": cuff_inner,
        "r_hem": hem,
        "hem_centre": hem_centre,
    }


def _plain(colour: Colour) -> Fabric:
    def fabric(x: Floats, _y: Floats) -> Floats:
        return np.broadcast_to(np.array(colour, np.float32), (*x.shape, 3))

    return fabric


def _blend(colour: Colour, other: Colour, share: Floats) -> Floats:
    """Return the first colour where `share`, (h, w, 1), is 0, and the other where it is 1."""
    return (np.array(colour, np.float32) * (1 - share) + np.array(other, np.float32) * share).astype(
        np.float32
    )
