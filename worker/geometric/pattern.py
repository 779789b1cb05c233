"""Takes a garment's picture apart: trunk, sleeves, the front edge of the collar."""

from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np

from worker.cloth.garment import BACKGROUND
from worker.cloth.landmarks import GarmentLandmarks
from worker.geometric.body import SIDES
from worker.geometric.paint import mirrored

_OVERLAP = 10  # pixels by which trunk and sleeve overlap at their seam, so that no crack opens there
_STATIONS = (
    0.12,
    0.25,
    0.37,
    0.48,
    0.59,
    0.69,
    0.79,
    0.90,
    1.0,
)  # how far along a sleeve its outline is measured
_ROWS = (0.18, 0.36, 0.54, 0.72, 0.88)  # the same down the trunk, from armpit to hem


@dataclass(frozen=True)
class Sleeve:
    """One sleeve of the garment's picture; stations go from the seam to the cuff.

    Attributes:
        alpha: float32 (1024, 768), the sleeve's share of each pixel; it fades out inside the seam.
        at: float64 (n,), how far along each station is, 0..1.
        outer, inner: float64 (n, 2), the outline at the stations.
    """

    alpha: np.ndarray
    at: np.ndarray
    outer: np.ndarray
    inner: np.ndarray


@dataclass(frozen=True)
class Pattern:
    """A garment's parts.

    Attributes:
        colour: RGB uint8 (1024, 768, 3), the garment's colours continued beyond its outline.
        trunk: float32 (1024, 768), the trunk's share of each pixel, without the inside of the back.
        sleeves: side -> Sleeve; empty for a garment that has none.
        neckline: float64 (n, 2), the front edge of the collar, from r_neck to l_neck.
        rows: float64 (m,), shares of the way from armpit to hem where the sides are measured.
        sides: side -> float64 (m, 2), the trunk's outline there.
        mark: the landmarks, name -> float64 (2,).
        sleeve: how far the sleeves go.
    """

    colour: np.ndarray
    trunk: np.ndarray
    sleeves: dict[str, Sleeve]
    neckline: np.ndarray
    rows: np.ndarray
    sides: dict[str, np.ndarray]
    mark: dict[str, np.ndarray]
    sleeve: str


def take_apart(image: np.ndarray, mask: np.ndarray, found: GarmentLandmarks) -> Pattern:
    """Return the parts of a garment's picture, RGB uint8 (1024, 768, 3), and soft mask (1024, 768)."""
    mark = {name: point.astype(float) for name, point in found.points.items()}
    solid = mask >= 128
    neckline = front_edge(image, solid, mark, straps=found.sleeve == "straps")
    alpha = _tight(mask)
    sag = float((neckline[:, 1] - np.linspace(neckline[0, 1], neckline[-1, 1], len(neckline))).max())
    if sag > 3 and solid[int(neckline[20, 1]) - 6, int(neckline[20, 0])]:
        alpha[_above(neckline, alpha.shape)] = 0

    trunk, sleeves = alpha.copy(), {}
    sided = found.sleeve in ("long", "short")
    for side in SIDES:
        if not sided:
            continue
        beyond = _beyond_seam(side, mark, solid)
        # A narrow gap between sleeve and trunk may have been taken for garment.
        reach = 30 if found.sleeve == "long" else 14
        gap = (np.abs(image.astype(np.int16) - BACKGROUND).max(2) < 16) & (np.abs(beyond) < reach)
        gap[: int(mark[f"{side}_armpit"][1]) - 40] = False
        alpha[cv2.dilate(gap.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0] = 0
        share = np.clip(0.5 + beyond / _OVERLAP, 0, 1)
        # Above the armpit the two overlap; below it nothing of the sleeve may stay with the trunk.
        rows = np.arange(len(alpha))[:, None]
        trunk = np.minimum(trunk, alpha) * (
            beyond < np.where(rows < mark[f"{side}_armpit"][1], 1.5 * _OVERLAP, 1.0)
        )
        sleeves[side] = _sleeve(side, mark, (alpha * share).astype(np.float32), solid & (beyond > -2))
    rows = np.array(_ROWS)
    sides = {side: _outline(side, mark, trunk > 0.5, rows) for side in SIDES}
    return Pattern(
        _continued(image, alpha), trunk.astype(np.float32), sleeves, neckline, rows, sides, mark, found.sleeve
    )


def _continued(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return the garment's colours continued beyond its outline, from inside its rim.

    The rim catches the studio's light and the background's colour.
    """
    inside = alpha > 0.98
    deep = cv2.erode(inside.astype(np.uint8), np.ones((13, 13), np.uint8)) > 0
    if not deep.any():
        return mirrored(image, inside)
    return np.where(inside[..., None], image, mirrored(image, deep))


def _tight(mask: np.ndarray) -> np.ndarray:
    """Return the mask as 0..1, drawn in by a pixel: its rim is mixed with the product's background."""
    soft = cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), 1.0)
    return np.clip((soft - 0.62) / 0.3, 0, 1)


