"""Joint tables, OpenPose's JSON written and read, and OpenPose's rendering of a pose."""

import json

import numpy as np
import pytest
from PIL import Image

from config.errors import PoseError
from tests.support.samples import VITON, needs_samples
from worker.images.maps import Body25, Pose
from worker.images.openpose import from_openpose_json, to_openpose_json
from worker.pose.joints import BODY25, COCO17, MIRROR, MPII16, Landmark, Table, joints
from worker.pose.landmarks import (
    EAR_SHIFT,
    GUESSED_CONFIDENCE,
    KNEE_LIMIT,
    to_body25,
    to_coco17,
    to_mpii16,
)
from worker.pose.render import render

PEOPLE = ("00891_00", "03615_00", "07573_00", "08909_00")


def some_pose() -> Pose:
    draw = np.random.default_rng(7)

    def points(count: int) -> np.ndarray:
        return (draw.random((count, 3)) * (768, 1024, 1)).astype(np.float32)

    return Pose(points(25), points(21), points(21))


def standing() -> np.ndarray:
    """MediaPipe landmarks of a person who stands upright, all with high confidence."""
    landmarks = np.zeros((33, 4), np.float32)
    landmarks[:, 3] = 0.9
    places = {
        Landmark.NOSE: (384, 170),
        Landmark.L_EYE: (400, 150),
        Landmark.R_EYE: (368, 150),
        Landmark.L_MOUTH: (396, 195),
        Landmark.R_MOUTH: (372, 195),
        Landmark.L_EAR: (430, 160),
        Landmark.R_EAR: (338, 160),
        Landmark.L_SHOULDER: (520, 340),
        Landmark.R_SHOULDER: (250, 340),
        Landmark.L_ELBOW: (560, 540),
        Landmark.R_ELBOW: (210, 540),
        Landmark.L_WRIST: (580, 740),
        Landmark.R_WRIST: (190, 740),
        Landmark.L_HIP: (450, 700),
        Landmark.R_HIP: (320, 700),
        Landmark.L_KNEE: (450, 1100),
        Landmark.R_KNEE: (320, 900),
    }
    for landmark, place in places.items():
        landmarks[landmark, :2] = place
    for landmark in (
        Landmark.L_ANKLE,
        Landmark.R_ANKLE,
        Landmark.L_HEEL,
        Landmark.R_HEEL,
        Landmark.L_TOE,
        Landmark.R_TOE,
    ):
        landmarks[landmark, :2] = (400, 1500)
    return landmarks


@pytest.mark.parametrize(("table", "count"), [(BODY25, 25), (COCO17, 17), (MPII16, 16)])
def test_a_table_defines_each_joint_once_and_on_its_side(table: Table, count: int) -> None:
    assert len(table) == len({name for name, _ in table}) == count
    for name, definition in table:
        if definition:
            assert sum(weight for _, weight in definition) == pytest.approx(1)
        side = name.split("_")[0]
        if side in ("left", "right"):
            assert all(landmark.name.startswith(side[0].upper()) for landmark, _ in definition)


def test_the_body25_table_is_in_openposes_order() -> None:
    for (name, _), joint in zip(BODY25, Body25, strict=True):
        assert joint.name == name.replace("left_", "L_").replace("right_", "R_").upper()


def test_the_same_joint_has_the_same_definition_in_every_table() -> None:
    known = dict(BODY25)
    for name, definition in (*COCO17, *MPII16):
        name = {"pelvis": "mid_hip", "thorax": "neck"}.get(name, name)
        if name in known:
            assert definition == known[name]


def test_a_joint_has_the_lowest_confidence_of_its_landmarks_and_is_missing_when_one_is() -> None:
    points, confidence = standing()[:, :2], np.full(33, 0.9)
    confidence[Landmark.L_SHOULDER] = 0.4
    assert joints(BODY25, points, confidence)[Body25.NECK].tolist() == pytest.approx([385, 340, 0.4])
    confidence[Landmark.L_SHOULDER] = 0
    body25 = joints(BODY25, points, confidence)
    assert not body25[Body25.NECK].any()
    assert not body25[Body25.L_SHOULDER].any()
    assert body25[Body25.R_SHOULDER].any()


def test_coco_joints_keep_the_positions_of_confident_landmarks() -> None:
    landmarks = standing()
    landmarks[Landmark.L_WRIST, 3] = 0.2
    coco17 = to_coco17(landmarks)
    names = [name for name, _ in COCO17]
    assert coco17[names.index("left_ear")].tolist() == pytest.approx([430, 160, 0.9])
    assert coco17[names.index("right_knee"), :2].tolist() == [320, 900]
    for name in ("left_wrist", "left_knee", "left_ankle"):
        assert not coco17[names.index(name)].any(), name


def test_mpii_extrapolates_the_face_to_chin_and_crown() -> None:
    mpii16 = dict(zip((name for name, _ in MPII16), to_mpii16(standing()), strict=True))
    assert mpii16["pelvis"].tolist() == pytest.approx([385, 700, 0.9])
    assert mpii16["thorax"].tolist() == pytest.approx([385, 340, 0.9])
    # Eyes at 150 and mouth at 195: the head is 150 high.
    assert mpii16["head_top"].tolist() == pytest.approx([384, 75, 0.9], abs=0.01)
    assert mpii16["upper_neck"].tolist() == pytest.approx([384, 225, 0.9], abs=0.01)


