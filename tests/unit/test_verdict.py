"""The verdict on a try-on, on small synthetic pictures with known flaws."""

import numpy as np
import pytest

from config.errors import SynthesisError
from tasks.cli import jobs
from worker import verdict
from worker.cloth.landmarks import NAMES, GarmentLandmarks
from worker.geometric.warp import refuse_folds, stretched_share
from worker.images.maps import Body25, Pose

GOOD = {
    "changed": 0.9,
    "colour": 2.0,
    "outside": 0,
    "left": 0.0,
    "guessed": 0.1,
    "hands": 0.0,
    "folded": 0.0,
    "stretched": 0.0,
    "landmarks": 0.8,
    "pose": 0.9,
}


def grey(value: int, size: int = 40) -> np.ndarray:
    return np.full((size, size, 3), value, np.uint8)


def square(first: int, last: int, size: int = 40) -> np.ndarray:
    area = np.zeros((size, size), bool)
    area[first:last, first:last] = True
    return area


def test_a_good_picture_has_score_one_and_no_warnings() -> None:
    result = verdict.judge(GOOD, [])
    assert result.score == 1
    assert result.record() == {
        "warnings": [],
        "checks": {name: {"value": value, "score": 1.0} for name, value in GOOD.items()},
        "score": 1.0,
        "reason": "",
    }


@pytest.mark.parametrize(
    ("name", "value", "warning"),
    [
        ("changed", 0.1, "Little of the picture changed"),
        ("colour", 24.0, "colours"),
        ("outside", 3, "3 pixels outside"),
        ("left", 0.3, "old garment"),
        ("guessed", 0.6, "is guessed"),
        ("hands", 0.5, "A hand"),
        ("folded", 0.05, "creased"),
        ("stretched", 0.12, "stretched"),
        ("landmarks", 0.2, "landmarks have a low confidence"),
        ("pose", 0.2, "joints"),
    ],
)
def test_each_flaw_lowers_the_score_and_gives_a_warning(name: str, value: float, warning: str) -> None:
    result = verdict.judge({**GOOD, name: value}, ["Known before."])
    assert result.score == result.checks[name].score < 0.5
    assert result.warnings[0] == "Known before."
    assert warning in result.warnings[1]


def test_the_changed_share_is_relative_to_the_regions_core() -> None:
    before, after = grey(100), grey(100)
    after[:20] = 180
    region = square(0, 40).astype(np.uint8) * 255
    assert verdict.changed_share(before, after, region) == 0.5
    assert verdict.changed_share(before, after, np.zeros_like(region)) == 0


def test_the_guessed_share_is_relative_to_the_garment() -> None:
    garment = square(10, 30).astype(np.float32)
    assert verdict.guessed_share(square(0, 10), garment) == 0.25
    assert verdict.guessed_share(square(0, 0), garment) == 0


def hands_at(right: tuple[int, int] | None, left: tuple[int, int] | None = None) -> Pose:
    hands = np.zeros((2, 21, 3), np.float32)
    for hand, place in zip(hands, (right, left), strict=True):
        if place is not None:
            hand[:] = (*place, 1)
            hand[:, 0] += np.arange(21) % 5 * 2
    return Pose(np.zeros((25, 3), np.float32), left_hand=hands[1], right_hand=hands[0])


def test_the_changed_fingers_of_the_worse_hand_are_counted() -> None:
    before, after = grey(100), grey(100)
    after[20:] = 200
    nowhere = square(0, 0)
    assert verdict.hands_covered(before, after, hands_at(None), nowhere) == 0
    assert verdict.hands_covered(before, after, hands_at((10, 5)), nowhere) == 0
    assert verdict.hands_covered(before, after, hands_at((10, 5), (10, 30)), nowhere) == 1
    # A hand in a pocket may be covered; a hand outside the picture is not visible.
    assert verdict.hands_covered(before, after, hands_at((10, 30)), square(0, 40)) == 0
    assert verdict.hands_covered(before, after, hands_at((10, 300)), nowhere) == 0


def test_one_changed_pixel_outside_the_region_is_counted() -> None:
    before, after = grey(100), grey(100)
    region = square(10, 30).astype(np.uint8)  # an alpha of 1 of 255 is inside
    after[15, 15] = 0
    assert verdict.changed_outside(before, after, region) == 0
    after[2, 3, 1] = 101
    assert verdict.changed_outside(before, after, region) == 1


