"""The clothing-agnostic person equals the published one; a pose without shoulders or hips is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from config.errors import PoseError
from worker.images.agnostic import image_agnostic, parse_agnostic
from worker.images.maps import Body25, Part

SHARED = Path(__file__).resolve().parents[3] / "shared"
SAMPLES = SHARED / "samples" / "viton_hd"
VECTORS = SHARED / "vectors" / "agnostic"
PEOPLE = ("00891_00", "03615_00", "07573_00", "08909_00")

needs_samples = pytest.mark.skipif(
    not (SAMPLES.is_dir() and VECTORS.is_dir()),
    reason="the VITON-HD samples (CC BY-NC, not part of this project) are not beside the repository",
)


def sample(person: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rgb = np.array(Image.open(SAMPLES / "image" / f"{person}.jpg").convert("RGB"))
    parse = np.array(Image.open(SAMPLES / "image-parse" / f"{person}.png"))
    people = json.loads((SAMPLES / "openpose-json" / f"{person}_keypoints.json").read_text())["people"]
    return rgb, parse, np.array(people[0]["pose_keypoints_2d"]).reshape(25, 3)


@needs_samples
@pytest.mark.parametrize("person", PEOPLE)
def test_equals_the_published_parse_agnostic(person):
    _, parse, body = sample(person)
    expected = np.array(Image.open(VECTORS / f"{person}_parse_agnostic.png"))
    np.testing.assert_array_equal(parse_agnostic(parse, body), expected)


@needs_samples
@pytest.mark.parametrize("person", PEOPLE)
def test_equals_the_published_image_agnostic(person):
    rgb, parse, body = sample(person)
    expected = np.array(Image.open(VECTORS / f"{person}_agnostic.png").convert("RGB"))
    np.testing.assert_array_equal(image_agnostic(rgb, parse, body), expected)


@pytest.fixture
def standing() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A synthetic person: arms hanging, facing the camera (the right side is on the picture's left)."""
    body = np.zeros((25, 3), np.float32)
    for joint, (x, y) in {
        Body25.NOSE: (384, 150),
        Body25.NECK: (384, 280),
        Body25.R_SHOULDER: (280, 280),
        Body25.R_ELBOW: (230, 480),
        Body25.R_WRIST: (210, 660),
        Body25.L_SHOULDER: (488, 280),
        Body25.L_ELBOW: (540, 480),
        Body25.L_WRIST: (560, 660),
        Body25.R_HIP: (330, 700),
        Body25.L_HIP: (440, 700),
    }.items():
        body[joint] = x, y, 1
    parse = np.zeros((1024, 768), np.uint8)
    parse[100:240, 320:450] = Part.FACE
    parse[240:280, 350:420] = Part.NECK
    parse[280:700, 280:490] = Part.UPPER_CLOTHES
    parse[300:740, 180:280] = Part.RIGHT_ARM
    parse[300:740, 490:600] = Part.LEFT_ARM
    parse[700:1024, 300:480] = Part.PANTS
    rgb = np.random.default_rng(0).integers(0, 100, (1024, 768, 3), np.uint8)
    return rgb, parse, body


def test_garment_and_neck_are_removed_and_hands_are_kept(standing):
    _, parse, body = standing
    agnostic = parse_agnostic(parse, body)
    assert not np.isin(agnostic, (Part.UPPER_CLOTHES, Part.NECK)).any()
    assert agnostic[480, 230] == Part.BACKGROUND  # at the elbow
    assert agnostic[735, 210] == Part.RIGHT_ARM  # beyond the wrist's disc
    for part in (Part.FACE, Part.PANTS):
        np.testing.assert_array_equal(agnostic == part, parse == part)


def test_head_and_lower_body_keep_their_pixels(standing):
    rgb, parse, body = standing
    agnostic = image_agnostic(rgb, parse, body)
    unchanged = np.isin(parse, (Part.FACE, Part.PANTS))
    np.testing.assert_array_equal(agnostic[unchanged], rgb[unchanged])
    assert (agnostic[parse == Part.UPPER_CLOTHES] == 128).all()


def test_the_inputs_are_not_changed(standing):
    before = [array.copy() for array in standing]
    parse_agnostic(standing[1], standing[2])
    image_agnostic(*standing)
    for array, copy in zip(standing, before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_a_missing_elbow_is_bridged_in_the_parse_but_not_in_the_photograph(standing):
    rgb, parse, body = standing
    body[Body25.R_ELBOW] = 0
    # In the parse the stroke continues from the last known joint: shoulder to wrist.
    assert parse_agnostic(parse, body)[470, 245] == Part.BACKGROUND
    # In the photograph a stroke needs both of its joints.
    arm = np.s_[440:560, 150:200]
    np.testing.assert_array_equal(image_agnostic(rgb, parse, body)[arm], rgb[arm])


def test_missing_arms_are_not_an_error(standing):
    rgb, parse, body = standing
    body[[Body25.R_ELBOW, Body25.R_WRIST, Body25.L_ELBOW, Body25.L_WRIST]] = 0
    assert parse_agnostic(parse, body)[735, 210] == Part.RIGHT_ARM
    assert (image_agnostic(rgb, parse, body)[400, 384] == 128).all()


def test_a_missing_neck_is_put_between_the_shoulders(standing):
    rgb, parse, body = standing
    expected = image_agnostic(rgb, parse, body)
    body[Body25.NECK] = 0
    np.testing.assert_array_equal(image_agnostic(rgb, parse, body), expected)


@pytest.mark.parametrize(
    ("missing", "named"),
    [
        ([Body25.R_HIP], "right hip cannot"),
        ([Body25.L_HIP], "left hip cannot"),
        ([Body25.R_HIP, Body25.L_HIP], "right hip and left hip cannot"),
        ([Body25.L_SHOULDER], "left shoulder cannot"),
        ([Body25.R_SHOULDER, Body25.L_SHOULDER, Body25.L_HIP], "right shoulder, left shoulder and left hip"),
    ],
)
def test_a_missing_shoulder_or_hip_is_refused_by_name(standing, missing, named):
    rgb, parse, body = standing
    body[missing] = 0
    with pytest.raises(PoseError, match=named):
        parse_agnostic(parse, body)
    with pytest.raises(PoseError, match=named):
        image_agnostic(rgb, parse, body)


def test_hips_at_the_same_point_are_refused(standing):
    rgb, parse, body = standing
    body[Body25.L_HIP] = body[Body25.R_HIP]
    with pytest.raises(PoseError, match="same point"):
        image_agnostic(rgb, parse, body)
