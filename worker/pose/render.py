"""A pose drawn as OpenPose draws it: the picture that VITON-HD's networks expect."""

import numpy as np

from worker.images.frame import HEIGHT, WIDTH
from worker.images.maps import Pose

# Measured on OpenPose's own renderings of VITON-HD's people at 768x1024.
BODY_RADIUS, BODY_HALF_WIDTH = WIDTH / 100, WIDTH / 120
HAND_RADIUS, HAND_HALF_WIDTH = WIDTH / 100, WIDTH / 80
OPACITY = 0.6
BODY_THRESHOLD, HAND_THRESHOLD = 0.05, 0.2

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
"""RGB of each joint; a limb has the colour of the joint at its far end."""

HAND_LIMBS = tuple((0 if joint % 4 == 1 else joint - 1, joint) for joint in range(1, 21))
HAND_COLOURS = (
    (100, 100, 100),
    *((100, 0, 0), (150, 0, 0), (200, 0, 0), (255, 0, 0)),
    *((100, 100, 0), (150, 150, 0), (200, 200, 0), (255, 255, 0)),
    *((0, 100, 50), (0, 150, 75), (0, 200, 100), (0, 255, 125)),
    *((0, 50, 100), (0, 75, 150), (0, 100, 200), (0, 125, 255)),
    *((100, 0, 100), (150, 0, 150), (200, 0, 200), (255, 0, 255)),
)


def render(pose: Pose) -> np.ndarray:
    """Return the pose on black, RGB uint8 (1024, 768, 3).

    A limb is an ellipse between its joints, a joint a disc; each is laid over what is there with an opacity
    of 0.6, limbs before discs, body before hands. Small poses are drawn thinner.
    """
    picture = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    _draw(picture, pose.body, BODY_LIMBS, BODY_COLOURS, BODY_RADIUS, BODY_HALF_WIDTH, BODY_THRESHOLD)
    for hand in (pose.left_hand, pose.right_hand):
        _draw(picture, hand, HAND_LIMBS, HAND_COLOURS, HAND_RADIUS, HAND_HALF_WIDTH, HAND_THRESHOLD)
    return picture.astype(np.uint8)


def _draw(
    picture: np.ndarray,
    points: np.ndarray,
    limbs: tuple[tuple[int, int], ...],
    colours: tuple[tuple[int, int, int], ...],
    radius: float,
    half_width: float,
    threshold: float,
) -> None:
    seen = points[:, 2] > threshold
    if not seen.any():
        return
    extent = float(np.ptp(points[seen, :2], axis=0).sum())
    scale = float(np.clip(extent / 400, 0.33, 1))
    for start, end in limbs:
        if seen[start] and seen[end]:
            _ellipse(picture, points[start, :2], points[end, :2], half_width * scale, colours[end])
    for joint in np.flatnonzero(seen):
        _disc(picture, points[joint, :2], radius * scale, colours[joint])


def _ellipse(
    picture: np.ndarray, start: np.ndarray, end: np.ndarray, half_width: float, colour: tuple[int, int, int]
) -> None:
    """Lay an ellipse over the picture whose long axis is the limb."""
    centre, half = (start + end) / 2, (end - start) / 2
    length = float(np.hypot(*half))
    if length == 0:
        return
    along = half / length
    window, x, y = _window(picture, centre, length + half_width)
    x, y = x - centre[0], y - centre[1]
    across, lengthwise = along[1] * x - along[0] * y, along[0] * x + along[1] * y
    _blend(window, (lengthwise / length) ** 2 + (across / half_width) ** 2 <= 1, colour)


def _disc(picture: np.ndarray, centre: np.ndarray, radius: float, colour: tuple[int, int, int]) -> None:
    window, x, y = _window(picture, centre, radius)
    _blend(window, (x - centre[0]) ** 2 + (y - centre[1]) ** 2 <= radius**2, colour)


def _window(
    picture: np.ndarray, centre: np.ndarray, reach: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the part of the picture within reach, and its pixels' x and y."""
    x0, y0 = (max(0, int(value - reach)) for value in centre)
    x1, y1 = (max(0, int(value + reach) + 2) for value in centre)
    window = picture[y0:y1, x0:x1]
    rows, columns = window.shape[:2]
    return window, np.arange(x0, x0 + columns)[None, :], np.arange(y0, y0 + rows)[:, None]


def _blend(window: np.ndarray, inside: np.ndarray, colour: tuple[int, int, int]) -> None:
    window[inside] += OPACITY * (np.array(colour, np.float32) - window[inside])
