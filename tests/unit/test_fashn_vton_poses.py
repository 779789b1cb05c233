"""The pose of the stage `pose` is drawn as FASHN VTON expects it, at its place in the photograph."""

import numpy as np
import pytest

from tests.support.fashn_vton import VECTORS
from worker.fashn_vton.poses import COCO18, MIN_CONFIDENCE, person_drawing, with_whole_legs
from worker.images.frame import Frame
from worker.images.maps import Body25, Pose


@pytest.fixture(scope="module")
def prepared():
    with np.load(VECTORS / "preparation.npz") as arrays:
        return dict(arrays)


def on_canvas(shares, frame, confidence):
    """Points (n, 2), shares of the photograph, as joints (n, 3) on the canvas."""
    size = np.array([frame.photo_width, frame.photo_height])
    return np.column_stack([frame.points_to_canvas(shares * size), np.broadcast_to(confidence, len(shares))])


def pose_of(prepared, person, frame):
    """The vectors' pose as the stage `pose` gives it: body in Body25's order, hands with a confidence."""
    body = np.zeros((len(Body25), 3))
    seen = prepared[f"{person}_body_index"][0] >= 0
    body[list(COCO18)] = on_canvas(prepared[f"{person}_body_points"], frame, np.where(seen, 0.9, 0.0))
    hands = [
        on_canvas(hand, frame, np.where((hand >= 0).all(1), 0.9, 0.0)) for hand in prepared[f"{person}_hands"]
    ]
    return Pose(body, *hands)


@pytest.mark.parametrize("person", ["a", "b"])
def test_the_drawing_is_that_of_the_published_code_for_the_same_points(prepared, person):
    height, width = prepared[f"{person}_size"].tolist()
    # The photograph is twice as large as the drawing, and not in the middle of the canvas.
    frame = Frame(0.4, 30.0, -50.0, 2 * width, 2 * height)
    drawing = person_drawing(pose_of(prepared, person, frame), frame, height, width)
    expected = prepared[f"{person}_with_hands"]
    # A position may fall on the other side of a whole pixel after the way to the canvas and back.
    assert np.mean(drawing != expected) < 1e-3
    assert drawing.any()


def test_joints_of_low_confidence_and_missing_hands_are_not_drawn(prepared):
    frame = Frame(0.4, 0.0, 0.0, 1152, 1728)
    pose = pose_of(prepared, "a", frame)
    for points in (pose.body, pose.left_hand, pose.right_hand):
        points[:, 2] = np.minimum(points[:, 2], MIN_CONFIDENCE / 3)
    assert not person_drawing(pose, frame, 864, 576).any()


def test_left_stays_left():
    """The person's right shoulder has another grey than the left one."""
    frame = Frame(1.0, 0.0, 0.0, 768, 1024)
    levels = []
    for joint in (Body25.R_WRIST, Body25.L_WRIST):
        body = np.zeros((len(Body25), 3))
        body[joint] = 300, 300, 1
        drawing = person_drawing(Pose(body, np.zeros((21, 3)), np.zeros((21, 3))), frame, 1024, 768)
        levels.append(int(drawing[300, 300]))
    assert levels == [int(58 * 1.3), int(84 * 1.3)]


def test_knees_and_ankles_below_the_canvas_are_drawn_if_the_photograph_shows_them():
    frame = Frame.around(100, 50, 500, 550, 600, 900)  # the canvas ends at the knees
    body, landmarks = np.zeros((len(Body25), 3), np.float32), np.zeros((33, 3))
    hip, knee, ankle = (250.0, 400.0), (250.0, 560.0), (250.0, 750.0)
    body[Body25.R_HIP] = *frame.points_to_canvas(np.array(hip)), 0.9
    body[Body25.R_KNEE] = *frame.points_to_canvas(np.array(knee)), 0.8
    landmarks[26] = *frame.points_to_canvas(np.array((260.0, 600.0))), 0.7  # less exact than the joint
    landmarks[28] = *frame.points_to_canvas(np.array(ankle)), 0.7
    landmarks[25] = *frame.points_to_canvas(np.array((350.0, 950.0))), 0.7  # below the photograph
    hands = np.zeros((21, 3), np.float32)
    whole = with_whole_legs(Pose(body, hands, hands), landmarks, frame)
    np.testing.assert_allclose(frame.points_to_photo(whole.xy(Body25.R_ANKLE)), ankle, atol=0.01)
    assert (whole.body[Body25.R_KNEE] == body[Body25.R_KNEE]).all()
    assert not whole.seen(Body25.L_KNEE)
    drawing = person_drawing(whole, frame, 900, 600)
    assert drawing[650, 250] > 0, "the lower leg"
    assert not person_drawing(Pose(body, hands, hands), frame, 900, 600)[650, 250]
