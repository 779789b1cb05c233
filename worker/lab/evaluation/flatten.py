"""Makes a product picture of the garment that a person wears: flat, sleeves beside the body.

It uses joints and the person's label map only, nothing of the engines that it helps to measure. Trunk and
sleeves are one mesh, joined at the shoulders. Its bones are straightened; the rest deforms as rigidly as
possible.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from skimage.segmentation import watershed

from worker.cloth.garment import BACKGROUND
from worker.images.arrays import Canvas, Flags, Floats, Indices, Labels, Points
from worker.images.frame import HEIGHT, WIDTH
from worker.images.maps import Body25 as J
from worker.images.maps import Part, Pose
from worker.images.regions import largest_region, without_small_regions
from worker.images.shapes import disc
from worker.lab.evaluation.bones import SLEEVES, TRUNK, Bone, Skeleton, build_skeleton
from worker.lab.evaluation.mesh import STEP, Mesh

BOX = (622, 904)
"""The largest width and height of a garment in its picture, pixels, as in VITON-HD's."""

# The random part of the picture.
_ROTATION = 2.0  # standard deviation of the picture's rotation, degrees
_SCALES = (0.9, 1.0)  # range of its size, shares of BOX
_WARP = 0.012  # standard deviation of a smooth warp at its control points, canvas widths
_WARP_GRID = (4, 3)  # control points, rows and columns

# Lengths in shoulder widths.
_SEAM_RADIUS = 0.32  # around each shoulder joint, where a sleeve is joined to the trunk
_BONE_MARK_RADIUS = 0.05  # of the pixels around an arm bone that certainly belong to the sleeve
_MIN_HALF_WIDTH = 0.04  # narrower parts are removed: they are labels along an arm, not fabric

# The part of the trunk that certainly is not a sleeve: shares of its half width at shoulders and hips.
_CORE_AT_SHOULDERS, _CORE_AT_HIPS = 0.7, 0.55
_SHARED_BONE_POINTS = 5  # the first points of an arm bone are as much in the trunk as in the sleeve
_COMPACTNESS = 3.0  # higher: parts end half way between two bones; lower: at the fold between them
_BORDER_BLUR = 8  # smooths the border between two parts like a fold, pixels

_RIM = 2  # the garment is eroded by this many pixels, to leave out mixed colours of skin or wall
_OUTLINE_BLUR = 0.8  # pixels, as a lens blurs
_OPAQUE = 0.5  # alpha from which a pixel counts as garment
_MIN_VISIBLE = 0.6  # a pixel whose visible share is lower takes its colour from its surroundings
_PATCH_MARGIN = 3  # pixels around hidden areas whose colours are mixed with what hid them
_INPAINT_RADIUS = 5  # pixels
_HIDING_PARTS = (
    Part.HAIR,
    Part.LEFT_ARM,
    Part.RIGHT_ARM,
    Part.GLOVE,
    Part.SCARF,
    Part.SUNGLASSES,
    Part.FACE,
)

# Garments that are not flattened, because the result would not be realistic.
_MIN_AREA = 0.05  # smallest upper garment, share of the canvas
_MAX_LAYER = 0.15  # a second layer with a larger share is a coat over something
_MIN_SHOULDER_WIDTH = 0.42  # narrower shoulders, in trunk lengths: the person is turned
_MIN_WRIST_OFFSET = 0.8  # a raised wrist nearer to the middle, in half shoulder widths, hides the trunk
_RAISED_WRIST = 0.1  # how far above the hips a raised wrist is, in trunk lengths
_MAX_HIDDEN = 0.05  # largest share of the picture that may be inpainted
_MIN_LARGEST_PIECE = 0.95  # smallest share of the picture that its largest piece covers
_MIN_SYMMETRY = 0.7  # smallest IoU of the picture and its mirror image
_MIN_REGION = 0.03  # smaller regions, as shares of the largest, are errors of the label map

_ALL_PARTS = (TRUNK, *SLEEVES.values())


class UnsuitableGarmentError(Exception):
    """A garment that cannot be flattened; the message gives the reason in a few words."""


@dataclass(frozen=True)
class FlatGarment:
    """A worn garment as a product picture.

    Attributes:
        image: RGB uint8 (1024, 768, 3), on light grey.
        alpha: float32 (1024, 768), the garment's coverage of each pixel, 0..1.
        used: bool (1024, 768), the pixels of the person's canvas that the picture shows.
    """

    image: Canvas
    alpha: Floats
    used: Flags