def _beyond_seam(side: str, mark: dict[str, np.ndarray], solid: np.ndarray) -> np.ndarray:
    """Return how far each pixel lies on the sleeve's side of the seam, pixels, float32 (h, w)."""
    height, width = solid.shape
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    shoulder, pit, hem = mark[f"{side}_shoulder"], mark[f"{side}_armpit"], mark[f"{side}_hem"]
    sign = -1.0 if side == "r" else 1.0
    # Above the armpit the seam runs from armpit to shoulder; below it the trunk's side parts them.
    edge = np.interp(y[:, 0], [shoulder[1], pit[1]], [shoulder[0], pit[0]])
    below = y[:, 0] > pit[1]
    edge[below] = _between(side, solid, pit, hem)[below]
    return np.asarray((sign * (x - edge[:, None])), np.float32)


def _between(side: str, solid: np.ndarray, pit: np.ndarray, hem: np.ndarray) -> np.ndarray:
    """Return the column between trunk and sleeve in each row: the gap's middle where there is a gap."""
    height, width = solid.shape
    sign = -1 if side == "r" else 1
    rows = np.arange(height) + 0.5
    straight = np.interp(rows, [pit[1], hem[1]], [pit[0], hem[0]])
    edge = straight + sign * 3.0
    for row in range(int(pit[1]), height):
        start = int(np.clip(straight[row] - sign * 0.12 * abs(pit[0] - width / 2), 0, width - 1))
        line = solid[row, start::sign] if sign > 0 else solid[row, start::-1]
        gaps = np.nonzero(~line)[0]
        if len(gaps) and gaps[0] < 0.3 * abs(pit[0] - width / 2):
            after = np.nonzero(line[gaps[0] :])[0]
            wide = after[0] if len(after) else 2 * _OVERLAP
            edge[row] = start + sign * (gaps[0] + min(wide, 4 * _OVERLAP) / 2)
    return edge


def _sleeve(side: str, mark: dict[str, np.ndarray], alpha: np.ndarray, area: np.ndarray) -> Sleeve:
    shoulder, pit = mark[f"{side}_shoulder"], mark[f"{side}_armpit"]
    outer_end, inner_end = mark[f"{side}_cuff_outer"], mark[f"{side}_cuff_inner"]
    outer, inner = [], []
    at = np.array(_STATIONS)
    for t in at:
        a, b = shoulder + (outer_end - shoulder) * t, pit + (inner_end - pit) * t
        if t == 1.0:
            outer.append(outer_end)
            inner.append(inner_end)
            continue
        across = a - b
        length = max(float(np.linalg.norm(across)), 1.0)
        across /= length
        middle = (a + b) / 2
        outer.append(middle + across * _run(area, middle, across, length))
        inner.append(middle - across * _run(area, middle, -across, length))
    return Sleeve(alpha, at, np.array(outer), np.array(inner))


def _run(area: np.ndarray, start: np.ndarray, direction: np.ndarray, expected: float) -> float:
    """Return how far the area goes on from a point, at most the expected width; half of it where unclear."""
    steps = np.arange(0, 2.5 * expected, 1.0)
    p = np.floor(start + steps[:, None] * direction).astype(int)
    p = np.clip(p, 0, np.array(area.shape[::-1]) - 1)
    out = np.nonzero(~area[p[:, 1], p[:, 0]])[0]
    if len(out) == 0 or out[0] < 0.15 * expected:
        return expected / 2
    return float(steps[out[0]])


def _outline(side: str, mark: dict[str, np.ndarray], trunk: np.ndarray, rows: np.ndarray) -> np.ndarray:
    pit, hem = mark[f"{side}_armpit"], mark[f"{side}_hem"]
    sign = -1 if side == "r" else 1
    middle = mark["hem_centre"][0]
    points = []
    for t in rows:
        straight = pit + (hem - pit) * t
        y = int(np.clip(straight[1], 0, trunk.shape[0] - 1))
        reach = abs(straight[0] - middle)
        xs = np.round(middle + sign * np.arange(0.6 * reach, 1.25 * reach)).astype(int)
        xs = xs[(xs >= 0) & (xs < trunk.shape[1])]
        inside = np.nonzero(trunk[y, xs])[0]
        x = xs[inside[-1]] + 0.5 if len(inside) and inside[-1] < len(xs) - 1 else straight[0]
        points.append((x, straight[1]))
    return np.array(points, float)


