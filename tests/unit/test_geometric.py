"""The geometric engine: splines, folds, and try-ons of a sample person where the samples are available."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from config.errors import PoseError, SynthesisError
from tests.support.garment import garment_reader
from worker.cloth.garment import Garment, prepare
from worker.geometric.body import measure
from worker.geometric.dress import TryOn, try_on
from worker.geometric.paint import diffuse, mirrored
from worker.geometric.pattern import front_edge
from worker.geometric.shade import exposure
from worker.geometric.warp import fit_spline, folded_share, refuse_folds, sampling_map
from worker.images.frame import FILL, HEIGHT, WIDTH
from worker.images.maps import Body25, Part, Pose
from worker.lab.demo import garments

Person = tuple[np.ndarray, Pose, np.ndarray, np.ndarray]
SCOOP = {"value": "scoop", "probability": 0.9}
SAMPLES = Path(__file__).parents[2].parent / "shared" / "samples" / "viton_hd"


def _points(seed: int, n: int = 12) -> np.ndarray:
    return np.random.default_rng(seed).uniform(50, 700, (n, 2))


def _reference_spline(source: np.ndarray, target: np.ndarray, smoothing: float, at: np.ndarray) -> np.ndarray:
    """Solve Bookstein's equations of the thin-plate spline, with the source points scaled to -1..1."""
    centre, unit = source.mean(0), np.abs(source - source.mean(0)).max()
    points, at = (source - centre) / unit, (at - centre) / unit

    def kernel(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        r = np.linalg.norm(one[:, None] - other[None], axis=-1)
        return r**2 * np.log(np.where(r > 0, r, 1))

    n = len(source)
    affine = np.column_stack([np.ones(n), points])
    matrix = np.block(
        [[kernel(points, points) + smoothing * np.eye(n), affine], [affine.T, np.zeros((3, 3))]]
    )
    weights = np.linalg.solve(matrix, np.vstack([target, np.zeros((3, 2))]))
    return kernel(at, points) @ weights[:n] + np.column_stack([np.ones(len(at)), at]) @ weights[n:]


@pytest.mark.parametrize("smoothing", [0.0, 1e-3, 2e-2, 0.2])
@pytest.mark.parametrize("n", [3, 12, 60])
def test_a_spline_solves_the_thin_plate_equations(smoothing: float, n: int) -> None:
    source, target, anywhere = _points(4, n), _points(5, n), _points(6, 200)
    spline = fit_spline(source, target, smoothing=smoothing)
    expected = _reference_spline(source, target, smoothing, anywhere)
    assert spline(anywhere) == pytest.approx(expected, abs=1e-8)


def test_a_spline_without_smoothing_maps_its_points_to_their_targets() -> None:
    source, target = _points(0), _points(1)
    assert fit_spline(source, target)(source) == pytest.approx(target, abs=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 1e-3])
def test_an_affine_map_is_reproduced_everywhere(smoothing: float) -> None:
    source, anywhere = _points(2), _points(3, 50)
    matrix, shift = np.array([[1.2, 0.3], [-0.2, 0.8]]), np.array([40.0, -7.0])
    spline = fit_spline(source, source @ matrix.T + shift, smoothing=smoothing)
    assert spline(anywhere) == pytest.approx(anywhere @ matrix.T + shift, abs=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize(
    "source",
    [
        np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [5.0, 5.0]]),
        np.array([[0.0, 0], [0, 0], [9, 1], [4, 7]]),
        np.array([[0.0, 0], [9, 1]]),
        np.array([[3.0, 4.0]]),
    ],
    ids=["on one line", "two at one place", "two points", "one point"],
)
def test_points_that_determine_no_spline_are_refused(source: np.ndarray, smoothing: float) -> None:
    with pytest.raises(SynthesisError, match="points coincide"):
        fit_spline(source, source, smoothing=smoothing)


def test_the_sampling_map_of_the_identity_is_each_pixels_own_position() -> None:
    corners = np.array([[0.0, 0.0], [WIDTH, 0.0], [0.0, HEIGHT], [WIDTH, HEIGHT], [300.0, 400.0]])
    positions = sampling_map(fit_spline(corners, corners), (100, 200, 333, 407))
    x, y = np.meshgrid(np.arange(100, 333), np.arange(200, 407))
    assert positions == pytest.approx(np.stack([x, y], -1).astype(float), abs=1e-2)


