"""The twenty hard cases: the table, the alterations, and some of them through every stage."""

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as PillowImage

from config.errors import ERRORS, InputValidationError
from config.settings import settings
from tests.support.samples import CCP, VITON, needs_ccp, needs_samples
from worker.images.arrays import Image
from worker.images.decode import decode_input
from worker.lab.demo import garments
from worker.lab.evaluation import alterations, hard_cases
from worker.lab.evaluation.samples import GarmentSample
from worker.lab.parser_training import ccp
from worker.stages.models import Models

CASES = {case.title: case for case in hard_cases.CASES}


@pytest.fixture
def photo() -> Image:
    y, x = np.mgrid[0:240, 0:160]
    return np.stack([x, y, 255 - x], -1).astype(np.uint8)


@pytest.fixture
def tee() -> GarmentSample:
    drawing = garments.drawing("word_tee")
    return GarmentSample("word_tee", drawing.image, drawing.mask >= 128)


def _opened(data: bytes) -> PillowImage.Image:
    return PillowImage.open(io.BytesIO(data))


def _decoded(data: bytes) -> NDArray[np.int_]:
    return decode_input(data, name="picture").astype(int)


def test_there_are_twenty_cases_and_none_uses_a_test_photograph() -> None:
    assert len(CASES) == len(hard_cases.CASES) == 20
    for case in hard_cases.CASES:
        assert set(case.accepted) <= {hard_cases.PICTURE, *ERRORS}
        kind, name = case.person.split("/")
        assert kind in ("street", "studio")
        assert kind == "studio" or ccp.subset(name) != "test"


def test_a_photograph_rotated_by_exif_is_upright_after_decoding(photo: Image) -> None:
    data = alterations.rotated_by_exif(photo)
    assert _opened(data).size == (240, 160)
    assert np.abs(_decoded(data) - photo).max() < 16


def test_a_grey_photograph_has_one_channel(photo: Image) -> None:
    data = alterations.greyscale(photo)
    assert _opened(data).mode == "L"
    assert np.ptp(_decoded(data), axis=-1).max() == 0


def test_a_wide_photograph_contains_the_original_in_its_middle(photo: Image) -> None:
    wide = _decoded(alterations.wide(photo))
    assert wide.shape[1] / wide.shape[0] == pytest.approx(16 / 9, abs=0.02)
    left = (wide.shape[1] - 160) // 2
    assert np.abs(wide[:, left : left + 160] - photo).mean() < 2


def test_a_tiny_person_is_in_a_large_scene(photo: Image) -> None:
    assert _decoded(alterations.tiny(photo)).shape == (1200, 1600, 3)


def test_low_light_is_dark_and_noisy(photo: Image) -> None:
    dark = _decoded(alterations.low_light(np.full_like(photo, 200)))
    assert dark.mean() < 100
    assert dark.std() > 1


def test_a_mirrored_photograph_has_a_phone_in_the_hand(photo: Image) -> None:
    mirrored = _decoded(alterations.selfie(photo, hand=(0.25, 0.5)))
    assert mirrored[120, 120].max() < 60
    assert np.abs(mirrored[:60] - photo[:60, ::-1]).mean() < 2


def test_lace_lets_the_background_through_and_has_dark_threads(tee: GarmentSample) -> None:
    lace = _decoded(alterations.lace(tee))[tee.mask].mean(-1)
    assert (lace > 150).mean() > 0.2
    assert (lace < 60).mean() > 0.1


def test_black_on_black_has_little_contrast(tee: GarmentSample) -> None:
    black = _decoded(alterations.black_on_black(tee)).mean(-1)
    assert 8 < np.median(black[tee.mask]) - np.median(black[~tee.mask]) < 25


def test_the_hanger_is_above_the_collar(tee: GarmentSample) -> None:
    hung = _decoded(alterations.on_hanger(tee))
    changed = np.abs(hung - tee.photo).max(-1) > 40
    assert changed[: int(np.flatnonzero(tee.mask.any(1))[0])].any()
    assert not changed[len(changed) // 3 :].any()


@needs_samples
def test_the_error_names_a_missing_photograph(tmp_path: Path) -> None:
    with pytest.raises(InputValidationError, match=r"0595\.jpg does not exist"):
        hard_cases.input_files(CASES["arms crossed"], VITON, tmp_path)


@needs_samples
@needs_ccp
@pytest.mark.parametrize(
    "title", ["arms crossed", "side turn", "tiny person", "grey-scale photograph", "rotated by EXIF"]
)
def test_a_hard_case_has_an_accepted_outcome(title: str) -> None:
    with Models(settings().models_dir) as models:
        outcome = hard_cases.run_case(CASES[title], VITON, CCP, models)
    assert outcome.name in CASES[title].accepted
    row, panels = hard_cases.row(outcome), hard_cases.panels(outcome)
    assert row["as it should"] == "yes"
    assert len(panels) == 3
    if outcome.error:
        assert row["says"] == outcome.error.message
        assert panels[2][0] == outcome.error.name
    else:
        assert 0 <= row["score"] <= 1
        assert outcome.bundles["generate"]["result.png"].shape == outcome.person.shape