def test_the_same_colours_at_other_positions_have_no_distance() -> None:
    garment, worn = grey(246), grey(10)
    garment[10:30, 10:20], garment[10:30, 20:30] = (200, 30, 30), (30, 30, 200)
    worn[0:10, 0:20], worn[10:20, 0:20] = (30, 30, 200), (200, 30, 30)
    mask = square(10, 30).astype(np.uint8) * 255
    assert verdict.colour_distance(garment, mask, worn, square(0, 20)) == pytest.approx(0, abs=1e-6)


def test_other_colours_are_far_and_intended_darkening_is_reversed() -> None:
    garment, mask = grey(160), np.full((40, 40), 255, np.uint8)
    red = np.full((40, 40, 3), (200, 20, 20), np.uint8)
    assert verdict.colour_distance(garment, mask, red, square(0, 40)) > 25
    assert verdict.colour_distance(garment, mask, grey(80), square(0, 40)) > 15
    assert verdict.colour_distance(garment, mask, grey(80), square(0, 40), 0.5) < 0.1
    assert verdict.colour_distance(garment, mask, grey(160), square(0, 0)) == 100


def test_visible_remains_of_the_old_garment_are_counted() -> None:
    photo = grey(230, 80)
    photo[20:60, 20:60] = (20, 20, 120)
    old = square(20, 60, 80)
    beside = ~old
    covered = np.where(square(18, 62, 80), 255, 0).astype(np.uint8)
    assert verdict.left_over(photo, covered, old, beside, 8) == 0
    half = covered.copy()
    half[:, 40:] = 0
    assert verdict.left_over(photo, half, old, beside, 8) == pytest.approx(0.5, abs=0.01)
    photo[62:66, 20:60] = (20, 20, 120)  # labelled as background, but part of the old garment
    assert verdict.left_over(photo, covered, old, beside, 8) == pytest.approx(0.1, abs=0.01)
    assert verdict.left_over(photo, covered, np.zeros_like(old), beside, 8) == 0


def test_confidences_are_means_over_the_relevant_points() -> None:
    points = dict.fromkeys(NAMES, np.zeros(2, np.float32))
    landmarks = GarmentLandmarks(points, {name: 0.8 if "cuff" not in name else 0.0 for name in NAMES}, "long")
    assert verdict.landmark_confidence(landmarks) == pytest.approx(0.8)
    body, hand = np.zeros((25, 3), np.float32), np.zeros((21, 3), np.float32)
    body[[Body25.R_SHOULDER, Body25.L_SHOULDER, Body25.R_HIP], 2] = 1
    assert verdict.pose_confidence(Pose(body, hand, hand)) == pytest.approx(0.5)


def test_a_map_that_tears_is_refused() -> None:
    x, y = np.meshgrid(np.arange(200.0), np.arange(200.0))
    everywhere = np.ones((200, 200), bool)
    even = np.stack([0.5 * x, 2 * y], -1).astype(np.float32)
    assert stretched_share(even, everywhere) == 0
    refuse_folds(even, everywhere, "sleeve")
    # Two fifths of the picture show little more than one column of the garment.
    torn = np.stack([np.where(x < 120, x, 120 + 0.01 * (x - 120)), y], -1).astype(np.float32)
    assert stretched_share(torn, everywhere) == pytest.approx(0.4, abs=0.03)
    with pytest.raises(SynthesisError, match="torn"):
        refuse_folds(torn, everywhere, "sleeve")


def test_the_status_command_shows_score_checks_and_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    result = verdict.judge({**GOOD, "left": 0.3}, [])
    stage = {
        "name": "generate",
        "status": "succeeded",
        "attempt": 1,
        "queued_ms": 1.0,
        "run_ms": 2.0,
        "cache_hit": False,
        "worker": "w",
        "details": result.record(),
    }
    record = {
        "id": "j",
        "status": "succeeded",
        "progress": 100,
        "queue_position": None,
        "stages": [stage],
        "error": None,
        "result_key": None,
    }
    jobs.show(record, as_json=False)
    output = capsys.readouterr().out
    assert "generate: score 0.00 (changed 1.00" in output
    assert "left 0.00" in output
    assert f"generate: {result.warnings[0]}" in output
