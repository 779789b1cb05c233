"""Makes a product's picture of the garment that a person wears: laid flat, sleeves beside the body.

Joints and the person's parts alone say how: trunk and sleeves are one mesh, sewn at the shoulders, whose
bones are laid straight and the rest of which bends as little as it can. Nothing of it is an engine's.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from skimage.segmentation import watershed

from worker.cloth.garment import BACKGROUND
from worker.images.frame import HEIGHT, WIDTH
from worker.images.maps import Body25 as J
from worker.images.maps import Part, Pose
from worker.lab.evaluation.bones import SLEEVES, TRUNK, Skeleton, skeleton
from worker.lab.evaluation.mesh import STEP, Mesh

BOX = (622, 904)
"""The width and height that a garment's picture fills at most, as VITON-HD's do."""

# The random part of the picture.
_TURN = 2.0  # degrees, its standard deviation
_SCALES = (0.9, 1.0)  # of BOX
_BENT = 0.012  # the standard deviation of a smooth bending at its control points, in canvas widths

# In shoulder widths:
_SEWN = 0.32  # how far from the shoulder's joint a sleeve is sewn to the trunk
_MARK = 0.05  # half the width of a bone's mark
_THIN = 0.04  # half the width of what is trimmed

_COMPACT = 3.0  # how much rather parts end half way between two bones than at a fold between them
_RIM = 2  # pixels by which the garment is drawn in, so that no skin or wall comes along
_BEFORE = (Part.HAIR, Part.LEFT_ARM, Part.RIGHT_ARM, Part.GLOVE, Part.SCARF, Part.SUNGLASSES, Part.FACE)

# What is not tried.
_LEAST = 0.05  # an upper garment that covers less of the canvas
_LAYERS = 0.15  # a second layer that covers more than this share: a coat over something
_NARROW = 0.42  # shoulders narrower than this share of the trunk's length: a turned person
_ASIDE = 0.8  # a wrist above the hips, nearer to the middle than this share of a shoulder
_HIDDEN = 0.05  # a picture more of which is made up
_WHOLE = 0.95  # a picture whose largest piece is a smaller share
_EVEN = 0.7  # a picture that is less like its own mirror image


class UnsuitedError(Exception):
    """A garment that cannot be laid flat; the message says why, in a few words."""


@dataclass(frozen=True)
class Flat:
    """A worn garment as a product's picture.

    Attributes:
        image: RGB uint8 (1024, 768, 3), on light grey.
        alpha: float32 (1024, 768), the garment's share of each pixel.
        used: bool (1024, 768), the pixels of the person's canvas that the picture shows.
    """

    image: np.ndarray
    alpha: np.ndarray
    used: np.ndarray


def flatten(canvas: np.ndarray, pose: Pose, parse: np.ndarray, rng: np.random.Generator) -> Flat:
    """Return the picture of the upper garment that a person wears.

    Args:
        canvas: the person, RGB uint8 (1024, 768, 3).
        pose: the joints.
        parse: CIHP labels, uint8 (1024, 768).
        rng: draws the sleeves' angle, the scale, a slight turn and a mild smooth bending.

    Raises UnsuitedError when the garment cannot be laid flat, or does not look like one that was.
    """
    own = worn(parse)
    _refuse_unsuited(own, pose, parse)
    bones = skeleton(pose, own, rng)
    seam = _seam(bones)
    parts = _parts(canvas, own, bones)
    areas = {name: _trimmed(parts == name, bones) for name in (TRUNK, *SLEEVES.values())}
    areas[TRUNK] |= _hidden(areas[TRUNK], parse)
    mesh = Mesh.of(areas, seam)
    flat, made_up = _drawn(canvas, parts, areas, seam, mesh, _laid_out(mesh.straightened(bones.bones), rng))
    _refuse_odd(flat.alpha > 0.5, made_up)
    return flat


def worn(parse: np.ndarray) -> np.ndarray:
    """Return the upper garment in CIHP labels, uint8 (h, w), without specks: bool (h, w)."""
    area = np.isin(parse, (Part.UPPER_CLOTHES, Part.COAT))
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(area.astype(np.uint8))
    sizes = stats[:, cv2.CC_STAT_AREA]
    sizes[0] = 0
    return area & (sizes > 0.03 * sizes.max())[pieces]


def _refuse_unsuited(own: np.ndarray, pose: Pose, parse: np.ndarray) -> None:
    if own.mean() < _LEAST:
        raise UnsuitedError("no upper garment")
    if own[-2:].any():
        raise UnsuitedError("cut off by the picture's edge")
    if _LAYERS < np.mean(parse[own] == Part.COAT) < 1 - _LAYERS:
        raise UnsuitedError("a coat over other things")
    if not all(pose.seen(j) for j in (J.R_SHOULDER, J.L_SHOULDER, J.R_ELBOW, J.L_ELBOW, J.R_HIP, J.L_HIP)):
        raise UnsuitedError("joints not seen")
    neck, hips = (
        (pose.xy(a) + pose.xy(b)) / 2 for a, b in ((J.R_SHOULDER, J.L_SHOULDER), (J.R_HIP, J.L_HIP))
    )
    across, length = (pose.xy(J.L_SHOULDER) - pose.xy(J.R_SHOULDER))[0], np.linalg.norm(hips - neck)
    if across < _NARROW * length:
        raise UnsuitedError("turned from the camera")
    for wrist in (J.R_WRIST, J.L_WRIST):
        x, y = pose.xy(wrist)
        if pose.seen(wrist) and abs(x - neck[0]) < _ASIDE * across / 2 and y < hips[1] - 0.1 * length:
            raise UnsuitedError("an arm before the trunk")


def _refuse_odd(area: np.ndarray, made_up: np.ndarray) -> None:
    """Raise UnsuitedError when a picture does not look like a garment that was laid flat."""
    share = np.count_nonzero(made_up) / np.count_nonzero(area)
    if share > _HIDDEN:
        raise UnsuitedError(f"{share:.0%} of it hidden")
    sizes = cv2.connectedComponentsWithStats(area.astype(np.uint8))[2][1:, cv2.CC_STAT_AREA]
    if sizes.max() < _WHOLE * sizes.sum():
        raise UnsuitedError("seen in pieces")
    if _evenness(area) < _EVEN:
        raise UnsuitedError("seen on one side only")


def _evenness(area: np.ndarray) -> float:
    """Return how alike an area is to its mirror image: intersection over union, at the best axis."""
    small = area[::4, ::4]
    wide = np.pad(small, ((0, 0), (small.shape[1],) * 2))
    middle = round(float(np.nonzero(wide)[1].mean()))
    found = []
    for axis in range(middle - 8, middle + 9):
        mirrored = np.roll(wide[:, ::-1], 2 * axis - wide.shape[1] + 1, 1)
        found.append(np.count_nonzero(wide & mirrored) / np.count_nonzero(wide | mirrored))
    return max(found)


def _seam(bones: Skeleton) -> np.ndarray:
    """Return where sleeves are sewn to the trunk, bool (1024, 768)."""
    area = np.zeros((HEIGHT, WIDTH), np.uint8)
    for joint in (bones.shoulders.points[0], bones.shoulders.points[-1]):
        cv2.circle(area, [round(float(v)) for v in joint], round(_SEWN * bones.size), 1, -1)
    return area > 0


def _parts(canvas: np.ndarray, own: np.ndarray, bones: Skeleton) -> np.ndarray:
    """Return which pixels of the garment are the trunk's and which a sleeve's, int (1024, 768); 0 elsewhere.

    A watershed from the bones: trunk and sleeve end at the fold between them.
    """
    neck, hips = bones.spine.points[0], bones.spine.points[-1]
    half = (bones.shoulders.points[-1] - bones.shoulders.points[0]) / 2
    below = hips + (hips - neck) / np.linalg.norm(hips - neck) * HEIGHT
    core = [neck + 0.7 * half, hips + 0.55 * half, below + 0.55 * half]
    core += [below - 0.55 * half, hips - 0.55 * half, neck - 0.7 * half]
    marks = np.zeros(own.shape, np.uint8)
    cv2.fillPoly(marks, [np.round(core).astype(np.int32)], TRUNK)
    for bone in bones.arms.values():
        # Next to the shoulder's joint bone and trunk are one.
        for point in bone.points[5:]:
            cv2.circle(
                marks, [round(float(v)) for v in point], max(2, round(_MARK * bones.size)), bone.part, -1
            )
    marks[~own] = 0
    lab = cv2.GaussianBlur(cv2.cvtColor(canvas, cv2.COLOR_RGB2LAB), (0, 0), 2).astype(np.float32)
    across, down = cv2.Sobel(lab, cv2.CV_32F, 1, 0), cv2.Sobel(lab, cv2.CV_32F, 0, 1)
    slope = np.sqrt((across**2 + down**2).sum(2))
    parts = watershed(slope, marks.astype(np.int32), mask=own, compactness=_COMPACT)
    # The line between two parts is as smooth as a fold.
    shares = [
        cv2.GaussianBlur((parts == name).astype(np.float32), (0, 0), 8) for name in (TRUNK, *SLEEVES.values())
    ]
    return np.where(own, 1 + np.argmax(shares, axis=0), 0)


def _trimmed(area: np.ndarray, bones: Skeleton) -> np.ndarray:
    """Return a part without what is too thin for cloth, such as labels that ran along an arm."""
    thin = round(_THIN * bones.size)
    trimmed = cv2.morphologyEx(area.astype(np.uint8), cv2.MORPH_OPEN, _disc(thin)) > 0
    # At the shoulders straps are as thin.
    top = round(float(bones.spine.points[0, 1]) + _SEWN * bones.size)
    trimmed[:top] = area[:top]
    return trimmed


def _hidden(trunk: np.ndarray, parse: np.ndarray) -> np.ndarray:
    """Return where hair, arms or sleeves hide the trunk, bool."""
    between = np.maximum.accumulate(trunk, 1) & np.maximum.accumulate(trunk[:, ::-1], 1)[:, ::-1]
    closed = cv2.morphologyEx(trunk.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((15, 15), np.uint8)) > 0
    hidden = between & np.isin(parse, (*_BEFORE, Part.UPPER_CLOTHES, Part.COAT))
    return (hidden | (closed & ~np.isin(parse, (Part.NECK, Part.BACKGROUND)))) & ~trunk


def _laid_out(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the mesh's points on the product's canvas: a little turned, scaled into the box, bent."""
    turn = np.deg2rad(rng.normal(0, _TURN))
    points = points @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    low, high = points.min(0) + STEP, points.max(0) - STEP
    scale = rng.uniform(*_SCALES) * min(BOX / (high - low))
    points = (points - (low + high) / 2) * scale + np.array([WIDTH, HEIGHT]) / 2
    moves = rng.normal(0, _BENT * WIDTH, (4, 3, 2)).astype(np.float32)
    bend = cv2.resize(moves, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    x, y = np.clip(points.astype(int), 0, [WIDTH - 1, HEIGHT - 1]).T
    return np.asarray(points + bend[y, x])


def _drawn(
    canvas: np.ndarray,
    parts: np.ndarray,
    areas: Mapping[int, np.ndarray],
    seam: np.ndarray,
    mesh: Mesh,
    points: np.ndarray,
) -> tuple[Flat, np.ndarray]:
    """Return the picture of the moved mesh, sleeves over the trunk, and where it is made up, bool."""
    own = parts > 0
    colour = np.full((HEIGHT, WIDTH, 3), float(BACKGROUND), np.float32)
    alpha, seen = np.zeros((HEIGHT, WIDTH), np.float32), np.zeros((HEIGHT, WIDTH), np.float32)
    used = np.zeros((HEIGHT, WIDTH), bool)
    for name, area in areas.items():
        # Along the seam the parts go on below each other, so that no crack shows.
        sewn = own & seam & (cv2.dilate(area.astype(np.uint8), _disc(STEP)) > 0)
        px, py = mesh.sources(points, name)
        inner = cv2.erode((area | sewn).astype(np.uint8), _disc(_RIM)).astype(np.float32)
        share = cv2.remap(cv2.GaussianBlur(inner, (0, 0), 0.8), px, py, cv2.INTER_LINEAR)
        drawn = cv2.remap(canvas, px, py, cv2.INTER_CUBIC).astype(np.float32)
        # Of the hidden trunk the photograph shows what lies before it.
        mine = sewn | (parts == name)
        visible = cv2.remap(mine.astype(np.float32), px, py, cv2.INTER_LINEAR)
        colour = share[..., None] * drawn + (1 - share[..., None]) * colour
        seen = share * visible + (1 - share) * seen
        alpha = np.maximum(alpha, share)
        shown = (share > 0.5) & (visible > 0.5)
        used[np.round(py[shown]).astype(int), np.round(px[shown]).astype(int)] = True
    hidden = (alpha > 0.5) & (seen < 0.6 * alpha)
    made_up = cv2.morphologyEx(hidden.astype(np.uint8), cv2.MORPH_OPEN, _disc(1))
    # Where hair or a hand was, its rim is not the garment's colour either.
    patch = cv2.dilate(made_up, _disc(3))
    picture = cv2.inpaint(np.clip(np.round(colour), 0, 255).astype(np.uint8), patch, 5, cv2.INPAINT_TELEA)
    mixed = alpha[..., None] * picture + (1 - alpha[..., None]) * BACKGROUND
    picture = np.where(patch[..., None] > 0, np.round(mixed).astype(np.uint8), picture)
    # Every pixel that was passed over between two that were taken was taken as well.
    whole = cv2.morphologyEx(used.astype(np.uint8), cv2.MORPH_CLOSE, _disc(3))
    return Flat(picture, alpha, (whole > 0) & own), made_up > 0


def _disc(radius: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