def flatten(canvas: Canvas, pose: Pose, parse: Labels, rng: np.random.Generator) -> FlatGarment:
    """Return the product picture of the upper garment that a person wears.

    Args:
        canvas: the person, RGB uint8 (1024, 768, 3).
        pose: the joints.
        parse: CIHP labels, uint8 (1024, 768).
        rng: chooses the sleeves' angles, the scale, a small rotation and a mild smooth warp.

    Raises UnsuitableGarmentError when the garment cannot be flattened, or the result is not plausible.
    """
    garment = worn_garment(parse)
    _check_suitable(garment, pose, parse)
    skeleton = build_skeleton(pose, garment, rng)
    seam = _seam(skeleton)
    parts = _split_into_parts(canvas, garment, skeleton)
    areas = {part: _without_thin_areas(parts == part, skeleton) for part in _ALL_PARTS}
    areas[TRUNK] |= _hidden_trunk(areas[TRUNK], parse)
    mesh = Mesh.build(areas, seam)
    points = _place_in_picture(mesh.straighten(skeleton.bones), rng)
    flat, inpainted = _render(canvas, _Layers(parts, areas, seam), mesh, points)
    _check_plausible(flat.alpha > _OPAQUE, inpainted)
    return flat


def worn_garment(parse: Labels) -> Flags:
    """Return the upper garment of CIHP labels, uint8 (h, w), without small regions: bool (h, w)."""
    area = np.isin(parse, (Part.UPPER_CLOTHES, Part.COAT))
    min_pixels = math.floor(_MIN_REGION * np.count_nonzero(largest_region(area))) + 1
    return without_small_regions(area, min_pixels)


def _check_suitable(garment: Flags, pose: Pose, parse: Labels) -> None:
    """Raise UnsuitableGarmentError when the photograph does not show a whole garment from the front."""
    if garment.mean() < _MIN_AREA:
        raise UnsuitableGarmentError("no upper garment")
    if garment[-2:].any():
        raise UnsuitableGarmentError("cut off by the picture's edge")
    if _MAX_LAYER < np.mean(parse[garment] == Part.COAT) < 1 - _MAX_LAYER:
        raise UnsuitableGarmentError("a coat over another garment")
    needed = (J.R_SHOULDER, J.L_SHOULDER, J.R_ELBOW, J.L_ELBOW, J.R_HIP, J.L_HIP)
    if not all(pose.seen(joint) for joint in needed):
        raise UnsuitableGarmentError("joints not visible")
    neck = (pose.xy(J.R_SHOULDER) + pose.xy(J.L_SHOULDER)) / 2
    hips = (pose.xy(J.R_HIP) + pose.xy(J.L_HIP)) / 2
    width = (pose.xy(J.L_SHOULDER) - pose.xy(J.R_SHOULDER))[0]
    length = np.linalg.norm(hips - neck)
    if width < _MIN_SHOULDER_WIDTH * length:
        raise UnsuitableGarmentError("person turned away from the camera")
    for wrist in (J.R_WRIST, J.L_WRIST):
        x, y = pose.xy(wrist)
        before_trunk = abs(x - neck[0]) < _MIN_WRIST_OFFSET * width / 2
        if pose.seen(wrist) and before_trunk and y < hips[1] - _RAISED_WRIST * length:
            raise UnsuitableGarmentError("an arm in front of the trunk")


def _check_plausible(area: Flags, inpainted: Flags) -> None:
    """Raise UnsuitableGarmentError when a picture does not look like a flat garment."""
    share = np.count_nonzero(inpainted) / np.count_nonzero(area)
    if share > _MAX_HIDDEN:
        raise UnsuitableGarmentError(f"{share:.0%} of it hidden")
    if np.count_nonzero(largest_region(area)) < _MIN_LARGEST_PIECE * np.count_nonzero(area):
        raise UnsuitableGarmentError("visible in several pieces")
    if _symmetry(area) < _MIN_SYMMETRY:
        raise UnsuitableGarmentError("visible on one side only")


def _symmetry(area: Flags) -> float:
    """Return the IoU of an area and its mirror image at the best vertical axis near its centroid."""
    small = area[::4, ::4]  # a quarter of the size is exact enough and 16 times as fast
    padded = np.pad(small, ((0, 0), (small.shape[1],) * 2))
    middle = round(float(np.nonzero(padded)[1].mean()))
    scores = []
    for axis in range(middle - 8, middle + 9):
        mirrored = np.roll(padded[:, ::-1], 2 * axis - padded.shape[1] + 1, 1)
        scores.append(np.count_nonzero(padded & mirrored) / np.count_nonzero(padded | mirrored))
    return max(scores)


