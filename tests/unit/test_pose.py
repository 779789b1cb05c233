"""The pose of people in real photographs, and the photographs that must be rejected."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
from PIL import Image as PillowImage

from config.errors import MultiplePeopleError, NoPersonError, PoseError, TryonError, WeightsMissingError
from tests.support.samples import CCP, VITON, needs_ccp, needs_samples
from worker.images.arrays import Flags, Image, Mask
from worker.images.frame import HEIGHT, WIDTH, Frame
from worker.images.maps import Body25
from worker.images.openpose import from_openpose_json
from worker.pose.estimator import PersonPose, PoseEstimator, _require_usable, _with_outside
from worker.pose.joints import MIRROR

PEOPLE = ("00891_00", "03615_00", "07573_00", "08909_00")
STREET = ("0007", "0226", "0376", "0751")
TORSO = (Body25.R_SHOULDER, Body25.L_SHOULDER, Body25.R_HIP, Body25.L_HIP)


@pytest.fixture(scope="module")
def estimator(models_dir: Path) -> Iterator[PoseEstimator]:
    loaded = PoseEstimator(models_dir)
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def astronaut(estimator: PoseEstimator) -> PersonPose:
    return estimator.estimate(skimage.data.astronaut())


def viton(person: str) -> Image:
    return np.array(PillowImage.open(VITON / "image" / f"{person}.jpg").convert("RGB"))


def street(number: str) -> Image:
    return np.array(PillowImage.open(CCP / "photos" / f"{number}.jpg").convert("RGB"))


def overlap(mask: Mask, truth: Flags) -> float:
    """Return the intersection over union."""
    person = mask > 127
    return float((person & truth).sum() / (person | truth).sum())


def test_frames_a_half_length_portrait(astronaut: PersonPose) -> None:
    # The photograph is square: the window has its height and stays inside it.
    assert astronaut.frame.scale == pytest.approx(HEIGHT / 512, abs=0.1)
    corners = astronaut.frame.points_to_photo(np.array([[0, 0], [WIDTH, HEIGHT]], float))
    assert corners.min() > -6
    assert corners.max() < 518


def test_locates_the_joints_of_a_half_length_portrait(astronaut: PersonPose) -> None:
    on_photo = astronaut.frame.points_to_photo(astronaut.pose.body[:, :2])
    # Located by eye: the nose, and where the sleeves of the suit begin.
    for joint, position, tolerance in [
        (Body25.NOSE, (226, 133), 20),
        (Body25.R_SHOULDER, (105, 255), 45),
        (Body25.L_SHOULDER, (315, 255), 45),
    ]:
        assert np.linalg.norm(on_photo[joint] - position) < tolerance, joint.name
    for joint in TORSO:
        assert astronaut.pose.seen(joint)
    shoulders, hips = on_photo[[2, 5]].mean(0), on_photo[[9, 12]].mean(0)
    assert hips[1] - shoulders[1] > 150


def test_outlines_a_half_length_portrait(astronaut: PersonPose) -> None:
    mask = astronaut.frame.to_photo(astronaut.mask, interpolation=cv2.INTER_LINEAR) > 127
    inside = [(226, 40), (226, 133), (180, 330), (120, 300), (290, 330), (60, 420)]
    outside = [(20, 60), (110, 60), (350, 60), (460, 100), (440, 250)]
    assert [(x, y) for x, y in inside if not mask[y, x]] == []
    assert [(x, y) for x, y in outside if mask[y, x]] == []


def test_is_deterministic(estimator: PoseEstimator, astronaut: PersonPose) -> None:
    again = estimator.estimate(skimage.data.astronaut())
    assert again.frame == astronaut.frame
    np.testing.assert_array_equal(again.mask, astronaut.mask)
    np.testing.assert_array_equal(again.pose.body, astronaut.pose.body)


def test_the_result_has_the_documented_shapes(astronaut: PersonPose) -> None:
    assert astronaut.landmarks.shape == (33, 4)
    assert astronaut.landmarks.dtype == np.float32
    assert (astronaut.pose.body.shape, astronaut.pose.body.dtype) == ((25, 3), np.float32)
    assert astronaut.pose.left_hand.shape == astronaut.pose.right_hand.shape == (21, 3)
    assert (astronaut.mask.shape, astronaut.mask.dtype) == ((HEIGHT, WIDTH), np.uint8)


@needs_samples
@pytest.mark.parametrize("person", PEOPLE)
def test_agrees_with_openpose(estimator: PoseEstimator, person: str) -> None:
    result = estimator.estimate(viton(person))
    assert result.frame == Frame(1, 0, 0, WIDTH, HEIGHT)
    document = json.loads((VITON / "openpose-json" / f"{person}_keypoints.json").read_text())
    openpose = from_openpose_json(document)
    bounds = {
        12: (Body25.NOSE, Body25.R_EYE, Body25.L_EYE, Body25.R_EAR, Body25.L_EAR),
        25: (Body25.NECK, Body25.R_SHOULDER, Body25.L_SHOULDER, Body25.R_WRIST, Body25.L_WRIST),
        40: (Body25.R_ELBOW, Body25.L_ELBOW),
        # MediaPipe's hips are lower than OpenPose's, by an amount that differs between people.
        85: (Body25.MID_HIP, Body25.R_HIP, Body25.L_HIP, Body25.R_KNEE, Body25.L_KNEE),
    }
    for bound, joints in bounds.items():
        for joint in joints:
            if openpose.body[joint, 2] > 0.2 and result.pose.seen(joint):
                distance = np.linalg.norm(result.pose.xy(joint) - openpose.xy(joint))
                assert distance < bound, f"{joint.name}: {distance:.0f} pixels"


@needs_samples
@pytest.mark.parametrize("person", PEOPLE)
def test_locates_the_hands_that_openpose_locates(estimator: PoseEstimator, person: str) -> None:
    pose = estimator.estimate(viton(person)).pose
    document = json.loads((VITON / "openpose-json" / f"{person}_keypoints.json").read_text())
    openpose = from_openpose_json(document)
    for ours, hand in ((pose.left_hand, openpose.left_hand), (pose.right_hand, openpose.right_hand)):
        confident = hand[:, 2] > 0.2
        if confident.sum() == 21:
            assert np.linalg.norm(ours[:, :2] - hand[:, :2], axis=1).mean() < 20
        if not confident.any():
            assert not ours.any()


@needs_samples
@pytest.mark.parametrize("person", PEOPLE)
def test_outlines_people_in_front_of_a_plain_wall(estimator: PoseEstimator, person: str) -> None:
    # The published label map is rough: it fills the gap between the legs of two of the four people.
    parse = np.array(PillowImage.open(VITON / "image-parse" / f"{person}.png"))
    assert overlap(estimator.estimate(viton(person)).mask, parse > 0) > 0.92


@needs_samples
@pytest.mark.parametrize("person", PEOPLE)
def test_keeps_a_white_shirt_in_front_of_a_light_wall(estimator: PoseEstimator, person: str) -> None:
    parse = np.array(PillowImage.open(VITON / "image-parse" / f"{person}.png"))
    upper = parse == 5
    lost = upper & (estimator.estimate(viton(person)).mask <= 127)
    # The label map includes some pixels of the wall.
    assert lost.sum() / upper.sum() < 0.04


@needs_ccp
@pytest.mark.parametrize(("number", "garment"), [("0560", 54), ("0160", 14), ("0430", 13)])
def test_keeps_wide_garments(estimator: PoseEstimator, number: str, garment: int) -> None:
    result = estimator.estimate(street(number))
    labels = np.array(PillowImage.open(CCP / "labels" / f"{number}.png"))
    worn = result.frame.to_canvas((labels == garment).astype(np.uint8), interpolation=cv2.INTER_NEAREST)
    lost = (worn > 0) & (result.mask <= 127)
    assert lost.sum() / worn.sum() < 0.03


@needs_ccp
@pytest.mark.parametrize("number", STREET)
def test_zooms_to_the_person_in_the_street(estimator: PoseEstimator, number: str) -> None:
    photo = street(number)
    result = estimator.estimate(photo)
    body = result.pose.body
    torso = np.linalg.norm(body[Body25.NECK, :2] - body[Body25.MID_HIP, :2])
    assert 250 < torso < 430, "VITON-HD's people have torsos of 320 to 410 pixels"
    assert 130 < body[Body25.NOSE, 1] < 330
    for joint in TORSO:
        assert (body[joint, :2] > 0).all()
        assert (body[joint, :2] < (WIDTH, HEIGHT)).all()
    labels = np.array(PillowImage.open(CCP / "labels" / f"{number}.png"))
    truth = result.frame.to_canvas((labels > 0).astype(np.uint8), interpolation=cv2.INTER_NEAREST) > 0
    assert overlap(result.mask, truth) > 0.93


@needs_samples
def test_detects_a_person_in_a_wide_photograph(estimator: PoseEstimator) -> None:
    alone = estimator.estimate(viton("08909_00")).pose.body
    wide = np.pad(viton("08909_00"), ((0, 0), (900, 700), (0, 0)), mode="edge")
    result = estimator.estimate(wide)
    on_photo = result.frame.points_to_photo(result.pose.body[:, :2])
    for joint in TORSO:
        assert np.linalg.norm(on_photo[joint] - (900, 0) - alone[joint, :2]) < 30, joint.name


@needs_ccp
def test_detects_a_small_person_in_a_large_photograph(estimator: PoseEstimator) -> None:
    scene = np.full((1200, 2400, 3), 200, np.uint8)
    scene[800:1048, 300:465] = cv2.resize(street("0376"), (165, 248), interpolation=cv2.INTER_AREA)
    result = estimator.estimate(scene)
    on_photo = result.frame.points_to_photo(result.pose.body[list(TORSO), :2])
    assert (on_photo > (300, 800)).all()
    assert (on_photo < (465, 1048)).all()


@pytest.mark.parametrize("name", ["chelsea", "coffee", "rocket", "blank"])
def test_rejects_a_photograph_without_a_person(estimator: PoseEstimator, name: str) -> None:
    photo = np.full((600, 450, 3), 255, np.uint8) if name == "blank" else getattr(skimage.data, name)()
    with pytest.raises(NoPersonError, match="No person was found"):
        estimator.estimate(photo)


def test_rejects_two_equal_people_and_selects_one_who_dominates(
    estimator: PoseEstimator, astronaut: PersonPose
) -> None:
    photo = skimage.data.astronaut()
    with pytest.raises(MultiplePeopleError, match="2 people"):
        estimator.estimate(np.hstack([photo[:, :384], photo[:, :384]]))
    small = cv2.resize(photo[:, :384], None, fx=0.45, fy=0.45, interpolation=cv2.INTER_AREA)
    beside = np.full((512, small.shape[1], 3), 220, np.uint8)
    beside[-len(small) :] = small
    result = estimator.estimate(np.hstack([photo[:, :384], beside]))
    nose = result.frame.points_to_photo(result.pose.xy(Body25.NOSE))
    assert np.linalg.norm(nose - (226, 133)) < 25


@pytest.mark.parametrize(
    ("crop", "quarter_turns", "message"),
    [
        ((slice(0, 195), slice(130, 325)), 0, "shoulder|chest|No person"),
        ((slice(0, 512), slice(0, 384)), 2, "not upright"),
        ((slice(0, 512), slice(0, 384)), 1, "not upright"),
    ],
    ids=["face only", "upside down", "lying"],
)
def test_rejects_a_person_whose_torso_is_not_usable(
    estimator: PoseEstimator, crop: tuple[slice, slice], quarter_turns: int, message: str
) -> None:
    with pytest.raises((PoseError, NoPersonError), match=message) as caught:
        estimator.estimate(np.rot90(skimage.data.astronaut()[crop], quarter_turns))
    assert isinstance(caught.value, TryonError)
    assert not caught.value.retryable


@needs_ccp
@pytest.mark.parametrize("number", ["0064", "0181", "0202", "0232", "0421", "0448"])
def test_rejects_a_person_seen_from_the_side(estimator: PoseEstimator, number: str) -> None:
    with pytest.raises(PoseError, match="turned too far from the camera: use a photograph from the front"):
        estimator.estimate(street(number))


@needs_ccp
@pytest.mark.parametrize("number", ["0016", "0280", "0331", "0560", "0700", "0781"])
def test_accepts_a_three_quarter_view(estimator: PoseEstimator, number: str) -> None:
    assert estimator.estimate(street(number)).pose.seen(Body25.NECK)


@needs_samples
def test_rejects_a_person_whose_head_shows_only_hair(estimator: PoseEstimator) -> None:
    photo = viton("07573_00").copy()
    parse = np.array(PillowImage.open(VITON / "image-parse" / "07573_00.png"))
    hair, face = photo[parse == 2], cv2.dilate(np.isin(parse, (2, 13)).astype(np.uint8), np.ones((9, 9)))
    strands = hair[np.random.default_rng(0).integers(0, len(hair), WIDTH)].astype(np.float32)
    strands = cv2.GaussianBlur(strands[None], (0, 0), 2).astype(np.uint8)
    covered = (face > 0) & (parse > 0)
    photo[covered] = np.broadcast_to(strands, photo.shape)[covered]
    with pytest.raises(PoseError, match="seen from behind"):
        estimator.estimate(photo)


@needs_ccp
@pytest.mark.parametrize("number", ["0099", "0791"])
def test_accepts_a_covered_face_as_a_front(estimator: PoseEstimator, number: str) -> None:
    # Dark glasses, a scarf: on the framed canvas the model takes these for the back of a head.
    body = estimator.estimate(street(number)).pose.body
    assert body[Body25.L_SHOULDER, 0] - body[Body25.R_SHOULDER, 0] > 150
    assert body[Body25.L_HIP, 0] > body[Body25.R_HIP, 0]


@needs_samples
def test_rejects_two_people_side_by_side(estimator: PoseEstimator) -> None:
    with pytest.raises(MultiplePeopleError, match="2 people"):
        estimator.estimate(np.hstack([viton("03615_00"), viton("08909_00")]))


@needs_ccp
@pytest.mark.parametrize("number", ["0108", "0626", "0759"])
def test_selects_the_person_in_front_of_passers_by(estimator: PoseEstimator, number: str) -> None:
    result = estimator.estimate(street(number))
    labels = np.array(PillowImage.open(CCP / "labels" / f"{number}.png"))
    truth = result.frame.to_canvas((labels > 0).astype(np.uint8), interpolation=cv2.INTER_NEAREST) > 0
    for joint in (*TORSO, Body25.NOSE):
        x, y = result.pose.xy(joint).astype(int)
        assert truth[y, x], joint.name


@needs_samples
def test_detects_a_small_figure_in_a_wide_studio(estimator: PoseEstimator) -> None:
    alone = estimator.estimate(viton("03615_00")).pose.body
    studio = np.full((1400, 2400, 3), 236, np.uint8)
    small = cv2.resize(viton("03615_00"), None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    studio[1000 : 1000 + len(small), 1700 : 1700 + small.shape[1]] = small
    result = estimator.estimate(studio)
    in_large_picture = (result.frame.points_to_photo(result.pose.body[:, :2]) - (1700, 1000)) * 4
    # A quarter of the size: 0.05 of the figure's height is 51 pixels of the large picture.
    for joint in (*TORSO, Body25.NOSE, Body25.R_ELBOW, Body25.L_ELBOW, Body25.R_WRIST, Body25.L_WRIST):
        assert np.linalg.norm(in_large_picture[joint] - alone[joint, :2]) < 51, joint.name


@needs_ccp
@pytest.mark.parametrize("number", ["0559", "0595"])
def test_locates_crossed_arms(estimator: PoseEstimator, number: str) -> None:
    pose = estimator.estimate(street(number)).pose
    for side, other in (("R", "L"), ("L", "R")):
        wrist, own, across = (
            pose.xy(Body25[name]) for name in (f"{side}_WRIST", f"{side}_ELBOW", f"{other}_ELBOW")
        )
        assert pose.seen(Body25[f"{side}_WRIST"])
        assert np.linalg.norm(wrist - across) < np.linalg.norm(wrist - own)
    assert pose.xy(Body25.R_WRIST)[0] > pose.xy(Body25.L_WRIST)[0]


def test_rejects_the_landmarks_of_a_back(astronaut: PersonPose) -> None:
    _require_usable(astronaut.landmarks, astronaut.frame)
    # From behind, the right shoulder is at the position of the left one.
    with pytest.raises(PoseError, match="seen from behind"):
        _require_usable(astronaut.landmarks[MIRROR], astronaut.frame)


@needs_samples
def test_reports_the_shoulders_outside_the_photograph(estimator: PoseEstimator) -> None:
    with pytest.raises(PoseError, match="left shoulder and right shoulder"):
        estimator.estimate(viton("08909_00")[40:290, 230:480])


def test_reports_a_missing_model(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissingError, match="tryon weights fetch"):
        PoseEstimator(tmp_path)


def test_the_collector_does_not_wait_for_an_estimator_that_nobody_closed(models_dir: Path) -> None:
    program = (
        "import gc, sys; from pathlib import Path; from worker.pose.estimator import PoseEstimator\n"
        "gc.disable(); cycle = [PoseEstimator(Path(sys.argv[1]))]; cycle.append(cycle); del cycle\n"
        "gc.collect(); print('collected')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(models_dir)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.split() == ["collected"]


def test_landmarks_outside_of_the_canvas_are_those_of_the_whole_photograph_if_it_agrees() -> None:
    measured, first = np.full((33, 4), 300, np.float32), np.full((33, 4), 310, np.float32)
    measured[27, 1], first[27, 1] = 1900, 1300  # both below the canvas: the photograph shows where
    measured[28, 1] = 1900  # a guess on the whole photograph, inside
    joined = _with_outside(measured, first)
    assert (joined[27] == first[27]).all()
    assert (joined[28] == measured[28]).all()
    assert (joined[0] == measured[0]).all()
