"""One job of FASHN VTON: what the network gets, and what becomes of its picture."""

import numpy as np
import pytest

from config.errors import PoseError
from tests.support import fashn_vton
from worker.artifacts.bundle import encode_png
from worker.contract import Host, StageInput
from worker.fashn_vton.engine import FashnVtonEngine
from worker.fashn_vton.job import Job
from worker.fashn_vton.model import TryOnModel
from worker.images.frame import HEIGHT, WIDTH, Frame
from worker.images.maps import Body25, Part, Pose
from worker.images.openpose import to_openpose_json

PHOTO_HEIGHT, PHOTO_WIDTH = 600, 400
SHAPE = (288, 216)
"""Of the network's pictures in tests without a network: 3:4, as the tiny one's."""

RED = (200, 30, 40)
FRAME = Frame.letterbox(PHOTO_WIDTH, PHOTO_HEIGHT)
PHOTO = np.random.default_rng(0).integers(60, 140, (PHOTO_HEIGHT, PHOTO_WIDTH, 3), dtype=np.uint8)
JOINTS = {
    Body25.NOSE: (200, 80),
    Body25.NECK: (200, 130),
    Body25.R_SHOULDER: (150, 140),
    Body25.L_SHOULDER: (250, 140),
    Body25.R_HIP: (170, 330),
    Body25.L_HIP: (230, 330),
    Body25.R_KNEE: (170, 450),
    Body25.L_KNEE: (230, 450),
    Body25.R_ELBOW: (130, 230),
    Body25.L_ELBOW: (270, 230),
}
TORSO, LEGS, FACE = np.s_[140:330, 150:250], np.s_[330:560, 150:250], np.s_[60:110, 175:225]


def on_canvas(areas, frame=FRAME):
    """A map of the canvas with these values in these areas of the photograph."""
    plane = np.zeros((PHOTO_HEIGHT, PHOTO_WIDTH), np.uint8)
    for area, value in areas:
        plane[area] = value
    return frame.to_canvas(plane, interpolation=0)


def inputs(category="upper_body", joints=JOINTS, frame=FRAME, **changes):
    body = np.zeros((25, 3), np.float32)
    for joint, point in joints.items():
        body[joint] = *frame.points_to_canvas(np.array(point, np.float64)), 1
    hands = np.zeros((21, 3), np.float32)
    garment = np.full((HEIGHT, WIDTH, 3), RED, np.uint8)
    return StageInput(
        sources={"person": encode_png(PHOTO)},
        names={"person": "anna.png", "cloth": "tee.png"},
        artifacts={
            "pose": {
                "pose.json": to_openpose_json(Pose(body, hands, hands)),
                "mask.png": on_canvas([(TORSO, 255), (LEGS, 255), (FACE, 255)], frame),
                "frame.json": frame.record(),
                "landmarks.json": np.zeros((33, 3)).tolist(),
            },
            "parse": {
                "parse.png": on_canvas(
                    [(TORSO, Part.UPPER_CLOTHES), (LEGS, Part.PANTS), (FACE, Part.FACE)], frame
                )
            },
            "cloth": {"cloth.png": garment, "mask.png": np.full((HEIGHT, WIDTH), 255, np.uint8)},
        },
        options={"category": category, "seed": 1, "quality": "fast", "weights": {"fashn-vton": "0"}},
        **changes,
    )


def drawn(job, *areas):
    """The network's picture: the person's own with these areas of the photograph in the garment's colour."""
    picture = job.prepared.person.copy()
    scale = len(picture) / PHOTO_HEIGHT
    left = job.prepared.padding.left
    for rows, columns in areas:
        picture[
            round(rows.start * scale) : round(rows.stop * scale),
            left + round(columns.start * scale) : left + round(columns.stop * scale),
        ] = RED
    return picture