def test_a_map_that_turns_over_is_refused() -> None:
    x, y = np.meshgrid(np.arange(200.0), np.arange(200.0))
    straight = np.stack([x, y], -1).astype(np.float32)
    folded = np.stack([np.abs(x - 100), y], -1).astype(np.float32)
    everywhere = np.ones((200, 200), bool)
    assert folded_share(straight, everywhere) == 0
    assert folded_share(folded, everywhere) == pytest.approx(0.5, abs=0.05)
    refuse_folds(straight, everywhere, "trunk")
    with pytest.raises(SynthesisError, match="fold"):
        refuse_folds(folded, everywhere, "trunk")
    # A fold outside the visible area is accepted.
    refuse_folds(folded, x > 110, "trunk")


def test_a_smooth_fill_keeps_known_pixels_and_continues_a_ramp() -> None:
    ramp = np.repeat(np.linspace(0, 200, 256, dtype=np.float32)[None, :, None], 128, 0)
    known = np.ones((128, 256), bool)
    known[30:90, 100:160] = False
    filled = diffuse(np.where(known[..., None], ramp, 0), known)
    assert filled[known] == pytest.approx(ramp[known], abs=1e-3)
    assert np.abs(filled - ramp).max() < 30


def test_a_mirrored_fill_repeats_the_pixels_beside_the_edge() -> None:
    image = np.zeros((20, 40, 1), np.uint8)
    image[:, :20, 0] = np.arange(20)
    inside = np.zeros((20, 40), bool)
    inside[:, :20] = True
    filled = mirrored(image, inside)
    assert np.array_equal(filled[10, 20:30, 0], np.arange(18, 8, -1))


@pytest.fixture(scope="module")
def person() -> Person:
    if not SAMPLES.is_dir():
        pytest.skip(
            f"the sample photographs are not at {SAMPLES}: their licence does not allow shipping them"
        )
    image = np.array(Image.open(SAMPLES / "image" / "03615_00.jpg").convert("RGB"))
    parse = np.array(Image.open(SAMPLES / "image-parse" / "03615_00.png"))
    annotation = json.loads((SAMPLES / "openpose-json" / "03615_00_keypoints.json").read_text())["people"][0]
    body = np.array(annotation["pose_keypoints_2d"], np.float32).reshape(25, 3)
    no_hand = np.zeros((21, 3), np.float32)
    return image, Pose(body, no_hand, no_hand), parse, ((parse > 0) * 255).astype(np.uint8)


@pytest.fixture(scope="module")
def garment() -> Garment:
    return prepare(np.array(Image.open(SAMPLES / "cloth" / "01430_00.jpg").convert("RGB")), garment_reader())


@pytest.fixture(scope="module")
def worn(person: Person, garment: Garment) -> TryOn:
    return try_on(*person, garment, seed=1)


def test_outside_the_region_the_picture_equals_the_photograph(person: Person, worn: TryOn) -> None:
    outside = worn.region == 0
    assert outside.any()
    assert np.array_equal(worn.image[outside], person[0][outside])


def test_the_same_seed_gives_the_same_bytes(person: Person, garment: Garment, worn: TryOn) -> None:
    again = try_on(*person, garment, seed=1)
    assert np.array_equal(again.image, worn.image)
    assert np.array_equal(again.region, worn.region)


def test_the_chest_shows_the_garment_and_the_head_is_unchanged(person: Person, worn: TryOn) -> None:
    image, _, parse, _ = person
    red = worn.image[560:640, 330:440].reshape(-1, 3).astype(int)
    assert np.median(red[:, 0] - red[:, 1]) > 120
    face = parse == Part.FACE
    assert np.mean(np.abs(worn.image[face].astype(int) - image[face])) < 2


def test_nothing_of_the_white_old_garment_is_visible(person: Person, worn: TryOn) -> None:
    image, _, parse, _ = person
    changed = np.abs(worn.image.astype(int) - image).max(2) > 12
    assert np.mean(changed[parse == Part.UPPER_CLOTHES]) > 0.93


def test_the_warped_garment_is_on_grey_where_its_mask_is_empty(worn: TryOn) -> None:
    assert (worn.warped[worn.warped_mask == 0] == 246).all()
    assert np.mean(worn.warped_mask > 128) > 0.08


