"""The score of the engine geometric: its fit, its reliability, and the refusal of poor pictures."""

import pytest

from config.errors import SynthesisError
from worker.geometric import rating
from worker.lab.evaluation import score_fit
from worker.stages import table
from worker.verdict import Check, Verdict, require_score

USUAL = {name: factor.mean**2 if factor.root else factor.mean for name, factor in rating.FACTORS.items()}


def test_the_shipped_model_is_the_fit_of_the_shipped_ratings() -> None:
    report = score_fit.report()
    assert report["intercept"] == rating.INTERCEPT
    for name, factor in rating.FACTORS.items():
        assert report["factors"][name] == {
            "mean": factor.mean,
            "spread": factor.spread,
            "weight": factor.weight,
        }


def test_the_score_is_reliable_on_people_it_was_not_fitted_to() -> None:
    report = score_fit.report()
    assert report["auc_out_of_fold"] >= 0.82
    assert report["of_these_not_to_be_shown"] <= 0.1
    assert report["scored_0.8_or_more"] >= 0.2 * report["pictures"]


@pytest.mark.parametrize("name", ["guessed", "stretched", "long_sleeves", "body_size"])
def test_a_larger_value_of_a_flaw_lowers_the_probability_and_is_the_reason(name: str) -> None:
    worse = {**USUAL, name: 3 * USUAL[name] + 0.3}
    assert rating.probability(worse) < rating.probability(USUAL)
    assert rating.reason(worse) == rating.FACTORS[name].reason


def test_values_far_outside_of_the_rated_ones_count_as_the_farthest_rated_ones() -> None:
    assert rating.probability({**USUAL, "body_size": 5.0}) == rating.probability({**USUAL, "body_size": 50.0})


def test_a_picture_below_the_least_score_is_refused_with_the_reason() -> None:
    verdict = Verdict({"guessed": Check(0.5, 0.4)}, [], probability=0.21, reason="the garment is stretched")
    require_score(verdict, 0.2)
    with pytest.raises(
        SynthesisError, match=r"the garment is stretched \(score 0\.21, least 0\.30\).*minimum_score"
    ):
        require_score(verdict, 0.3)


def test_the_least_score_is_that_of_the_job_or_else_of_the_setting() -> None:
    row, options = table.stage("generate"), {"engine": "geometric", "category": "upper_body", "seed": 0}
    assert table.selected(row, options)["minimum_score"] == table.settings().minimum_score
    assert table.selected(row, {**options, "minimum_score": 0.0})["minimum_score"] == 0.0