def test_openpose_json_round_trip_is_exact() -> None:
    pose = some_pose()
    document = json.loads(json.dumps(to_openpose_json(pose)))
    assert document["version"] == 1.3
    person = document["people"][0]
    assert len(person["pose_keypoints_2d"]) == 75
    assert len(person["hand_left_keypoints_2d"]) == len(person["hand_right_keypoints_2d"]) == 63
    back = from_openpose_json(document)
    for one, other in zip(vars(pose).values(), vars(back).values(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_hands_are_optional_in_a_pose_file() -> None:
    back = from_openpose_json({"people": [{"pose_keypoints_2d": [1.0] * 75}]})
    assert not back.left_hand.any()


@pytest.mark.parametrize(
    "document",
    [{}, {"people": []}, {"people": [{"pose_keypoints_2d": [1.0] * 54}]}, {"people": [{}]}],
    ids=["empty", "no person", "coco-18", "no joints"],
)
def test_refuses_a_pose_file_without_body25(document: dict) -> None:
    with pytest.raises(PoseError, match="The pose file"):
        from_openpose_json(document)


EVERYWHERE = np.full((1024, 768), 255, np.uint8)


def test_landmarks_become_body25() -> None:
    body = to_body25(standing(), EVERYWHERE)
    torso = 360
    assert body[Body25.NECK].tolist() == pytest.approx([385, 340, 0.9])
    assert body[Body25.MID_HIP].tolist() == pytest.approx([385, 700, 0.9])
    # The ear moves away from the face, the left one to the right of the picture.
    moved = body[Body25.L_EAR, :2] - (430, 160)
    assert moved[0] > 0
    assert np.hypot(*moved) == pytest.approx(EAR_SHIFT * torso, rel=1e-4)
    assert body[Body25.R_KNEE, :2].tolist() == [320, 900]
    assert not body[Body25.L_ANKLE].any()
    assert not body[Body25.L_SMALL_TOE].any()


@pytest.mark.parametrize(
    ("below", "shown"),
    [(-30, 994), (-1, 1023), (1, 1023), (20, 1004), (76, KNEE_LIMIT * 1024), (101, KNEE_LIMIT * 1024)],
)
def test_a_knee_below_the_picture_is_moved_to_where_the_thigh_leaves_it(below: float, shown: float) -> None:
    landmarks = standing()
    landmarks[Landmark.L_KNEE, :2] = (500, 1024 + below)
    knee = to_body25(landmarks, EVERYWHERE)[Body25.L_KNEE]
    assert knee[1] == pytest.approx(shown)
    # It is still on the thigh.
    assert (knee[0] - 450) / (knee[1] - 700) == pytest.approx(50 / (324 + below), rel=1e-4)
    assert knee[2] == pytest.approx(0.9)


def test_a_knee_far_below_the_picture_is_missing() -> None:
    landmarks = standing()
    landmarks[Landmark.L_KNEE, :2] = (450, 1170)
    assert not to_body25(landmarks, EVERYWHERE)[Body25.L_KNEE].any()


def test_joints_without_confidence_are_missing_and_hips_are_guessed() -> None:
    landmarks = standing()
    landmarks[Landmark.L_ELBOW, 3] = 0.05
    landmarks[Landmark.R_WRIST, :2] = (-30, 740)
    landmarks[Landmark.L_WRIST, :2] = (900, 740)
    landmarks[Landmark.L_HIP, :2] = (450, 1200)
    body = to_body25(landmarks, EVERYWHERE)
    assert not body[Body25.L_ELBOW].any()
    assert body[Body25.R_WRIST, 0] == 0
    assert body[Body25.R_WRIST, 2] > 0
    assert not body[Body25.L_WRIST].any()
    assert body[Body25.L_HIP].tolist() == pytest.approx([450, 1200, 0.1])


def test_an_elbow_hidden_by_the_body_is_kept_with_low_confidence() -> None:
    landmarks = standing()
    landmarks[[Landmark.L_ELBOW, Landmark.L_WRIST], 3] = 0.2
    body = to_body25(landmarks, EVERYWHERE)
    assert body[Body25.L_ELBOW].tolist() == pytest.approx([560, 540, GUESSED_CONFIDENCE])
    assert not body[Body25.L_WRIST].any()
    # Beside the body it would be visible, and no upper arm is longer than the torso.
    assert not to_body25(landmarks, 0 * EVERYWHERE)[Body25.L_ELBOW].any()
    landmarks[Landmark.L_ELBOW, :2] = (560, 720)
    assert not to_body25(landmarks, EVERYWHERE)[Body25.L_ELBOW].any()


def test_mirroring_twice_is_the_identity() -> None:
    assert [MIRROR[index] for index in MIRROR] == list(range(33))
    assert MIRROR[Landmark.L_WRIST] == Landmark.R_WRIST
    assert MIRROR[Landmark.L_EAR] == Landmark.R_EAR


@needs_samples
@pytest.mark.parametrize("person", PEOPLE)
def test_renders_the_same_picture_as_openpose(person: str) -> None:
    document = json.loads((VITON / "openpose-json" / f"{person}_keypoints.json").read_text())
    expected = np.array(Image.open(VITON / "openpose-img" / f"{person}_rendered.png").convert("RGB"))
    difference = np.abs(render(from_openpose_json(document)).astype(int) - expected)
    assert difference.mean() < 0.01
    assert (difference > 2).mean() < 1e-4


def test_renders_only_detected_joints() -> None:
    empty = Pose(np.zeros((25, 3), np.float32), np.zeros((21, 3), np.float32), np.zeros((21, 3), np.float32))
    assert not render(empty).any()
    empty.body[Body25.L_WRIST] = (300, 400, 0.9)
    picture = render(empty)
    assert picture[400, 300].tolist() == [0, 153, 0]
    assert not picture[400, 320].any()


def test_joints_outside_the_canvas_can_be_rendered() -> None:
    pose = some_pose()
    pose.body[:, :2] = pose.body[:, :2] * 3 - 700
    assert render(pose).shape == (1024, 768, 3)