def test_a_person_without_a_shoulder_is_refused(person: Person, garment: Garment) -> None:
    image, pose, parse, mask = person
    body = pose.body.copy()
    body[2] = 0
    with pytest.raises(PoseError, match="shoulder"):
        try_on(image, Pose(body, pose.left_hand, pose.right_hand), parse, mask, garment, seed=1)


@pytest.fixture(scope="module")
def long_sleeved() -> Garment:
    return prepare(np.array(Image.open(SAMPLES / "cloth" / "02783_00.jpg").convert("RGB")), garment_reader())


def _with_left_arm(pose: Pose, elbow: tuple[float, float] | None, wrist: tuple[float, float] | None) -> Pose:
    body = pose.body.copy()
    for joint, place in ((6, elbow), (7, wrist)):
        body[joint] = (*place, 1.0) if place else 0.0
    return Pose(body, pose.left_hand, pose.right_hand)


@pytest.mark.parametrize(
    ("elbow", "wrist"),
    [((560.0, 640.0), (330.0, 560.0)), ((560.0, 640.0), None), (None, None)],
    ids=["forearm across the chest", "forearm behind the back", "arm behind the back"],
)
def test_a_long_sleeve_is_put_on_a_bent_or_hidden_arm(
    person: Person, long_sleeved: Garment, elbow: tuple[float, float], wrist: tuple[float, float]
) -> None:
    image, pose, parse, mask = person
    worn = try_on(image, _with_left_arm(pose, elbow, wrist), parse, mask, long_sleeved, seed=1)
    assert any("arm is not visible" in warning for warning in worn.warnings) == (elbow is None)
    # The sleeve covers the patch below the shoulder joint, on the upper arm beside the chest.
    shoulder = pose.body[5, :2].astype(int)
    patch = worn.warped_mask[shoulder[1] + 30 : shoulder[1] + 90, shoulder[0] - 20 : shoulder[0] + 20]
    assert np.mean(patch > 128) > 0.9
    if wrist is not None:
        middle = ((np.array(elbow) + np.array(wrist)) / 2).astype(int)
        assert worn.warped_mask[middle[1], middle[0]] > 128
        end = (0.15 * np.array(elbow) + 0.85 * np.array(wrist)).astype(int)
        assert worn.warped_mask[end[1], end[0]] > 128


def test_a_dark_photograph_darkens_the_garment_but_a_dark_coat_does_not() -> None:
    canvas = np.full((1024, 768, 3), 40, np.uint8)
    canvas[:, :100] = FILL  # the canvas around the photograph
    assert exposure(canvas) == pytest.approx(0.2)
    canvas[:40, 300:500] = 220  # a lamp, a window, the sky
    assert exposure(canvas) == 1.0


@pytest.mark.parametrize(
    ("label", "box"),
    [(Part.BACKGROUND, (560, 760, 400, 540)), (Part.SCARF, (330, 620, 360, 430))],
    ids=["a bag", "a scarf"],
)
def test_things_in_front_of_the_body_stay_in_front_of_the_garment(
    person: Person, garment: Garment, label: Part, box: tuple[int, int, int, int]
) -> None:
    top, bottom, left, right = box
    image, pose, parse, mask = person
    image, parse = image.copy(), parse.copy()
    image[top:bottom, left:right], parse[top:bottom, left:right] = (30, 120, 60), label
    worn = try_on(image, pose, parse, mask, garment, seed=1)
    inner = worn.image[top + 30 : bottom - 30, left + 15 : right - 15]
    assert (inner == (30, 120, 60)).all()


def _shirt(*, standing: bool) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """A light garment with its dark inside visible between the neck points; with collar points or without."""
    solid = np.zeros((HEIGHT, WIDTH), bool)
    solid[200:800, 200:568] = True
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    if standing:
        solid |= (rows > 140) & (np.abs(np.abs(columns - 384) - 70) < (rows - 140) / 2) & (rows <= 200)
    image = np.where(solid[..., None], (200, 205, 215), (246, 246, 246)).astype(np.uint8)
    inside = ((columns - 384) / 100) ** 2 + ((rows - 200) / 90) ** 2 < 1
    image[inside & (rows >= 200)] = (90, 92, 100)
    points = {"r_neck": (284, 200), "l_neck": (484, 200), "neck_front": (384, 284)}
    return image, solid, {name: np.array(point, float) for name, point in points.items()}


