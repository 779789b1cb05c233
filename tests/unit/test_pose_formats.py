"""Joint tables, OpenPose's JSON there and back, and the drawing that OpenPose makes of a pose."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.support.samples import VITON, needs_samples
from worker.errors import PoseError
from worker.maps import Body25, Pose
from worker.pose.formats import (
    COCO17,
    MPII16,
    from_coco17,
    from_openpose_json,
    to_coco17,
    to_mpii16,
    to_openpose_json,
)
from worker.pose.landmarks import EAR_SHIFT, KNEE_LIMIT, MIRROR, Landmark, to_body25
from worker.pose.render import render

PEOPLE = ("00891_00", "03615_00", "07573_00", "08909_00")


def some_pose() -> Pose:
    draw = np.random.default_rng(7)

    def points(count: int) -> np.ndarray:
        return (draw.random((count, 3)) * (768, 1024, 1)).astype(np.float32)

    return Pose(points(25), points(21), points(21))


def standing() -> np.ndarray:
    """MediaPipe landmarks of a person who stands upright, all of them seen."""
    landmarks = np.zeros((33, 4), np.float32)
    landmarks[:, 3] = 0.9
    places = {
        Landmark.NOSE: (384, 170),
        Landmark.L_EYE: (400, 150),
        Landmark.R_EYE: (368, 150),
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


@pytest.mark.parametrize(("table", "count"), [(COCO17, 17), (MPII16, 16)])
def test_tables_name_each_joint_once_and_on_its_side(table: tuple, count: int) -> None:
    assert len(table) == count
    joints = [joint for _, joint in table if joint is not None]
    assert len(set(joints)) == len(joints)
    for name, joint in table:
        if joint is not None and "_" in name:
            side, part = name.split("_", 1)
            assert joint.name == f"{side[0].upper()}_{part.upper()}"


def test_coco_keeps_every_joint_it_has() -> None:
    pose = some_pose()
    back = from_coco17(to_coco17(pose))
    kept = [joint for _, joint in COCO17]
    np.testing.assert_array_equal(back.body[kept], pose.body[kept])
    between = (pose.xy(Body25.R_SHOULDER) + pose.xy(Body25.L_SHOULDER)) / 2
    np.testing.assert_allclose(back.xy(Body25.NECK), between)
    assert not back.seen(Body25.L_HEEL)


def test_coco_has_no_neck_without_both_shoulders() -> None:
    keypoints = to_coco17(some_pose())
    keypoints[5] = 0
    assert not from_coco17(keypoints).seen(Body25.NECK)


def test_mpii_takes_pelvis_and_thorax_and_leaves_the_head() -> None:
    pose = some_pose()
    joints = to_mpii16(pose)
    np.testing.assert_array_equal(joints[6], pose.body[Body25.MID_HIP])
    np.testing.assert_array_equal(joints[7], pose.body[Body25.NECK])
    assert not joints[8:10].any()


def test_openpose_json_comes_back_exactly() -> None:
    pose = some_pose()
    document = json.loads(json.dumps(to_openpose_json(pose)))
    assert document["version"] == 1.3
    person = document["people"][0]
    assert len(person["pose_keypoints_2d"]) == 75
    assert len(person["hand_left_keypoints_2d"]) == len(person["hand_right_keypoints_2d"]) == 63
    back = from_openpose_json(document)
    for one, other in zip(vars(pose).values(), vars(back).values(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_pose_file_may_lack_hands() -> None:
    back = from_openpose_json({"people": [{"pose_keypoints_2d": [1.0] * 75}]})
    assert not back.left_hand.any()


@pytest.mark.parametrize(
    "document",
    [{}, {"people": []}, {"people": [{"pose_keypoints_2d": [1.0] * 54}]}, {"people": [{}]}],
    ids=["empty", "nobody", "coco-18", "no joints"],
)
def test_refuses_a_pose_file_without_body25(document: dict) -> None:
    with pytest.raises(PoseError, match="The pose file"):
        from_openpose_json(document)


def test_landmarks_become_body25() -> None:
    body = to_body25(standing())
    torso = 360
    assert body[Body25.NECK].tolist() == pytest.approx([385, 340, 0.9])
    assert body[Body25.MID_HIP].tolist() == pytest.approx([385, 700, 0.9])
    # The ear moves away from the face, the left one to the right of the picture.
    moved = body[Body25.L_EAR, :2] - (430, 160)
    assert moved[0] > 0
    assert np.hypot(*moved) == pytest.approx(EAR_SHIFT * torso, rel=1e-4)
    # A knee below the picture is where the thigh leaves it; one within stays.
    assert body[Body25.L_KNEE, :2].tolist() == pytest.approx([450, KNEE_LIMIT * 1024])
    assert body[Body25.R_KNEE, :2].tolist() == [320, 900]
    assert not body[Body25.L_ANKLE].any()
    assert not body[Body25.L_SMALL_TOE].any()


def test_joints_that_are_not_seen_are_missing_and_hips_are_guessed() -> None:
    landmarks = standing()
    landmarks[Landmark.L_ELBOW, 3] = 0.2
    landmarks[Landmark.R_WRIST, :2] = (-30, 740)
    landmarks[Landmark.L_WRIST, :2] = (900, 740)
    landmarks[Landmark.L_HIP, :2] = (450, 1200)
    body = to_body25(landmarks)
    assert not body[Body25.L_ELBOW].any()
    assert body[Body25.R_WRIST, 0] == 0
    assert body[Body25.R_WRIST, 2] > 0
    assert not body[Body25.L_WRIST].any()
    assert body[Body25.L_HIP].tolist() == pytest.approx([450, 1200, 0.1])


def test_a_mirrored_person_mirrors_twice_to_itself() -> None:
    assert [MIRROR[index] for index in MIRROR] == list(range(33))
    assert MIRROR[Landmark.L_WRIST] == Landmark.R_WRIST
    assert MIRROR[Landmark.L_EAR] == Landmark.R_EAR


@needs_samples
@pytest.mark.parametrize("person", PEOPLE)
def test_draws_what_openpose_draws(person: str) -> None:
    document = json.loads((VITON / "openpose-json" / f"{person}_keypoints.json").read_text())
    expected = np.array(Image.open(VITON / "openpose-img" / f"{person}_rendered.png").convert("RGB"))
    difference = np.abs(render(from_openpose_json(document)).astype(int) - expected)
    assert difference.mean() < 0.01
    assert (difference > 2).mean() < 1e-4


def test_draws_nothing_for_nobody_and_only_joints_that_are_seen() -> None:
    nobody = Pose(np.zeros((25, 3), np.float32), np.zeros((21, 3), np.float32), np.zeros((21, 3), np.float32))
    assert not render(nobody).any()
    nobody.body[Body25.L_WRIST] = (300, 400, 0.9)
    picture = render(nobody)
    assert picture[400, 300].tolist() == [0, 153, 0]
    assert not picture[400, 320].any()


def test_draws_over_the_edge_of_the_canvas() -> None:
    pose = some_pose()
    pose.body[:, :2] = pose.body[:, :2] * 3 - 700
    assert render(pose).shape == (1024, 768, 3)
