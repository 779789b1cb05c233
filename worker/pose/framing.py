"""Which part of a photograph goes on the canvas: the person from the head to about the knees."""

import math

import numpy as np

from worker.images.frame import HEIGHT, WIDTH, Frame
from worker.pose.joints import Landmark
from worker.pose.landmarks import MIN_VISIBILITY

# VITON-HD's people, whose torso (neck to mid-hip) is 0.37 of the picture's height: from 0.95 torso above
# the neck to 1.75 torso below it.
ABOVE_NECK = 0.95
BELOW_NECK = 1.75
SHOULDERS_PER_TORSO = 0.72
SIDE_MARGIN = 0.25
"""Room beside the outermost joint: the thickness of an arm, a hand, hair (of the torso's length)."""

HEAD_MARGIN = 0.06
"""Room above hair or hat (of the torso's length)."""

WELL_FRAMED = 0.7
"""A 3:4 photograph is kept whole when the person's window would be at least this much of its height."""

MIN_SEARCH_HEIGHT = 400
"""A person in a lower window would have too few pixels to be dressed."""

UPPER_BODY = [*range(0, 11), *range(11, 23), Landmark.L_HIP, Landmark.R_HIP]


def person_frame(landmarks: np.ndarray, mask: np.ndarray, whole: Frame) -> Frame:
    """Return the frame that shows the person as VITON-HD's pictures show theirs.

    landmarks (33, 4) and mask (1024, 768) 0..1 are the person's on the canvas of the `whole` photograph. A
    photograph that is 3:4 and already shows its person large is shown whole. Otherwise the window has the
    shape of the canvas, holds head and arms, and leaves the photograph only where that is too narrow or too
    low for the window.
    """
    x0, y0, x1, y1 = _wanted(landmarks, mask)
    corners = whole.points_to_photo(np.array([[x0, y0], [x1, y1]]))
    photo_width, photo_height = whole.photo_width, whole.photo_height
    (x0, y0), (x1, y1) = np.clip(corners, 0, (photo_width, photo_height)).tolist()
    height = max(y1 - y0, (x1 - x0) * HEIGHT / WIDTH)
    is_canvas_shaped = abs(photo_width / photo_height / (WIDTH / HEIGHT) - 1) < 0.02
    if is_canvas_shaped and height >= WELL_FRAMED * photo_height:
        return whole
    width = height * WIDTH / HEIGHT
    left = _place((x0 + x1) / 2 - width / 2, width, photo_width)
    # Room that is left over goes below: the head is where it belongs already.
    top = _place(y0, height, photo_height)
    return Frame.around(left, top, left + width, top + height, photo_width, photo_height)


def search_windows(photo_width: int, photo_height: int) -> list[list[Frame]]:
    """Return where to look for a person who is small in the photograph: large windows first, then smaller.

    The windows have the canvas's shape and overlap by half. In the first list they are as large as the
    photograph allows, in the second half as high.
    """
    largest = min(photo_height, photo_width * HEIGHT / WIDTH)
    return [
        _windows(height, photo_width, photo_height)
        for height in (largest, largest / 2)
        if height >= MIN_SEARCH_HEIGHT
    ]


def _windows(height: float, photo_width: int, photo_height: int) -> list[Frame]:
    width = height * WIDTH / HEIGHT
    columns = math.ceil(2 * photo_width / width) - 1
    rows = math.ceil(2 * photo_height / height) - 1
    return [
        Frame.around(left, top, left + width, top + height, photo_width, photo_height)
        for top in np.linspace(0, photo_height - height, rows).tolist()
        for left in np.linspace(0, photo_width - width, columns).tolist()
    ]


def _wanted(landmarks: np.ndarray, mask: np.ndarray) -> tuple[float, float, float, float]:
    points, visible = landmarks[:, :2], landmarks[:, 3] > MIN_VISIBILITY
    shoulders = points[[Landmark.R_SHOULDER, Landmark.L_SHOULDER]]
    hips = points[[Landmark.R_HIP, Landmark.L_HIP]]
    neck = shoulders.mean(0)
    # A torso that leans to the camera looks short; the shoulders then tell the person's size.
    torso = max(
        float(np.linalg.norm(hips.mean(0) - neck)),
        float(np.linalg.norm(shoulders[0] - shoulders[1])) / SHOULDERS_PER_TORSO,
    )
    inside = [index for index in UPPER_BODY if visible[index]] or UPPER_BODY
    margin = SIDE_MARGIN * torso
    x0 = float(points[inside, 0].min()) - margin
    x1 = float(points[inside, 0].max()) + margin
    y0 = min(
        float(neck[1]) - ABOVE_NECK * torso,
        float(points[inside, 1].min()) - margin,
        _head_top(points[Landmark.NOSE], mask, 0.3 * torso) - HEAD_MARGIN * torso,
    )
    y1 = max(float(neck[1]) + BELOW_NECK * torso, float(points[inside, 1].max()) + margin)
    return x0, y0, x1, y1


def _head_top(nose: np.ndarray, mask: np.ndarray, reach: float) -> float:
    """Return where the mask ends above the nose: the top of hair or hat."""
    row = int(np.clip(nose[1], 0, HEIGHT - 1))
    band = mask[:row, max(0, int(nose[0] - reach)) : max(1, int(nose[0] + reach))]
    empty = np.flatnonzero((band <= 0.5).all(1))
    return float(empty[-1] + 1) if len(empty) else 0.0


def _place(start: float, length: float, limit: int) -> float:
    """Return where a window begins so that it is inside 0..limit, or centred when it is longer."""
    if length >= limit:
        return (limit - length) / 2
    return min(max(start, 0.0), limit - length)
