"""The measures, on shapes whose score is known, and the floors that the maps keep on real samples."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.support.samples import VITON, needs_samples
from worker.errors import InputValidationError
from worker.evaluation import cloth, parsing, pose
from worker.evaluation.cloth import boundary_f, iou
from worker.maps import Body25
from worker.models import Models


def square(size, at=20):
    mask = np.zeros((100, 100), bool)
    mask[at : at + size, at : at + size] = True
    return mask


def test_equal_masks_score_one_and_strangers_none():
    assert iou(square(40), square(40)) == boundary_f(square(40), square(40)) == 1
    assert iou(square(10, 5), square(10, 80)) == boundary_f(square(10, 5), square(10, 80)) == 0


def test_a_smaller_mask_scores_its_share_and_its_outline_the_tolerance():
    assert iou(square(20), square(40)) == 0.25
    assert boundary_f(square(40, 21), square(40, 20), tolerance=2) == 1
    assert boundary_f(square(40, 30), square(40, 20), tolerance=2) < 0.3


def test_a_folder_without_samples_is_named(tmp_path):
    with pytest.raises(InputValidationError, match=str(tmp_path)):
        cloth.evaluate(tmp_path)


@needs_samples
def test_the_garment_masks_keep_their_floor():
    scores = cloth.evaluate(VITON)
    assert scores["mean"]["iou"] >= 0.985
    assert scores["worst"]["iou"] >= 0.97


def body(**joints: tuple[float, float]) -> np.ndarray:
    """Body25 joints of a torso 400 long, and these."""
    points = np.zeros((25, 3), np.float32)
    for name, place in {"NECK": (384, 300), "MID_HIP": (384, 700), **joints}.items():
        points[Body25[name]] = (*place, 0.9)
    return points


ARMS = {"elbows": (Body25.R_ELBOW, Body25.L_ELBOW), "wrists": (Body25.R_WRIST, Body25.L_WRIST)}


def test_pose_scores_tell_near_far_missed_and_extra_joints_apart() -> None:
    # 0.05 of the height is 51.2 pixels, 0.2 of the torso 80.
    truth = body(R_ELBOW=(200, 500), L_ELBOW=(500, 500), R_WRIST=(200, 700))
    found = body(R_ELBOW=(230, 540), L_ELBOW=(560, 500), L_WRIST=(500, 700))
    scored = pose.scores([(truth, found)], ARMS)
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


def test_pose_scores_are_over_all_people_and_leave_out_groups_that_nobody_shows() -> None:
    one, other = body(R_ELBOW=(200, 500)), body(R_ELBOW=(210, 500))
    scored = pose.scores([(one, one), (one, other)], ARMS)
    assert list(scored) == ["elbows"]
    assert (scored["elbows"]["joints"], scored["elbows"]["mean_px"]) == (2, 5.0)


@pytest.fixture(scope="module")
def models(models_dir: Path) -> Iterator[Models]:
    made = Models(models_dir)
    yield made
    made.close()


@needs_samples
def test_joints_keep_their_floor(models: Models) -> None:
    groups, each = pose.evaluate(VITON, models), pose.evaluate(VITON, models, pose.EACH)
    for group in ("head", "shoulders and neck", "elbows", "wrists"):
        assert groups[group]["pck_0.05h"] >= 0.98, group
        assert groups[group]["missed"] == 0, group
    assert groups["knees"]["mean_px"] < 45
    assert groups["hips"]["mean_px"] < 37
    assert groups["elbows"]["joints"] == each["R_ELBOW"]["joints"] + each["L_ELBOW"]["joints"]


@needs_samples
def test_the_pose_sheet_shows_every_person_beside_the_published_rendering(models: Models) -> None:
    sheet = pose.contact_sheet(VITON, models)
    assert sheet.dtype == np.uint8
    # Four pictures of 3:4 for each of the four people.
    assert sheet.shape[0] > 4 * 420
    assert sheet.shape[1] > 4 * 315


@needs_samples
def test_parts_keep_their_floor(models: Models) -> None:
    parts = parsing.evaluate(VITON, models)["mean"]
    assert parts["upper clothes"] >= 0.9
    assert parts["lower clothes"] >= 0.9
    assert parts["arms"] >= 0.8
    assert parts["hair"] >= 0.75
    assert parts["face"] >= 0.75
