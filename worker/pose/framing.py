"""Selects the part of a photograph that the canvas shows: the person from the head to about the knees."""

import math

import numpy as np

from worker.images.arrays import Floats, Points
from worker.images.frame import HEIGHT, WIDTH, Frame
from worker.pose.joints import SHOULDERS, Landmark, torso_length
from worker.pose.landmarks import MIN_VISIBILITY

ABOVE_NECK, BELOW_NECK = 0.95, 1.75
"""Extent of the window above and below the neck, torso lengths: that of VITON-HD's people, whose torso (neck
to mid-hip) is 0.37 of the picture's height."""

SHOULDERS_PER_TORSO = 0.72
"""Width of the shoulders, torso lengths."""

SIDE_MARGIN = 0.25
"""Room next to the outermost joint, torso lengths: the thickness of an arm, a hand, hair."""

HEAD_MARGIN = 0.06
"""Room above hair or hat, torso lengths."""

HEAD_HALF_WIDTH = 0.3
"""Half the width of the band above the nose that is searched for hair or hat, torso lengths."""

MIN_PERSON_COVERAGE = 0.5
"""A pixel above this value of the person's mask belongs to the person."""

WELL_FRAMED = 0.7
"""A 3:4 photograph is shown whole if the person's window would be at least this share of its height."""

CANVAS_SHAPE_TOLERANCE = 0.02
"""Largest relative difference from the canvas's aspect ratio for a photograph to count as 3:4."""

MIN_SEARCH_HEIGHT = 400
"""Height of the smallest search window, pixels: a person in a lower window is too small for a try-on."""

UPPER_BODY = [*range(0, 11), *range(11, 23), Landmark.L_HIP, Landmark.R_HIP]


def person_frame(landmarks: Floats, mask: Floats, whole: Frame) -> Frame:
    """Return the frame that shows the person at the size and position of VITON-HD's people.

    A photograph that is 3:4 and already shows its person large is shown whole. Otherwise the window has the
    shape of the canvas, contains head and arms, and extends beyond the photograph only if the photograph is
    too narrow or too low.

    Args:
        landmarks: float (33, 4), the person's, canvas pixels of `whole`.
        mask: float (1024, 768) 0..1, the person's, on the same canvas.
        whole: the frame that shows the whole photograph.
    """
    x0, y0, x1, y1 = _person_box(landmarks, mask)
    corners = whole.points_to_photo(np.array([[x0, y0], [x1, y1]]))
    photo_width, photo_height = whole.photo_width, whole.photo_height
    (x0, y0), (x1, y1) = np.clip(corners, 0, (photo_width, photo_height)).tolist()
    height = max(y1 - y0, (x1 - x0) * HEIGHT / WIDTH)
    is_canvas_shaped = abs(photo_width / photo_height / (WIDTH / HEIGHT) - 1) < CANVAS_SHAPE_TOLERANCE
    if is_canvas_shaped and height >= WELL_FRAMED * photo_height:
        return whole
    width = height * WIDTH / HEIGHT
    left = _shifted_inside((x0 + x1) / 2 - width / 2, width, photo_width)
    # Surplus height goes below the person: the position of the head is already right.
    top = _shifted_inside(y0, height, photo_height)
    return Frame.around(left, top, left + width, top + height, photo_width, photo_height)


def search_windows(photo_width: int, photo_height: int) -> list[list[Frame]]:
    """Return the windows in which to search for a small person, from the largest size to the smallest.

    The windows have the canvas's aspect ratio and overlap by half. In the first list they are as large as
    the photograph allows, in the second half as high.
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


def _person_box(landmarks: Floats, mask: Floats) -> tuple[float, float, float, float]:
    """Return the box that the window must contain: x0, y0, x1, y1, canvas pixels."""
    points, visible = landmarks[:, :2], landmarks[:, 3] > MIN_VISIBILITY
    shoulders = points[SHOULDERS]
    neck = shoulders.mean(0)
    # A torso that leans to the camera appears short; then the shoulders give the person's size.
    torso = max(
        torso_length(landmarks),
        float(np.linalg.norm(shoulders[0] - shoulders[1])) / SHOULDERS_PER_TORSO,
    )
    inside = [index for index in UPPER_BODY if visible[index]] or UPPER_BODY
    margin = SIDE_MARGIN * torso
    x0 = float(points[inside, 0].min()) - margin
    x1 = float(points[inside, 0].max()) + margin
    y0 = min(
        float(neck[1]) - ABOVE_NECK * torso,
        float(points[inside, 1].min()) - margin,
        _head_top(points[Landmark.NOSE], mask, HEAD_HALF_WIDTH * torso) - HEAD_MARGIN * torso,
    )
    y1 = max(float(neck[1]) + BELOW_NECK * torso, float(points[inside, 1].max()) + margin)
    return x0, y0, x1, y1


def _head_top(nose: Points, mask: Floats, half_width: float) -> float:
    """Return the row at which the mask ends above the nose: the top of hair or hat."""
    row = int(np.clip(nose[1], 0, HEIGHT - 1))
    band = mask[:row, max(0, int(nose[0] - half_width)) : max(1, int(nose[0] + half_width))]
    empty_rows = np.flatnonzero((band <= MIN_PERSON_COVERAGE).all(1))
    return float(empty_rows[-1] + 1) if len(empty_rows) else 0.0


def _shifted_inside(start: float, length: float, limit: int) -> float:
    """Return the start of a window moved inside 0..limit, or centred if the window is longer."""
    if length >= limit:
        return (limit - length) / 2
    return min(max(start, 0.0), limit - length)