def _seam(skeleton: Skeleton) -> Flags:
    """Return where sleeves are joined to the trunk, bool (1024, 768)."""
    area = np.zeros((HEIGHT, WIDTH), np.uint8)
    radius = round(_SEAM_RADIUS * skeleton.shoulder_width)
    for x, y in (skeleton.shoulders.points[0], skeleton.shoulders.points[-1]):
        cv2.circle(area, (round(float(x)), round(float(y))), radius, 1, -1)
    return area > 0


def _split_into_parts(canvas: Canvas, garment: Flags, skeleton: Skeleton) -> Indices:
    """Return the part of each pixel of the garment, int (1024, 768); 0 elsewhere.

    A watershed of the colour gradient from marks on the bones: trunk and sleeve end at the fold between them.
    """
    marks = np.zeros(garment.shape, np.uint8)
    cv2.fillPoly(marks, [np.round(_trunk_core(skeleton)).astype(np.int32)], TRUNK)
    for bone in skeleton.arms.values():
        _mark_bone(marks, bone, max(2, round(_BONE_MARK_RADIUS * skeleton.shoulder_width)))
    marks[~garment] = 0
    lab = cv2.GaussianBlur(cv2.cvtColor(canvas, cv2.COLOR_RGB2LAB), (0, 0), 2).astype(np.float32)
    horizontal, vertical = cv2.Sobel(lab, cv2.CV_32F, 1, 0), cv2.Sobel(lab, cv2.CV_32F, 0, 1)
    gradient = np.sqrt((horizontal**2 + vertical**2).sum(2))
    parts = watershed(  # type: ignore[no-untyped-call]
        gradient, marks.astype(np.int32), mask=garment, compactness=_COMPACTNESS
    )
    shares = [
        cv2.GaussianBlur((parts == part).astype(np.float32), (0, 0), _BORDER_BLUR) for part in _ALL_PARTS
    ]
    return np.where(garment, 1 + np.argmax(shares, axis=0), 0)


def _trunk_core(skeleton: Skeleton) -> Points:
    """Return the polygon of the pixels that certainly belong to the trunk, float64 (6, 2)."""
    neck, hips = skeleton.spine.points[0], skeleton.spine.points[-1]
    half = (skeleton.shoulders.points[-1] - skeleton.shoulders.points[0]) / 2
    below = hips + (hips - neck) / np.linalg.norm(hips - neck) * HEIGHT  # outside the canvas
    left = [neck + _CORE_AT_SHOULDERS * half, hips + _CORE_AT_HIPS * half, below + _CORE_AT_HIPS * half]
    right = [below - _CORE_AT_HIPS * half, hips - _CORE_AT_HIPS * half, neck - _CORE_AT_SHOULDERS * half]
    return np.stack(left + right)


def _mark_bone(marks: Labels, bone: Bone, radius: int) -> None:
    """Mark the pixels near an arm bone as its part."""
    for x, y in bone.points[_SHARED_BONE_POINTS:]:
        cv2.circle(marks, (round(float(x)), round(float(y))), radius, bone.part, -1)


def _without_thin_areas(area: Flags, skeleton: Skeleton) -> Flags:
    """Return a part without the areas that are too thin to be fabric, except at the shoulders."""
    radius = round(_MIN_HALF_WIDTH * skeleton.shoulder_width)
    opened = cv2.morphologyEx(area.astype(np.uint8), cv2.MORPH_OPEN, disc(radius)) > 0
    # Straps at the shoulders may be as thin.
    below_straps = round(float(skeleton.spine.points[0, 1]) + _SEAM_RADIUS * skeleton.shoulder_width)
    opened[:below_straps] = area[:below_straps]
    return np.asarray(opened)


def _hidden_trunk(trunk: Flags, parse: Labels) -> Flags:
    """Return where hair, arms or sleeves hide the trunk, bool (1024, 768)."""
    between = np.maximum.accumulate(trunk, 1) & np.maximum.accumulate(trunk[:, ::-1], 1)[:, ::-1]
    closed = cv2.morphologyEx(trunk.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((15, 15), np.uint8)) > 0
    hidden = between & np.isin(parse, (*_HIDING_PARTS, Part.UPPER_CLOTHES, Part.COAT))
    small_gaps = closed & ~np.isin(parse, (Part.NECK, Part.BACKGROUND))
    return np.asarray((hidden | small_gaps) & ~trunk)


