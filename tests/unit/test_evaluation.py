"""The measures, on shapes whose score is known, and the floors that the maps keep on real samples."""

import numpy as np
import pytest

from tests.support.samples import VITON, needs_samples
from worker.errors import InputValidationError
from worker.evaluation import cloth, parsing, pose
from worker.evaluation.cloth import boundary_f, iou
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


@needs_samples
def test_joints_and_parts_keep_their_floor(models_dir):
    models = Models(models_dir)
    try:
        joints, parts = pose.evaluate(VITON, models), parsing.evaluate(VITON, models)["mean"]
    finally:
        models.close()
    for group in ("head", "shoulders and neck", "wrists"):
        assert joints[group]["pck_0.05h"] == 1.0
    assert parts["upper clothes"] >= 0.9
    assert parts["lower clothes"] >= 0.9
    assert parts["arms"] >= 0.8
    assert parts["hair"] >= 0.75
    assert parts["face"] >= 0.75