def front_edge(
    image: np.ndarray, solid: np.ndarray, mark: dict[str, np.ndarray], *, straps: bool = False
) -> np.ndarray:
    """Return the front edge of the collar from r_neck to l_neck, float64 (n, 2).

    A product picture shows the inside of the back above it, which the person's neck will hide. Where the
    background shows through the opening, the edge is the outline; otherwise it is looked for as the curve,
    between a U and a V, along which the picture changes most steadily.
    """
    right, left, front = mark["r_neck"], mark["l_neck"], mark["neck_front"]
    middle, width = (right + left) / 2, float(np.linalg.norm(left - right))
    base = right + (left - right) * np.linspace(0, 1, 41)[:, None]
    depth = front[1] - middle[1]
    through = depth > 0.12 * width  # the background shows above the back's own edge
    if straps:
        return _curve(base, max(depth, 0.05 * width), _SHAPES[1])  # between straps no back is to be seen
    columns = np.clip(base[:, 0].astype(int), 0, solid.shape[1] - 1)
    if (base[:, 1] - solid[:, columns].argmax(0)).max() > 0.12 * width:
        return base  # a collar that stands above the neck points, or has points that do, lies around the neck
    lab = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2LAB), (0, 0), 1.5).astype(np.float32)
    # The garment's own outline is not what is looked for.
    deep = cv2.erode(solid.astype(np.uint8), np.ones((13, 13), np.uint8)) > 0
    grad_x, grad_y = lab - np.roll(lab, 3, 1), lab - np.roll(lab, 3, 0)
    best, best_score = _curve(base, _USUAL_DEPTH * width, _SHAPES[0]), 1.5
    least = 0.06
    if through:
        best, best_score, least = _curve(base, depth, _SHAPES[1]), 6.0, depth / width + 0.12
    for share, inset in product(np.arange(least, 1.5, 0.02), (0.0, 0.05, 0.1)):
        # A collar that opens twice as deep or half as deep as usual needs a clearer edge.
        prior = 1.0 if through else np.exp(-0.5 * (np.log(share / _USUAL_DEPTH) / 0.5) ** 2)
        for shape in _SHAPES:
            if shape is _V and share < 0.5:
                continue  # no collar is a shallow V
            whole = _curve(base, share * width, shape, inset)
            curve = whole[3:-3]
            p = np.clip(curve.astype(int), 2, np.array(solid.shape[::-1]) - 3)
            if deep[p[5:-5, 1], p[5:-5, 0]].mean() < 0.95:
                continue
            tangent = np.gradient(curve, axis=0)
            tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
            across = grad_x[p[:, 1], p[:, 0]] * -tangent[:, 1:] + grad_y[p[:, 1], p[:, 0]] * tangent[:, :1]
            score = float(np.quantile(np.linalg.norm(across, axis=1), 0.35) * prior * (1 - 2 * inset))
            if score > best_score:
                best, best_score = whole, score
    return best


_USUAL_DEPTH = 0.4  # of a collar's opening, in widths
_V = (1.15, 1.0)
_SHAPES = ((2.0, 0.5), (2.0, 1.0), _V, (2.6, 0.4))  # half an ellipse, a parabola, a V, nearly square


def _curve(base: np.ndarray, depth: float, shape: tuple[float, float], inset: float = 0.0) -> np.ndarray:
    """Return the curve that sags below a line; `inset` draws it in at both ends, in widths."""
    base = base + (base.mean(0) - base) * 2 * inset
    u = np.linspace(-1, 1, len(base))
    sag = (1 - np.abs(u) ** shape[0]) ** shape[1]
    return np.asarray(base + np.column_stack([np.zeros_like(u), depth * sag]))


def _above(neckline: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return which pixels lie above the neckline, between its ends, bool."""
    top = neckline.copy()
    top[:, 1] = -1
    area = np.zeros(shape[:2], np.uint8)
    outline = np.concatenate([neckline, top[::-1]])
    cv2.fillPoly(area, [np.round((outline - 0.5) * 16).astype(np.int32)], 1, cv2.LINE_8, 4)
    return area > 0
