"""Draws a pose like OpenPose: the input picture of VITON-HD's networks."""

from dataclasses import dataclass

import numpy as np

from worker.images.arrays import Canvas, Flags, Floats, Indices, Points
from worker.images.frame import HEIGHT, WIDTH
from worker.images.maps import Pose

# Measured on OpenPose's own renderings of VITON-HD's people at 768x1024; lengths in pixels.
BODY_RADIUS, BODY_HALF_WIDTH = WIDTH / 100, WIDTH / 120
HAND_RADIUS, HAND_HALF_WIDTH = WIDTH / 100, WIDTH / 80
OPACITY = 0.6
BODY_THRESHOLD, HAND_THRESHOLD = 0.05, 0.2
"""Joints of at most this confidence are not drawn."""

FULL_SIZE_EXTENT, MIN_SCALE = 400, 0.33
"""A pose whose width plus height is below this many pixels is drawn thinner, down to this scale."""

Colour = tuple[int, int, int]

BODY_LIMBS = (
    *((1, 8), (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (8, 9), (9, 10), (10, 11), (8, 12), (12, 13)),
    *((13, 14), (1, 0), (0, 15), (15, 17), (0, 16), (16, 18)),
    *((14, 19), (19, 20), (14, 21), (11, 22), (22, 23), (11, 24)),
)
BODY_COLOURS = (
    *((255, 0, 85), (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0)),
    *((0, 255, 0), (255, 0, 0), (0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255)),
    *((0, 0, 255), (255, 0, 170), (170, 0, 255), (255, 0, 255), (85, 0, 255)),
    *((0, 0, 255), (0, 0, 255), (0, 0, 255), (0, 255, 255), (0, 255, 255), (0, 255, 255)),
)
"""RGB of each joint; a limb has the colour of its second joint."""

HAND_LIMBS = tuple((0 if joint % 4 == 1 else joint - 1, joint) for joint in range(1, 21))
HAND_COLOURS = (
    (100, 100, 100),
    *((100, 0, 0), (150, 0, 0), (200, 0, 0), (255, 0, 0)),
    *((100, 100, 0), (150, 150, 0), (200, 200, 0), (255, 255, 0)),
    *((0, 100, 50), (0, 150, 75), (0, 200, 100), (0, 255, 125)),
    *((0, 50, 100), (0, 75, 150), (0, 100, 200), (0, 125, 255)),
    *((100, 0, 100), (150, 0, 150), (200, 0, 200), (255, 0, 255)),
)


@dataclass(frozen=True)
class _Style:
    """How one set of joints is drawn; lengths in pixels."""

    limbs: tuple[tuple[int, int], ...]
    colours: tuple[Colour, ...]
    radius: float
    half_width: float
    threshold: float


_BODY = _Style(BODY_LIMBS, BODY_COLOURS, BODY_RADIUS, BODY_HALF_WIDTH, BODY_THRESHOLD)
_HAND = _Style(HAND_LIMBS, HAND_COLOURS, HAND_RADIUS, HAND_HALF_WIDTH, HAND_THRESHOLD)


def render(pose: Pose) -> Canvas:
    """Return the pose on black, RGB uint8 (1024, 768, 3).

    A limb is an ellipse between its joints, a joint is a disc. Each is blended over the picture with an
    opacity of 0.6: limbs before discs, body before hands. Small poses are drawn thinner.
    """
    picture = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    _draw(picture, pose.body, _BODY)
    for hand in (pose.left_hand, pose.right_hand):
        _draw(picture, hand, _HAND)
    return picture.astype(np.uint8)


def _draw(picture: Floats, points: Floats, style: _Style) -> None:
    visible = points[:, 2] > style.threshold
    if not visible.any():
        return
    extent = float(np.ptp(points[visible, :2], axis=0).sum())
    scale = float(np.clip(extent / FULL_SIZE_EXTENT, MIN_SCALE, 1))
    half_width, radius = style.half_width * scale, style.radius * scale
    for start, end in style.limbs:
        if visible[start] and visible[end]:
            _draw_ellipse(picture, points[start, :2], points[end, :2], half_width, style.colours[end])
    for joint in np.flatnonzero(visible):
        _draw_disc(picture, points[joint, :2], radius, style.colours[joint])


def _draw_ellipse(picture: Floats, start: Points, end: Points, half_width: float, colour: Colour) -> None:
    """Blend an ellipse over the picture whose long axis is the limb."""
    centre, half = (start + end) / 2, (end - start) / 2
    length = float(np.hypot(*half))
    if length == 0:
        return
    direction = half / length
    # The ellipse's own extent: the box of an oblique limb is far larger than the limb.
    reach = np.hypot(length * direction, half_width * direction[::-1])
    window, columns, rows = _window(picture, centre, reach)
    x, y = columns - centre[0], rows - centre[1]
    across, along = direction[1] * x - direction[0] * y, direction[0] * x + direction[1] * y
    _blend(window, (along / length) ** 2 + (across / half_width) ** 2 <= 1, colour)


def _draw_disc(picture: Floats, centre: Points, radius: float, colour: Colour) -> None:
    window, x, y = _window(picture, centre, radius)
    _blend(window, (x - centre[0]) ** 2 + (y - centre[1]) ** 2 <= radius**2, colour)


def _window(picture: Floats, centre: Points, reach: float | Points) -> tuple[Floats, Indices, Indices]:
    """Return the part of the picture within `reach` (pixels, or x and y) of the centre, and its x and y."""
    x0, y0 = (max(0, int(value)) for value in centre - reach)
    x1, y1 = (max(0, int(value) + 2) for value in centre + reach)
    window = picture[y0:y1, x0:x1]
    rows, columns = window.shape[:2]
    return window, np.arange(x0, x0 + columns)[None, :], np.arange(y0, y0 + rows)[:, None]


def _blend(window: Floats, inside: Flags, colour: Colour) -> None:
    share = np.float32(OPACITY) * inside.astype(np.float32)[..., None]
    window += share * (np.array(colour, np.float32) - window)
