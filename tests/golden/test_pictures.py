"""Whole try-ons of people and garments that every machine has stay what they were when last accepted."""

import os
from pathlib import Path

import numpy as np
import pytest

from tests.golden import pictures
from tests.golden.common import PEOPLE_DIR
from worker.lab.demo import photographs
from worker.stages.models import Models


def require_photographs(people_dir: Path) -> None:
    """Skip without the photographs; in continuous integration fail."""
    missing = photographs.missing(people_dir)
    if not missing:
        return
    reason = f"{', '.join(missing)} not in {people_dir}: run `make people` (needs npm or uv, and a network)"
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(f"The golden pictures must be tested in continuous integration. {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="module", params=pictures.CASES, ids=str)
def tried_on(request: pytest.FixtureRequest, models: Models) -> pictures.TryOn:
    """A finished try-on; computed once for all tests of the module."""
    require_photographs(PEOPLE_DIR)
    return pictures.try_on(request.param, models)


def test_the_result_is_similar_to_its_reference(tried_on: pictures.TryOn) -> None:
    similarity = pictures.similarity(pictures.reference(tried_on.case), tried_on.small())
    assert similarity >= tried_on.case.floor, (
        f"the similarity of {tried_on.case} to tests/golden/references/{tried_on.case}.webp is "
        f"{similarity:.4f}. If the new picture is better, run `make golden` and look at the difference."
    )


def test_pixels_outside_the_region_are_unchanged(tried_on: pictures.TryOn) -> None:
    outside = tried_on.outside()
    assert outside.mean() > 0.4  # the engine claims at most the upper body
    assert np.array_equal(tried_on.result[outside], tried_on.photo[outside])
    assert not np.array_equal(tried_on.result[~outside], tried_on.photo[~outside])


def test_the_torso_has_the_colours_of_the_garment(tried_on: pictures.TryOn) -> None:
    torso, garment = tried_on.torso(), tried_on.case.garment
    assert pictures.colour_share(tried_on.photo, garment, torso) < 0.25
    assert pictures.colour_share(tried_on.result, garment, torso) > 0.75


@pytest.mark.parametrize(("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_missing_photographs_fail_in_continuous_integration_and_skip_elsewhere(
    ci: str, outcome: type[BaseException], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match=r"charles\.jpg.*make people"):
        require_photographs(tmp_path)
