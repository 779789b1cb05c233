"""The clothing-agnostic person: photograph and parse with the upper garment and arms masked out."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from config.errors import PoseError
from worker.images.arrays import Canvas, Floats, Labels, Points
from worker.images.frame import HEIGHT, WIDTH
from worker.images.maps import Body25, Part

_UPPER = (Part.UPPER_CLOTHES, Part.DRESS, Part.COAT)
_HEAD = (Part.SUNGLASSES, Part.FACE)
_LOWER = (
    Part.PANTS,
    Part.SKIRT,
    Part.LEFT_LEG,
    Part.RIGHT_LEG,
    Part.LEFT_SHOE,
    Part.RIGHT_SHOE,
)
_GRAY = (128, 128, 128)

_R_PARSE = 10
"""Unit of length in the parse, pixels at 768×1024: every drawn width and radius is a multiple of it."""

_R_IMAGE = 20
"""Unit of length in the photograph, pixels at 768×1024."""

# An arm's strokes start at the other shoulder: a sleeve may cover the line between the shoulders.
_ARM_STROKES = (
    (Part.LEFT_ARM, (Body25.R_SHOULDER, Body25.L_SHOULDER, Body25.L_ELBOW, Body25.L_WRIST)),
    (Part.RIGHT_ARM, (Body25.L_SHOULDER, Body25.R_SHOULDER, Body25.R_ELBOW, Body25.R_WRIST)),
)

_NEEDED = (Body25.R_SHOULDER, Body25.L_SHOULDER, Body25.R_HIP, Body25.L_HIP)


def parse_agnostic(parse: Labels, body: Floats) -> Labels:
    """Return the parse without the upper garment, the neck and the part of the arms that a sleeve may cover.

    Equal to VITON-HD's definition (Choi et al. 2021, arXiv 2103.16874, section 3.1) in every pixel: PIL
    truncates coordinates and does not antialias, and all sizes are fixed in canvas pixels.

    Args:
        parse: uint8 (1024, 768), CIHP labels.
        body: float (25, 3), the Body25 joints in canvas pixels; 0, 0 for a missing joint.

    Returns:
        uint8 (1024, 768), CIHP labels.

    Raises:
        PoseError: a shoulder or a hip is missing.
    """
    joints = checked_joints(body)
    agnostic = parse.copy()
    for label, chain in _ARM_STROKES:
        strokes = Image.new("L", (WIDTH, HEIGHT), 0)
        draw = ImageDraw.Draw(strokes)
        previous = chain[0]
        for joint in chain[1:]:
            if not (_seen(joints, previous) and _seen(joints, joint)):
                continue
            draw.line([_point(joints, previous), _point(joints, joint)], 255, width=10 * _R_PARSE)
            radius = (4 if joint == chain[-1] else 15) * _R_PARSE
            _ellipse(draw, joints[joint], radius, radius, 255)
            previous = joint
        agnostic[(np.asarray(strokes) > 0) & (parse == label)] = Part.BACKGROUND
    agnostic[np.isin(parse, (*_UPPER, Part.NECK))] = Part.BACKGROUND
    return agnostic


def image_agnostic(rgb: Canvas, parse: Labels, body: Floats) -> Canvas:
    """Return the photograph with torso, arms and neck filled with gray; head and lower body are unchanged.

    Equal to VITON-HD's definition in every pixel (see `parse_agnostic`).

    Args:
        rgb: uint8 (1024, 768, 3), the person on the canvas.
        parse: uint8 (1024, 768), CIHP labels.
        body: float (25, 3), the Body25 joints in canvas pixels; 0, 0 for a missing joint.

    Returns:
        uint8 (1024, 768, 3).

    Raises:
        PoseError: a shoulder or a hip is missing.
    """
    joints = _with_hips_as_wide_as_shoulders(checked_joints(body))
    r = _R_IMAGE
    masked = Image.fromarray(rgb)
    draw = ImageDraw.Draw(masked)

    def line(start: int, end: int, width: int) -> None:
        draw.line([_point(joints, start), _point(joints, end)], _GRAY, width=width)

    line(Body25.R_SHOULDER, Body25.L_SHOULDER, 10 * r)
    for joint in (Body25.R_SHOULDER, Body25.L_SHOULDER):
        _ellipse(draw, joints[joint], 5 * r, 5 * r, _GRAY)
    for joint in (Body25.R_ELBOW, Body25.R_WRIST, Body25.L_ELBOW, Body25.L_WRIST):
        if _seen(joints, joint - 1) and _seen(joints, joint):
            line(joint - 1, joint, 10 * r)
            _ellipse(draw, joints[joint], 5 * r, 5 * r, _GRAY)

    for joint in (Body25.R_HIP, Body25.L_HIP):
        _ellipse(draw, joints[joint], 3 * r, 6 * r, _GRAY)
    line(Body25.R_SHOULDER, Body25.R_HIP, 6 * r)
    line(Body25.L_SHOULDER, Body25.L_HIP, 6 * r)
    line(Body25.R_HIP, Body25.L_HIP, 12 * r)
    torso = (Body25.R_SHOULDER, Body25.L_SHOULDER, Body25.L_HIP, Body25.R_HIP)
    draw.polygon([_point(joints, joint) for joint in torso], _GRAY, _GRAY)

    x, y = joints[Body25.NECK]
    draw.rectangle((x - 7 * r, y - 7 * r, x + 7 * r, y + 7 * r), _GRAY, _GRAY)

    agnostic = np.array(masked)
    unchanged = np.isin(parse, (*_HEAD, *_LOWER))
    agnostic[unchanged] = rgb[unchanged]
    return agnostic


def checked_joints(body: Floats) -> Points:
    """Return the joints' positions, float64 (25, 2), with the neck added, from Body25 joints (25, 2 or more).

    Raises PoseError when a shoulder or a hip is missing, or both hips are at the same point.
    """
    joints = np.array(body[:, :2], np.float64)
    missing = [_name(joint) for joint in _NEEDED if not _seen(joints, joint)]
    if missing:
        raise PoseError(
            f"The person's {_listed(missing)} cannot be found; use a photograph that shows the person "
            "from the head to below the hips, facing the camera."
        )
    if np.array_equal(joints[Body25.R_HIP], joints[Body25.L_HIP]):
        raise PoseError(
            "The person's right hip and left hip are at the same point; use a photograph that shows "
            "the person facing the camera."
        )
    if not _seen(joints, Body25.NECK):
        # Body25's neck is the shoulders' midpoint by definition.
        joints[Body25.NECK] = (joints[Body25.R_SHOULDER] + joints[Body25.L_SHOULDER]) / 2
    return joints


def _with_hips_as_wide_as_shoulders(joints: Points) -> Points:
    """Return the joints with the hips moved along their line until their distance is the shoulders'."""
    shoulders = np.linalg.norm(joints[Body25.L_SHOULDER] - joints[Body25.R_SHOULDER])
    hips = np.linalg.norm(joints[Body25.L_HIP] - joints[Body25.R_HIP])
    middle = (joints[Body25.R_HIP] + joints[Body25.L_HIP]) / 2
    widened = joints.copy()
    for hip in (Body25.R_HIP, Body25.L_HIP):
        # The published order of division and multiplication: another order changes the last bit.
        widened[hip] = middle + (joints[hip] - middle) / hips * shoulders
    return widened


def _seen(joints: Points, joint: int) -> bool:
    return bool(joints[joint].any())


def _point(joints: Points, joint: int) -> tuple[float, float]:
    return float(joints[joint, 0]), float(joints[joint, 1])


def _ellipse(
    draw: ImageDraw.ImageDraw, centre: Points, rx: int, ry: int, colour: int | tuple[int, int, int]
) -> None:
    x, y = centre
    draw.ellipse((x - rx, y - ry, x + rx, y + ry), colour, colour)


def _name(joint: Body25) -> str:
    side, part = joint.name.split("_", 1)
    return f"{'right' if side == 'R' else 'left'} {part.lower()}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
