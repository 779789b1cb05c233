"""The parser's data set: the split, the parts of skin, the polygons, the studio walls."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from config.errors import InputValidationError
from tests.support.samples import CCP, needs_ccp
from worker.images.frame import Frame
from worker.lab.parser_training import ccp, dataset, examples, skin, studio
from worker.lab.parser_training.sheet import contact_sheet
from worker.parsing.body import Body, Limb
from worker.parsing.classes import LABELS, SIDED, TITLES, Class

BODY = Body(
    head=100,
    face_centre=np.array([384.0, 150]),
    face_up=np.array([0.0, -1]),
    face_width=43,
    neck=np.array([384.0, 260]),
    hips=np.array([384.0, 560]),
    shoulders=np.array([[300.0, 260], [468, 260]]),
    arms=(
        Limb(np.array([[300.0, 260], [270, 400], [260, 520], [258, 560]]), np.array([24.0, 20, 30])),
        Limb(np.array([[468.0, 260], [498, 400], [508, 520], [510, 560]]), np.array([24.0, 20, 30])),
    ),
    hands=(np.array([258.0, 560]), np.array([510.0, 560])),
    legs=(
        Limb(np.array([[340.0, 560], [340, 760], [340, 960]]), np.array([42.0, 32])),
        Limb(np.array([[428.0, 560], [428, 760], [428, 960]]), np.array([42.0, 32])),
    ),
    feet=(None, None),
)


def bare(*drawings):
    canvas = np.zeros((1024, 768), np.uint8)
    for draw in drawings:
        draw(canvas)
    return canvas > 0


def line(*points, width=40):
    return lambda canvas: cv2.polylines(canvas, [np.array(points, np.int32)], False, 1, width)


def face(canvas):
    cv2.ellipse(canvas, (384, 150), (42, 54), 0, 0, 360, 1, -1)


def test_every_class_has_a_cihp_label():
    assert set(LABELS) | set(SIDED) == set(Class)


def test_the_split_is_disjoint_and_fixed():
    split = json.loads(Path(ccp.__file__).with_name("ccp_split.json").read_text())
    assert len(split["test"]) == 50
    assert not set(split["test"]) & set(split["val"])
    assert ccp.subset(split["test"][0]) == "test"
    assert ccp.subset(split["val"][0]) == "val"
    assert ccp.subset("another photograph") == "train"
    assert 0.15 < len(split["val"]) / (904 - 50) < 0.25


def test_the_pose_splits_skin_into_parts():
    throat = line((384, 215), (384, 250), width=50)
    parts = [face, throat, line((270, 400), (260, 520), (258, 560)), line((340, 700), (340, 900), width=60)]

    result = skin.split(bare(*parts), BODY, 1, (0, 0))

    classes = result.classes
    assert classes[150, 384] == Class.FACE
    assert classes[240, 384] == Class.NECK
    assert classes[450, 265] == classes[560, 258] == Class.ARM
    assert classes[800, 340] == Class.LEG
    assert result.ambiguous < 0.05
    assert result.face_visible > 0.95


def test_a_hand_in_front_of_the_thigh_belongs_to_its_arm():
    arm = line((270, 400), (280, 520), (310, 590))
    result = skin.split(bare(face, arm), BODY, 1, (0, 0))
    assert not (result.classes[bare(arm)] == Class.LEG).any()


def test_skin_far_from_every_part_is_ambiguous():
    result = skin.split(bare(face, line((40, 200), (40, 300), width=70)), BODY, 1, (0, 0))
    assert result.ambiguous > 0.3


def test_small_items_take_the_nearest_class():
    classes = np.full((1024, 768), ccp.BACKGROUND, np.uint8)
    # The map has 0.625 times the canvas's scale; the canvas starts at its point (144, 64).
    cv2.ellipse(classes, (384, 158), (27, 34), 0, 0, 360, ccp.SKIN, -1)
    cv2.rectangle(classes, (330, 230), (440, 420), int(Class.UPPER_CLOTHES), -1)
    cv2.rectangle(classes, (380, 300), (384, 330), ccp.SMALL_ITEM, -1)  # a tie

    resolved = examples.resolve_classes(classes, BODY)

    assert resolved[310, 382] == Class.UPPER_CLOTHES
    assert resolved[158, 384] == Class.FACE
    assert not np.isin(resolved, (ccp.SKIN, ccp.SMALL_ITEM)).any()


def test_a_photograph_with_a_hidden_face_is_left_out():
    classes = np.full((1024, 768), ccp.BACKGROUND, np.uint8)
    cv2.rectangle(classes, (330, 230), (440, 420), int(Class.UPPER_CLOTHES), -1)
    with pytest.raises(examples.UnsuitableExampleError, match="of the face is labelled skin"):
        examples.resolve_classes(classes, BODY)


def test_polygons_reproduce_the_class_map():
    classes = np.full((640, 480), ccp.BACKGROUND, np.uint8)
    cv2.rectangle(classes, (100, 200), (380, 500), int(Class.COAT), -1)
    cv2.rectangle(classes, (200, 200), (280, 500), int(Class.UPPER_CLOTHES), -1)  # the coat is in two pieces
    cv2.circle(classes, (120, 480), 30, int(Class.ARM), -1)
    cv2.circle(classes, (360, 480), 30, int(Class.ARM), -1)

    instances = dataset.polygons(classes)

    assert [kind for kind, _ in instances].count(Class.COAT) == 1
    assert [kind for kind, _ in instances].count(Class.ARM) == 2
    drawn = np.full_like(classes, ccp.BACKGROUND)
    for kind, outline in instances:
        cv2.fillPoly(drawn, [outline.round().astype(np.int32)], int(kind))
    assert (drawn == classes).mean() > 0.99


def test_regions_that_are_too_small_are_not_labelled():
    classes = np.full((640, 480), ccp.BACKGROUND, np.uint8)
    classes[10:14, 10:14] = Class.HAT
    assert dataset.polygons(classes) == []


@pytest.mark.parametrize(("subset", "names"), [("test", {"street"}), ("train", {"street", "studio"})])
def test_variants_show_the_same_person(subset, names):
    image = np.full((1024, 768, 3), 60, np.uint8)
    classes = np.full((1024, 768), ccp.BACKGROUND, np.uint8)
    cv2.rectangle(classes, (300, 200), (460, 700), int(Class.DRESS), -1)
    image[classes == Class.DRESS] = (200, 30, 30)

    pictures = dict(examples.variants("0001", subset, examples.LabelledPicture(image, classes)))

    assert names <= set(pictures)
    for picture in pictures.values():
        assert picture.image.shape == (640, 480, 3)
        assert picture.classes.shape == (640, 480)
        inner = cv2.erode((picture.classes == Class.DRESS).astype(np.uint8), np.ones((9, 9))) > 0
        assert np.abs(picture.image[inner].astype(int) - (200, 30, 30)).max() <= 2


def test_the_studio_has_a_light_plain_wall_and_does_not_change_the_person():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (640, 480, 3), np.uint8)
    classes = np.full((640, 480), ccp.BACKGROUND, np.uint8)
    classes[200:500, 150:330] = Class.UPPER_CLOTHES

    picture = studio.on_wall(image, classes, np.random.default_rng(1))

    assert (picture[210:490, 160:320] == image[210:490, 160:320]).all()
    wall = picture[:100].astype(float)
    assert wall.mean() > 150
    assert wall.std(axis=(0, 1)).max() < 12


def test_a_folder_with_other_contents_is_refused(tmp_path):
    with pytest.raises(InputValidationError, match="--source"):
        ccp.names(tmp_path)


@needs_ccp
def test_a_photograph_becomes_an_example():
    example = ccp.read(CCP, "0338")
    assert example.photo.shape[:2] == example.classes.shape
    assert {Class.HAIR, Class.PANTS, ccp.SKIN, ccp.BACKGROUND} <= set(np.unique(example.classes).tolist())


@needs_ccp
def test_a_photograph_without_a_pose_is_left_out():
    from config.errors import NoPersonError

    def find_no_person(photo):
        raise NoPersonError("no person")

    with pytest.raises(examples.UnsuitableExampleError, match="NoPersonError: no person"):
        examples.estimate_and_prepare(ccp.read(CCP, "0338"), find_no_person)


def test_the_frame_of_the_larger_map_contains_the_canvas():
    frame = Frame.letterbox(768, 1024)
    wider = examples.wider_frame(frame)
    corners = np.array([[0.0, 0], [768, 1024]])
    assert wider.points_to_canvas(corners) == pytest.approx(np.array([[144.0, 64], [624, 704]]))


@needs_ccp
def test_a_data_set_is_built_and_has_a_contact_sheet(tmp_path, models_dir):
    source, data = tmp_path / "ccp", tmp_path / "data"
    for folder in ("photos", "labels"):
        (source / folder).mkdir(parents=True)
    shutil.copy(CCP / "labels.txt", source)
    for name in ("0014", "0338", "0129"):  # a test photograph, a training photograph, a side view
        shutil.copy(CCP / "photos" / f"{name}.jpg", source / "photos")
        shutil.copy(CCP / "labels" / f"{name}.png", source / "labels")

    counts = dataset.build(source, data, models_dir, processes=1)

    assert counts["test photographs"] == counts["train photographs"] == counts["left out"] == 1
    assert "PoseError" in json.loads((data / "left_out.json").read_text())["0129"]
    assert (data / "masks" / "0014_street.png").is_file()
    index = yaml.safe_load((data / "data.yaml").read_text())
    assert index["names"] == dict(enumerate(TITLES))
    for subset in ("train", "test"):
        pictures = {file.stem for file in (data / index[subset]).glob("*.jpg")}
        assert pictures == {file.stem for file in (data / "labels" / subset).glob("*.txt")}
    sheet = contact_sheet(data, "train", pictures=2)
    assert sheet.ndim == 3
    with pytest.raises(InputValidationError, match="val"):
        contact_sheet(data, "val")