def _place_in_picture(points: Points, rng: np.random.Generator) -> Points:
    """Return the mesh's points in the product picture: rotated a little, scaled into BOX, warped."""
    angle = np.deg2rad(rng.normal(0, _ROTATION))
    rotated = points @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    low, high = rotated.min(0) + STEP, rotated.max(0) - STEP
    scale = rng.uniform(*_SCALES) * min(BOX / (high - low))
    placed = (rotated - (low + high) / 2) * scale + np.array([WIDTH, HEIGHT]) / 2
    shifts = rng.normal(0, _WARP * WIDTH, (*_WARP_GRID, 2)).astype(np.float32)
    warp = cv2.resize(shifts, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    x, y = np.clip(placed.astype(int), 0, [WIDTH - 1, HEIGHT - 1]).T
    return np.asarray(placed + warp[y, x])


@dataclass(frozen=True)
class _Layers:
    """The garment's parts on the person's canvas.

    Attributes:
        parts: int (1024, 768), the part of each visible pixel; 0 elsewhere.
        areas: part -> bool (1024, 768), what its mesh covers, hidden pixels included.
        seam: bool (1024, 768), where sleeves are joined to the trunk.
    """

    parts: Indices
    areas: Mapping[int, Flags]
    seam: Flags

    def source(self, part: int) -> tuple[Flags, Flags]:
        """Return the pixels that a part shows, and those of them that the photograph shows."""
        area = self.areas[part]
        # Along the seam the parts overlap, so that no gap is visible.
        overlap = (self.parts > 0) & self.seam & (cv2.dilate(area.astype(np.uint8), disc(STEP)) > 0)
        return area | overlap, np.asarray(overlap | (self.parts == part))


def _render(canvas: Canvas, layers: _Layers, mesh: Mesh, points: Points) -> tuple[FlatGarment, Flags]:
    """Return the picture of the moved mesh, sleeves over the trunk, and where it is inpainted, bool."""
    colour = np.full((HEIGHT, WIDTH, 3), float(BACKGROUND), np.float32)
    alpha, visible = np.zeros((HEIGHT, WIDTH), np.float32), np.zeros((HEIGHT, WIDTH), np.float32)
    used = np.zeros((HEIGHT, WIDTH), np.bool_)
    for part in layers.areas:
        area, photographed = layers.source(part)
        x, y = mesh.source_maps(points, part)
        inner = cv2.erode(area.astype(np.uint8), disc(_RIM)).astype(np.float32)
        part_alpha = cv2.remap(cv2.GaussianBlur(inner, (0, 0), _OUTLINE_BLUR), x, y, cv2.INTER_LINEAR)
        part_colour = cv2.remap(canvas, x, y, cv2.INTER_CUBIC).astype(np.float32)
        part_visible = cv2.remap(photographed.astype(np.float32), x, y, cv2.INTER_LINEAR)
        colour = part_alpha[..., None] * part_colour + (1 - part_alpha[..., None]) * colour
        visible = part_alpha * part_visible + (1 - part_alpha) * visible
        alpha = np.maximum(alpha, part_alpha)
        shown = (part_alpha > _OPAQUE) & (part_visible > _OPAQUE)
        used[np.round(y[shown]).astype(int), np.round(x[shown]).astype(int)] = True
    hidden = ((alpha > _OPAQUE) & (visible < _MIN_VISIBLE * alpha)).astype(np.uint8)
    inpainted = cv2.morphologyEx(hidden, cv2.MORPH_OPEN, disc(1)) > 0
    picture = _inpaint(np.clip(np.round(colour), 0, 255).astype(np.uint8), alpha, inpainted)
    # A larger picture skips no pixel, a smaller one does: pixels between used ones are used too.
    closed = cv2.morphologyEx(used.astype(np.uint8), cv2.MORPH_CLOSE, disc(3)) > 0
    return FlatGarment(picture, alpha, np.asarray(closed & (layers.parts > 0))), np.asarray(inpainted)


def _inpaint(picture: Canvas, alpha: Floats, hidden: Flags) -> Canvas:
    """Return the picture with hidden areas, and the mixed colours around them, filled by Telea's method."""
    patch = cv2.dilate(hidden.astype(np.uint8), disc(_PATCH_MARGIN))
    filled = cv2.inpaint(picture, patch, _INPAINT_RADIUS, cv2.INPAINT_TELEA)
    mixed = alpha[..., None] * filled + (1 - alpha[..., None]) * BACKGROUND
    return np.where(patch[..., None] > 0, np.round(mixed).astype(np.uint8), filled).astype(np.uint8)
