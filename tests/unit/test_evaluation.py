"""The measures on shapes with known scores, and the minimum scores of the maps on real samples."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from config.errors import InputValidationError, ParsingError
from tests.support.garment import garment_reader
from tests.support.samples import VITON, needs_samples
from worker.images.arrays import Canvas, Flags, Floats, Labels, Mask
from worker.images.maps import Body25, Part, Pose
from worker.images.regions import iou
from worker.lab.evaluation import cloth, hard_garments, parsing, pose
from worker.lab.evaluation.cloth import boundary_f
from worker.lab.evaluation.samples import GarmentSample
from worker.stages.models import Models


def square(size: int, start: int = 20) -> Flags:
    mask = np.zeros((100, 100), bool)
    mask[start : start + size, start : start + size] = True
    return mask


def test_equal_masks_score_one_and_disjoint_masks_zero() -> None:
    assert iou(square(40), square(40)) == boundary_f(square(40), square(40)) == 1
    assert iou(square(10, 5), square(10, 80)) == boundary_f(square(10, 5), square(10, 80)) == 0


def test_iou_is_a_share_of_the_area_and_boundary_f_depends_on_the_tolerance() -> None:
    assert iou(square(20), square(40)) == 0.25
    assert boundary_f(square(40, 21), square(40, 20), tolerance=2) == 1
    assert boundary_f(square(40, 30), square(40, 20), tolerance=2) < 0.3


def test_the_error_names_a_folder_without_samples(tmp_path: Path) -> None:
    with pytest.raises(InputValidationError, match=str(tmp_path)):
        cloth.measure(tmp_path, garment_reader())


def segmented(case: str, garment: str, mask: Flags) -> cloth.SegmentedGarment:
    photo = np.full((100, 100, 3), 246, np.uint8)
    return cloth.SegmentedGarment(case, garment, photo, square(40), mask, 12.4)


def test_garments_have_scores_a_mean_and_a_worst() -> None:
    rows = cloth.by_garment(
        [segmented("published", "a", square(40)), segmented("published", "b", square(20))]
    )
    assert (rows["a"]["iou"], rows["b"]["iou"], rows["a"]["ms"]) == (1.0, 0.25, 12)
    assert (rows["mean"]["iou"], rows["worst"]["iou"]) == (0.625, 0.25)
    assert rows["worst"]["boundary_f"] == rows["b"]["boundary_f"] < 1


def test_cases_have_scores_and_a_total() -> None:
    rows = cloth.by_case(
        [
            segmented("holes", "a", square(40)),
            segmented("holes", "b", square(20)),
            segmented("text", "a", square(40)),
        ]
    )
    assert (rows["holes"]["mean_iou"], rows["holes"]["worst_iou"]) == (0.625, 0.25)
    assert (rows["text"]["mean_iou"], rows["text"]["worst_boundary_f"]) == (1.0, 1.0)
    assert (rows["all"]["mean_iou"], rows["all"]["worst_iou"]) == (0.75, 0.25)


def test_the_garment_sheet_marks_missed_pixels_and_false_ones() -> None:
    sheet = cloth.contact_sheet([segmented("holes", "a", square(40, 30))])
    colours = {tuple(colour) for colour in sheet.reshape(-1, 3)}
    assert (255, 0, 0) in colours
    assert (0, 90, 255) in colours
    correct = cloth.contact_sheet([segmented("holes", "a", square(40))])
    assert (255, 0, 0) not in {tuple(colour) for colour in correct.reshape(-1, 3)}


def drawn_garment() -> GarmentSample:
    """A blue body with two sleeves and a deep collar on studio grey, and its mask."""
    mask = np.zeros((256, 192), np.uint8)
    cv2.rectangle(mask, (56, 40), (136, 220), 1, -1)
    cv2.rectangle(mask, (26, 40), (166, 90), 1, -1)
    cv2.ellipse(mask, (96, 40), (8, 30), 0, 0, 180, 0, -1)
    photo = np.where(mask[..., None] > 0, (40, 70, 140), (246, 246, 246)).astype(np.uint8)
    return GarmentSample("drawn", photo, mask > 0)


@pytest.mark.parametrize("case", cloth.HARD)
def test_a_hard_case_is_reproducible_and_its_mask_separates_garment_and_background(case: str) -> None:
    sample = drawn_garment()
    hard, again = (hard_garments.make(case, sample, 1) for _ in range(2))
    assert hard.photo.shape == sample.photo.shape
    assert hard.photo.dtype == np.uint8
    np.testing.assert_array_equal(hard.photo, again.photo)
    np.testing.assert_array_equal(hard.mask, again.mask)
    inside, outside = hard.photo[hard.mask].astype(float), hard.photo[~hard.mask].astype(float)
    assert np.linalg.norm(inside.mean(0) - outside.mean(0)) > 2
    changed = not np.array_equal(hard.mask, sample.mask)
    assert changed == (case in ("thin straps", "holes", "inner back"))


def test_holes_show_the_background_and_an_inner_back_does_not() -> None:
    sample = drawn_garment()
    holes, back = (hard_garments.make(case, sample) for case in ("holes", "inner back"))
    cut = sample.mask & ~cv2.dilate(holes.mask.astype(np.uint8), np.ones((7, 7))).astype(bool)
    assert cut.any()
    assert (holes.photo[cut] == 246).all()
    added = cv2.erode((back.mask & ~sample.mask).astype(np.uint8), np.ones((3, 3))) > 0
    assert added.any()
    assert (back.photo[added] < 230).all()


def test_a_refused_garment_scores_zero(tmp_path: Path) -> None:
    (tmp_path / "cloth").mkdir()
    (tmp_path / "cloth-mask").mkdir()
    blank = np.full((256, 192, 3), 246, np.uint8)
    Image.fromarray(blank).save(tmp_path / "cloth" / "blank.jpg")
    Image.fromarray(drawn_garment().mask.astype(np.uint8) * 255).save(tmp_path / "cloth-mask" / "blank.jpg")
    (result,) = cloth.measure(tmp_path, garment_reader(), [cloth.PUBLISHED])
    assert cloth.by_garment([result])["blank"]["iou"] == 0


@needs_samples
def test_the_garment_masks_reach_their_minimum_scores() -> None:
    scores = cloth.by_garment(cloth.measure(VITON, garment_reader(), [cloth.PUBLISHED]))
    assert scores["mean"]["iou"] >= 0.985
    assert scores["worst"]["iou"] >= 0.97
    assert scores["mean"]["boundary_f"] >= 0.95


@needs_samples
def test_the_hard_garments_reach_their_minimum_scores() -> None:
    scores = cloth.by_case(cloth.measure(VITON, garment_reader(), cloth.HARD))
    assert scores["all"]["mean_iou"] >= 0.98
    assert min(row["mean_iou"] for row in scores.values()) >= 0.97
    assert scores["all"]["worst_iou"] >= 0.95


def body(**joints: tuple[float, float]) -> Floats:
    """Return Body25 joints of a torso of 400 pixels, and these joints."""
    points = np.zeros((25, 3), np.float32)
    for name, place in {"NECK": (384, 300), "MID_HIP": (384, 700), **joints}.items():
        points[Body25[name]] = (*place, 0.9)
    return points


ARMS = {"elbows": (Body25.R_ELBOW, Body25.L_ELBOW), "wrists": (Body25.R_WRIST, Body25.L_WRIST)}


def test_pose_scores_distinguish_near_far_missed_and_extra_joints() -> None:
    # 0.05 of the height is 51.2 pixels, 0.2 of the torso 80.
    truth = body(R_ELBOW=(200, 500), L_ELBOW=(500, 500), R_WRIST=(200, 700))
    estimate = body(R_ELBOW=(230, 540), L_ELBOW=(560, 500), L_WRIST=(500, 700))
    scored = pose.scores([(truth, estimate)], ARMS)
    assert scored["elbows"] == {
        "joints": 2,
        "missed": 0,
        "extra": 0,
        "mean_px": 55.0,
        "max_px": 60.0,
        "pck_0.05h": 0.5,
        "pck_0.2torso": 1.0,
    }
    assert (scored["wrists"]["joints"], scored["wrists"]["missed"], scored["wrists"]["extra"]) == (1, 1, 1)
    assert scored["wrists"]["mean_px"] is None
    assert scored["wrists"]["pck_0.05h"] == scored["wrists"]["pck_0.2torso"] == 0


def test_pose_scores_are_over_all_people_and_omit_groups_without_joints() -> None:
    one, other = body(R_ELBOW=(200, 500)), body(R_ELBOW=(210, 500))
    scored = pose.scores([(one, one), (one, other)], ARMS)
    assert list(scored) == ["elbows"]
    assert (scored["elbows"]["joints"], scored["elbows"]["mean_px"]) == (2, 5.0)


@pytest.fixture(scope="module")
def models(models_dir: Path) -> Iterator[Models]:
    with Models(models_dir) as loaded:
        yield loaded


@needs_samples
def test_joints_reach_their_minimum_scores(models: Models) -> None:
    groups, each = pose.evaluate(VITON, models), pose.evaluate(VITON, models, pose.EACH)
    for group in ("head", "shoulders and neck", "elbows", "wrists"):
        assert groups[group]["pck_0.05h"] >= 0.98, group
        assert groups[group]["missed"] == 0, group
    assert groups["knees"]["mean_px"] < 45
    assert groups["hips"]["mean_px"] < 37
    assert groups["elbows"]["joints"] == each["R_ELBOW"]["joints"] + each["L_ELBOW"]["joints"]


@needs_samples
def test_the_pose_sheet_has_four_pictures_per_person(models: Models) -> None:
    sheet = pose.contact_sheet(VITON, models)
    assert sheet.dtype == np.uint8
    # Four pictures of 3:4 for each of the four people.
    assert sheet.shape[0] > 4 * 420
    assert sheet.shape[1] > 4 * 315


def drawn_person(name: str) -> parsing.ParserSample:
    truth = np.zeros((1024, 768), np.uint8)
    truth[300:700, 250:500] = Part.COAT
    truth[200:300, 330:430] = Part.FACE
    no_pose = Pose(*(np.zeros((count, 3), np.float32) for count in (25, 21, 21)))
    canvas = np.full((1024, 768, 3), 128, np.uint8)
    return parsing.ParserSample(name, canvas, no_pose, truth, truth)


def test_parsers_are_scored_side_by_side() -> None:
    def half(canvas: Canvas, pose: Pose, mask: Mask) -> Labels:
        labels = mask.copy()
        labels[300:500] = 0
        return labels

    def refuses(canvas: Canvas, pose: Pose, mask: Mask) -> Labels:
        raise ParsingError("no")

    rows, sheet = parsing.compare(
        iter([drawn_person("one"), drawn_person("two")]),
        {"right": lambda canvas, pose, mask: mask, "half": half, "refuses": refuses},
    )

    assert rows["upper clothes"] == {"pictures": 2, "right": 1, "half": 0.5, "refuses": 0}
    assert rows["face"] == {"pictures": 2, "right": 1, "half": 1, "refuses": 0}
    assert rows["mean"] == {"right": 1, "half": 0.75, "refuses": 0}
    assert "arms" not in rows
    assert sheet.dtype == np.uint8


@needs_samples
def test_parts_reach_their_minimum_scores(models: Models) -> None:
    rows, _ = parsing.compare(parsing.viton_hd(VITON, models), parsing.parsers(models))
    for part, floor in (
        ("upper clothes", 0.92), ("lower clothes", 0.92), ("arms", 0.84), ("hair", 0.82), ("face", 0.8),
    ):  # fmt: skip
        assert rows[part]["trained"] >= floor, part
    assert rows["mean"]["trained"] > rows["mean"]["landmark"]
