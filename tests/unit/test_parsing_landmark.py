"""The parser without trained weights: against published parses, and on a synthetic person."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from config.errors import ParsingError
from worker.images.maps import Body25, Part, Pose
from worker.parsing.landmark import parse
from worker.parsing.palette import colourise

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "samples" / "viton_hd"
NO_HAND = np.zeros((21, 3), np.float32)

needs_samples = pytest.mark.skipif(
    not SAMPLES.is_dir(),
    reason="the VITON-HD samples (CC BY-NC, not part of this project) are not beside the repository",
)

# The labels of each group, and the least intersection over union on each of the four people.
FLOORS = {
    "upper": ((5, 6, 7), (0.96, 0.94, 0.94, 0.94)),
    "lower": ((9, 12), (0.96, 0.94, 0.95, 0.87)),
    "face": ((4, 13), (0.89, 0.85, 0.88, 0.64)),
    "hair": ((1, 2), (0.88, 0.78, 0.82, 0.79)),
    "arms": ((14, 15), (0.91, 0.82, 0.93, 0.79)),
}


@needs_samples
@pytest.mark.parametrize(
    ("index", "person"), list(enumerate(("00891_00", "03615_00", "07573_00", "08909_00")))
)
def test_agrees_with_the_published_parse(index, person):
    rgb = np.array(Image.open(SAMPLES / "image" / f"{person}.jpg").convert("RGB"))
    truth = np.array(Image.open(SAMPLES / "image-parse" / f"{person}.png"))
    annotation = json.loads((SAMPLES / "openpose-json" / f"{person}_keypoints.json").read_text())["people"][0]
    pose = Pose(
        *(
            np.array(annotation[f"{name}_keypoints_2d"], np.float32).reshape(-1, 3)
            for name in ("pose", "hand_left", "hand_right")
        )
    )

    labels = parse(rgb, pose, np.where(truth > 0, 255, 0).astype(np.uint8))

    measured = {}
    for name, (group, _) in FLOORS.items():
        parsed, published = np.isin(labels, group), np.isin(truth, group)
        measured[name] = float((parsed & published).sum() / (parsed | published).sum())
    too_low = {name: value for name, value in measured.items() if value < FLOORS[name][1][index]}
    assert not too_low
    if person == "08909_00":
        assert (labels == Part.SKIRT).sum() > (labels == Part.PANTS).sum()
    else:
        assert not (labels == Part.SKIRT).any()


SKIN, HAIR, SHIRT, JEANS, WALL = (214, 160, 130), (60, 40, 25), (40, 120, 70), (50, 70, 130), (225, 225, 225)

JOINTS = {
    Body25.NOSE: (384, 160),
    Body25.R_EYE: (354, 130),
    Body25.L_EYE: (414, 130),
    Body25.R_EAR: (318, 145),
    Body25.L_EAR: (450, 145),
    Body25.NECK: (384, 330),
    Body25.R_SHOULDER: (264, 330),
    Body25.R_ELBOW: (220, 540),
    Body25.R_WRIST: (200, 740),
    Body25.L_SHOULDER: (504, 330),
    Body25.L_ELBOW: (548, 540),
    Body25.L_WRIST: (568, 740),
    Body25.MID_HIP: (384, 720),
    Body25.R_HIP: (320, 720),
    Body25.L_HIP: (448, 720),
    Body25.R_KNEE: (310, 1000),
    Body25.L_KNEE: (458, 1000),
}


def synthetic(sleeve: float = 0.5) -> tuple[np.ndarray, Pose, np.ndarray]:
    """Return picture, pose and mask of a synthetic person with sleeves up to `sleeve`, 0..2 along an arm."""
    picture = np.full((1024, 768, 3), WALL, np.uint8)
    body = np.zeros((25, 3), np.float32)
    for joint, place in JOINTS.items():
        body[joint] = *place, 1
    cv2.ellipse(picture, (384, 130), (100, 110), 0, 0, 360, HAIR, -1)
    cv2.rectangle(picture, (345, 200), (423, 340), SKIN, -1)
    for side in ("R", "L"):
        arm = [JOINTS[Body25[f"{side}_{name}"]] for name in ("SHOULDER", "ELBOW", "WRIST")]
        hand = (2 * np.array(arm[2]) - np.array(arm[1])) * 0.3 + np.array(arm[2]) * 0.7
        along = np.linspace(0, 2, 200)
        chain = np.array([[np.interp(t, [0, 1, 2], [p[i] for p in arm]) for i in range(2)] for t in along])
        cv2.line(picture, arm[2], tuple(int(v) for v in hand), SKIN, 50)
        for colour, width, part in ((SKIN, 26, along > sleeve), (SHIRT, 34, along <= sleeve)):
            for x, y in chain[part]:
                cv2.circle(picture, (int(x), int(y)), width, colour, -1)
        hip, knee = JOINTS[Body25[f"{side}_HIP"]], JOINTS[Body25[f"{side}_KNEE"]]
        cv2.line(picture, hip, (knee[0], 1100), JEANS, 110)
    cv2.fillPoly(picture, [np.array([(264, 300), (504, 300), (490, 680), (278, 680)])], SHIRT)
    cv2.fillPoly(picture, [np.array([(278, 680), (490, 680), (500, 760), (268, 760)])], JEANS)
    cv2.ellipse(picture, (384, 150), (70, 85), 0, 0, 360, SKIN, -1)
    mask = np.where((picture != WALL).any(-1), 255, 0).astype(np.uint8)
    grain = np.random.default_rng(7).normal(0, 4, picture.shape)
    return np.clip(picture + grain, 0, 255).astype(np.uint8), Pose(body, NO_HAND, NO_HAND), mask


def test_every_part_of_a_synthetic_person_is_labelled():
    labels = parse(*synthetic())
    for place, part in {
        (384, 35): Part.HAIR,
        (384, 170): Part.FACE,
        (384, 275): Part.NECK,
        (384, 500): Part.UPPER_CLOTHES,
        (250, 380): Part.UPPER_CLOTHES,
        (384, 730): Part.PANTS,
        (310, 950): Part.PANTS,
        # The person faces the camera: the person's right is the picture's left.
        (210, 640): Part.RIGHT_ARM,
        (558, 640): Part.LEFT_ARM,
    }.items():
        assert labels[place[1], place[0]] == part, place


def test_long_sleeves_are_labelled_as_garment_and_hands_as_arms():
    labels = parse(*synthetic(sleeve=1.9))
    assert labels[640, 210] == labels[640, 558] == Part.UPPER_CLOTHES
    assert labels[780, 197] == Part.RIGHT_ARM
    assert labels[780, 571] == Part.LEFT_ARM


def test_labels_are_within_the_person_and_valid():
    picture, pose, mask = synthetic()
    labels = parse(picture, pose, mask)
    assert labels.dtype == np.uint8
    assert labels.shape == (1024, 768)
    assert labels.max() <= max(Part)
    assert not labels[mask < 128].any()
    # Pixels far from every part of the body may be background, but only few.
    assert (labels[mask >= 128] > 0).mean() > 0.99


def test_the_same_picture_gives_the_same_labels():
    np.testing.assert_array_equal(parse(*synthetic()), parse(*synthetic()))


@pytest.mark.parametrize(
    "missing",
    [
        [Body25.R_ELBOW, Body25.R_WRIST, Body25.L_ELBOW, Body25.L_WRIST],
        [Body25.R_ELBOW],
        [Body25.R_KNEE, Body25.L_KNEE],
        [Body25.R_HIP, Body25.L_HIP, Body25.MID_HIP, Body25.R_KNEE, Body25.L_KNEE],
        [Body25.R_EAR, Body25.L_EAR, Body25.R_EYE],
    ],
)
def test_missing_joints_do_not_change_the_main_parts(missing):
    picture, pose, mask = synthetic()
    pose.body[missing] = 0
    labels = parse(picture, pose, mask)
    assert labels[500, 384] == Part.UPPER_CLOTHES
    assert labels[170, 384] == Part.FACE


def test_a_missing_shoulder_is_refused():
    picture, pose, mask = synthetic()
    pose.body[Body25.L_SHOULDER] = 0
    with pytest.raises(ParsingError, match="shoulders"):
        parse(picture, pose, mask)


def test_an_empty_mask_is_refused():
    picture, pose, mask = synthetic()
    with pytest.raises(ParsingError, match="mask is empty"):
        parse(picture, pose, np.zeros_like(mask))


def test_a_mask_without_the_head_is_refused():
    picture, pose, mask = synthetic()
    mask[:300] = 0
    with pytest.raises(ParsingError, match="face"):
        parse(picture, pose, mask)


def test_a_mask_without_the_torso_is_refused():
    picture, pose, mask = synthetic()
    mask[300:] = 0
    with pytest.raises(ParsingError, match="No upper garment"):
        parse(picture, pose, mask)


def test_each_label_has_its_own_colour():
    colours = colourise(np.arange(20, dtype=np.uint8)[None])[0]
    assert len({tuple(colour) for colour in colours.tolist()}) == 20
    assert tuple(colours[Part.UPPER_CLOTHES]) == (254, 85, 0)
