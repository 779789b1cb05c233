"""The layout after: proportions, the network's input and output, its training examples."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from config.errors import GarmentMaskError, PoseError, WeightsMissingError
from worker.cloth.landmarks import NAMES, GarmentLandmarks
from worker.geometric.layout import INPUT_SHAPE, After, LayoutNetwork, LayoutPredictor, planes, staying
from worker.geometric.proportions import Proportions, garment_proportions
from worker.images.maps import Body25 as J
from worker.images.maps import Part, Pose
from worker.lab.layout_training.evaluate import figures, sheet
from worker.lab.layout_training.examples import Person, at_input, example
from worker.lab.layout_training.export import export
from worker.lab.layout_training.measure import GARMENT, UNKNOWN, cihp, target, worn_proportions
from worker.lab.layout_training.rules import layout_by_rules
from worker.parsing.classes import Class

NONE = np.zeros((21, 3), np.float32)
SHOULDERS = 100  # row of the joints in the drawn person, stored pixels
TOP = Proportions(0.5, 0.5, 1.6, 0.05, 0.45, 1.0, 0.9, 0.95, 0.0)


def joints():
    """A standing person with a body size of 50 pixels, arms hanging beside the trunk."""
    body = np.zeros((25, 3), np.float32)
    for joint, x, y in (
        *((J.NOSE, 150, 70), (J.NECK, 150, SHOULDERS), (J.R_SHOULDER, 125, SHOULDERS)),
        *((J.R_ELBOW, 115, 140), (J.R_WRIST, 110, 180), (J.L_SHOULDER, 175, SHOULDERS)),
        *((J.L_ELBOW, 185, 140), (J.L_WRIST, 190, 180), (J.R_HIP, 135, 180), (J.L_HIP, 165, 180)),
    ):
        body[joint] = x, y, 1
    return body


def class_map():
    """A top from the shoulders to 80 pixels below them, with sleeves to the elbow, trousers, head, neck."""
    classes = np.full((410, 307), 255, np.uint8)
    classes[50:85, 138:162] = Class.FACE
    classes[85:105, 143:157] = Class.NECK
    classes[180:300, 128:172] = Class.PANTS
    for x in (106, 180):
        classes[140:190, x : x + 14] = Class.ARM
        classes[95:140, x : x + 14] = Class.UPPER_CLOTHES
    classes[95:180, 120:180] = Class.UPPER_CLOTHES
    classes[85:105, 143:157] = Class.NECK
    return classes


@pytest.fixture(scope="module")
def person():
    classes, body = class_map(), joints()
    worn = worn_proportions(classes, body)
    assert worn is not None
    return Person("0001", body, cihp(classes, body), target(classes, body), worn)


def landmarks(sleeve="short"):
    places = dict.fromkeys(NAMES, (0.0, 0.0)) | {
        "r_neck": (344, 200), "l_neck": (424, 200), "neck_front": (384, 260),
        "r_shoulder": (264, 230), "l_shoulder": (504, 230), "r_armpit": (274, 350), "l_armpit": (494, 350),
        "r_cuff_outer": (190, 400), "r_cuff_inner": (250, 410), "l_cuff_outer": (578, 400),
        "l_cuff_inner": (518, 410), "r_hem": (270, 700), "l_hem": (498, 700), "hem_centre": (384, 700),
    }  # fmt: skip
    points = {name: np.array(place, np.float32) for name, place in places.items()}
    return GarmentLandmarks(points, dict.fromkeys(NAMES, 1.0), sleeve)


class TestProportions:
    def test_a_short_sleeve_ends_between_shoulder_and_elbow(self):
        found = garment_proportions(landmarks(), v_neck=True)
        assert 0.5 < found.right_sleeve < 1
        assert found.right_sleeve == pytest.approx(found.left_sleeve)
        assert found.v_neck == 1
        assert 1.4 < found.hem < 1.9

    def test_a_garment_without_sleeves_has_its_own_shoulder_width(self):
        found = garment_proportions(landmarks("straps"), v_neck=False)
        assert found.right_sleeve == found.left_sleeve == 0
        assert found.shoulder_width == pytest.approx(240 / 220 * 0.82)

    def test_they_do_not_depend_on_the_pictures_scale(self):
        small = landmarks()
        half = GarmentLandmarks({n: p / 2 for n, p in small.points.items()}, small.confidence, "short")
        first, second = (garment_proportions(one, v_neck=False) for one in (small, half))
        np.testing.assert_allclose(first.values(), second.values(), rtol=1e-5)

    def test_armpits_at_one_place_are_an_error(self):
        flat = landmarks()
        flat.points["r_armpit"] = flat.points["l_armpit"]
        with pytest.raises(GarmentMaskError, match="armpits"):
            garment_proportions(flat, v_neck=False)

    def test_the_mirrored_garment_has_its_sleeves_swapped(self):
        uneven = replace(TOP, left_sleeve=2.0)
        assert uneven.mirrored().right_sleeve == 2.0
        assert Proportions.of(uneven.values()) == uneven


class TestMeasuring:
    def test_proportions_are_those_of_the_drawn_top(self, person):
        worn = person.proportions
        assert worn.hem == pytest.approx(80 / 50, abs=0.05)
        assert worn.right_sleeve == pytest.approx(1.0, abs=0.1)
        assert worn.left_sleeve == pytest.approx(1.0, abs=0.1)
        assert worn.neck_depth == pytest.approx(5 / 50, abs=0.05)

    def test_the_top_is_split_into_trunk_and_sleeves(self, person):
        assert person.target[130, 150] == After.TRUNK
        assert person.target[130, 110] == After.RIGHT_SLEEVE
        assert person.target[130, 190] == After.LEFT_SLEEVE
        assert person.target[170, 110] == After.RIGHT_ARM
        assert person.target[250, 150] == After.LOWER

    def test_a_person_without_a_top_has_no_proportions(self):
        classes = class_map()
        classes[np.isin(classes, GARMENT)] = 255
        assert worn_proportions(classes, joints()) is None

    def test_bags_are_unknown(self):
        classes = class_map()
        classes[120:130, 145:155] = Class.BAG
        assert target(classes, joints())[125, 150] == UNKNOWN


class TestPlanes:
    def test_neither_the_old_garment_nor_arms_nor_neck_are_seen(self, person):
        joint, parse, _ = at_input(person)
        bare = np.where(np.isin(parse, (Part.UPPER_CLOTHES, Part.NECK, Part.LEFT_ARM)), 0, parse)
        np.testing.assert_array_equal(
            planes(joint, 1.0, staying(parse), TOP),
            planes(joint, 1.0, staying(bare.astype(np.uint8)), TOP),
        )

    def test_the_shape_is_that_of_the_network(self, person):
        joint, parse, _ = at_input(person)
        assert planes(joint, 1.0, staying(parse), TOP).shape == (25, *INPUT_SHAPE)

    def test_a_missing_shoulder_is_an_error(self, person):
        joint, parse, _ = at_input(person)
        joint[J.R_SHOULDER] = 0
        with pytest.raises(PoseError, match="shoulders"):
            planes(joint, 1.0, staying(parse), TOP)


class TestPrediction:
    def test_hair_and_head_stay(self, person):
        torch.manual_seed(0)
        joint, parse, _ = at_input(person)
        joint[:, :2] *= 4
        large = parse.repeat(4, 0).repeat(4, 1)
        large[:40] = Part.HAIR
        labels = LayoutPredictor(LayoutNetwork()).layout_after(Pose(joint, NONE, NONE), large, TOP)
        assert labels.shape == (1024, 768)
        assert (labels[:40] == After.HAIR).all()
        assert (labels[large == Part.FACE] == After.KEPT).all()

    def test_exported_weights_predict_the_same_labels(self, person, tmp_path):
        torch.manual_seed(0)
        network = LayoutNetwork()
        torch.save(network.state_dict(), tmp_path / "averaged.pt")
        file = export(tmp_path / "averaged.pt", tmp_path / "layout.safetensors")
        predictor = LayoutPredictor.load(file)
        result = figures([person], predictor)
        assert set(result) == {"network", "network, false hem", "rules", "rules, false hem"}
        assert sheet([person], predictor).shape == (256, 9 * 192, 3)

    def test_another_file_is_refused(self, tmp_path):
        torch.save({"other": torch.zeros(1)}, tmp_path / "other.pt")
        with pytest.raises(WeightsMissingError):
            LayoutPredictor.load(tmp_path / "other.pt")


class TestRules:
    def test_a_longer_garment_covers_more(self, person):
        joint, parse, _ = at_input(person)
        joint[:, :2] *= 4
        pose, large = Pose(joint, NONE, NONE), parse.repeat(4, 0).repeat(4, 1)
        short, long = (layout_by_rules(pose, large, replace(TOP, hem=hem)) for hem in (0.9, 1.6))
        assert (short == After.TRUNK).sum() < 0.8 * (long == After.TRUNK).sum()


class TestExamples:
    def test_they_are_the_same_for_the_same_seed_and_fit_the_network(self, person):
        first, second = (example(np.random.default_rng(3), person) for _ in range(2))
        np.testing.assert_array_equal(first[0], second[0])
        assert first[0].shape == (25, *INPUT_SHAPE)
        assert first[1].shape == INPUT_SHAPE
        assert set(np.unique(first[1])) <= {*After, UNKNOWN}