def test_the_front_edge_is_below_the_inside_of_the_back() -> None:
    edge = front_edge(*_shirt(standing=False), SCOOP)
    assert 280 < edge[:, 1].max() < 300


def test_a_faint_edge_far_from_the_landmark_is_not_the_neckline() -> None:
    image, solid, landmarks = _shirt(standing=False)
    image[520:560, 250:520] = 40  # a dark stripe across the chest
    edge = front_edge(image, solid, landmarks, SCOOP)
    assert 280 < edge[:, 1].max() < 300


def test_a_v_neck_has_straight_edges() -> None:
    image, solid, landmarks = _shirt(standing=False)
    v = front_edge(image, solid, landmarks, {"value": "v", "probability": 0.9})
    round_edge = front_edge(image, solid, landmarks, SCOOP)
    quarter = len(v) // 4
    assert v[quarter, 1] < round_edge[quarter, 1] - 10


def test_the_front_edge_of_a_standing_collar_is_the_line_between_the_neck_points() -> None:
    edge = front_edge(*_shirt(standing=True), SCOOP)
    assert edge[:, 1] == pytest.approx(200)


def _cropped(garment: Garment) -> Garment:
    """The garment cut off below the chest."""
    points = dict(garment.landmarks.points)
    chest = float(points["l_armpit"][0] - points["r_armpit"][0])
    for name in ("r_hem", "l_hem", "hem_centre"):
        points[name] = np.array([points[name][0], points["r_neck"][1] + 0.9 * chest], np.float32)
    mask = garment.mask.copy()
    mask[int(points["hem_centre"][1]) :] = 0
    return replace(garment, mask=mask, landmarks=replace(garment.landmarks, points=points))


def test_a_cropped_garment_over_a_long_one_is_refused(person: Person, garment: Garment) -> None:
    image, pose, parse, mask = person
    long = parse.copy()
    long[np.isin(long, (Part.PANTS, Part.SKIRT))] = Part.UPPER_CLOTHES
    with pytest.raises(SynthesisError, match="much shorter"):
        try_on(image, pose, long, mask, _cropped(garment), seed=1)


def test_sleeves_that_lie_on_the_body_are_refused(person: Person, garment: Garment) -> None:
    points = dict(garment.landmarks.points)
    # Both edges of the sleeve where its outer one is: the body is beyond.
    points["r_armpit"] = points["r_shoulder"] + np.array([-30, 60], np.float32)
    points["r_cuff_inner"] = points["r_cuff_outer"] + np.array([-40, 0], np.float32)
    crossed = replace(garment, landmarks=replace(garment.landmarks, points=points))
    with pytest.raises(SynthesisError, match="sleeves cannot be separated"):
        try_on(*person, crossed, seed=1)


def test_the_garments_colours_reach_as_far_as_its_sleeves_are_extended(person: Person) -> None:
    image, pose, parse, mask = person
    white = prepare(garments.draw("striped_tee"), garment_reader())
    pale = replace(white, image=np.full_like(white.image, 230))
    worn = try_on(image, pose, parse, mask, pale, seed=1)
    assert worn.warped[worn.warped_mask >= 128].min() > 180


def test_a_forearm_below_the_pictures_edge_is_not_behind_the_body(person: Person) -> None:
    _, pose, parse, mask = person
    joints = pose.body.copy()
    for elbow, wrist in ((Body25.R_ELBOW, Body25.R_WRIST), (Body25.L_ELBOW, Body25.L_WRIST)):
        joints[wrist] = 0
        shoulder = joints[Body25.R_SHOULDER if elbow == Body25.R_ELBOW else Body25.L_SHOULDER, :2]
        joints[elbow, :2] = shoulder + np.array([0, 300])
    arms = parse.copy()
    arms[int(joints[Body25.R_ELBOW, 1]) - 20 :, :] = Part.RIGHT_ARM
    body = measure(Pose(joints, pose.left_hand, pose.right_hand), arms, mask)
    assert not any(arm.hidden for arm in body.arms.values() if arm is not None)
    body = measure(Pose(joints, pose.left_hand, pose.right_hand), parse * 0, mask)
    assert all(arm.hidden for arm in body.arms.values() if arm is not None)