def test_the_network_gets_the_whole_photograph_with_its_pose_and_the_flat_garment():
    prepared = Job.of(inputs(), SHAPE).prepared
    assert prepared.person.shape == (*SHAPE, 3)
    assert prepared.person_pose.shape == SHAPE
    assert prepared.padding.left == (SHAPE[1] - round(SHAPE[0] * PHOTO_WIDTH / PHOTO_HEIGHT)) // 2
    assert not prepared.person_pose[:, : prepared.padding.left].any()
    scale = SHAPE[0] / PHOTO_HEIGHT
    x, y = JOINTS[Body25.NECK]
    assert prepared.person_pose[round(y * scale), prepared.padding.left + round(x * scale)] > 0
    assert prepared.category == 1
    assert (prepared.garment[:, SHAPE[1] // 2] == RED).all(1).any()


@pytest.mark.parametrize(("category", "area"), [("upper_body", TORSO), ("lower_body", LEGS)])
def test_the_new_garment_is_laid_into_the_photograph_and_rated(category, area):
    job = Job.of(inputs(category), SHAPE)
    bundle = job.bundle(drawn(job, area))
    result = bundle["result.png"]
    middle = tuple((part.start + part.stop) // 2 for part in area)
    assert (result[middle] == RED).all()
    assert (result[FACE] == PHOTO[FACE]).all()
    assert (result[:, :100] == PHOTO[:, :100]).all()
    assert bundle["region.png"].shape == (HEIGHT, WIDTH)
    details = bundle["details.json"]
    assert details["weights"] == {"fashn-vton": "0"}
    assert set(details["checks"]) == {"colour", "hands", "pose", "changed"}
    assert details["score"] == 1.0
    assert not details["warnings"]


def test_trousers_are_taken_below_the_edge_of_a_canvas_that_ends_at_the_knees():
    to_the_knees = Frame.around(80, 30, 320, 450, PHOTO_WIDTH, PHOTO_HEIGHT)
    assert to_the_knees.points_to_canvas(np.array([200.0, 540.0]))[1] > HEIGHT + 100
    job = Job.of(inputs("lower_body", frame=to_the_knees), (864, 576))
    result = job.bundle(drawn(job, LEGS))["result.png"]
    assert (result[400, 200] == RED).all()
    assert (result[540, 200] == RED).all()


def test_a_picture_without_the_garment_is_rated_low_and_the_photograph_stays():
    job = Job.of(inputs(), SHAPE)
    bundle = job.bundle(drawn(job))
    assert (bundle["result.png"] == PHOTO).all()
    assert not bundle["region.png"].any()
    assert bundle["details.json"]["score"] == 0.0
    assert any(
        warning.startswith("Little of the picture changed") for warning in bundle["details.json"]["warnings"]
    )


def test_a_face_that_was_drawn_anew_keeps_its_pixels():
    job = Job.of(inputs(), SHAPE)
    result = job.bundle(drawn(job, TORSO, FACE))["result.png"]
    inner = np.s_[66:104, 181:219]  # the label map of the face has an edge of a few pixels
    assert (result[inner] == PHOTO[inner]).all()


@pytest.mark.parametrize(
    ("category", "joint", "words"),
    [
        ("lower_body", Body25.R_KNEE, "right knee"),
        ("lower_body", Body25.L_HIP, "left hip"),
        ("dresses", Body25.L_HIP, "left hip"),
    ],
)
def test_a_photograph_without_the_joints_of_the_category_is_refused(category, joint, words):
    without = {name: point for name, point in JOINTS.items() if name != joint}
    outside = JOINTS | {joint: (200, PHOTO_HEIGHT + 50)}
    for joints in (without, outside):
        with pytest.raises(PoseError, match=f"does not show the person's {words}") as caught:
            Job.of(inputs(category, joints), SHAPE)
        assert caught.value.input == "anna.png"
        Job.of(inputs("upper_body", joints), SHAPE)


def test_in_a_batch_an_input_at_fault_gives_its_error_and_the_others_their_pictures():
    engine = FashnVtonEngine(fashn_vton.TINY)
    model = TryOnModel(fashn_vton.network(), "cpu", batch=2)
    legless = {name: point for name, point in JOINTS.items() if name != Body25.R_KNEE}
    one, fault, two = engine.run_batch(model, [inputs(), inputs("lower_body", legless), inputs("lower_body")])
    assert isinstance(fault, PoseError)
    alone = engine.run(model, inputs("lower_body"))
    assert np.abs(two["drawn.png"].astype(int) - alone["drawn.png"]).max() <= 1
    assert (one["drawn.png"] != two["drawn.png"]).any(), "the category is a condition"
    assert engine.run_batch(model, [inputs("lower_body", legless)])[0].name == "PoseError"


def test_the_model_of_a_host_has_its_batch_and_device(tmp_path):
    file = fashn_vton.write(tmp_path)
    model = TryOnModel.load(file, Host(tmp_path, "cpu", 3), fashn_vton.TINY)
    assert (model.batch, str(model.device), model.shape) == (3, "cpu", (96, 72))
