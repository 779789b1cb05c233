"""The measures of whole try-ons, on small pictures, and the floors that they keep on real samples."""

import numpy as np
import pytest

from config.settings import settings
from tests.support.samples import VITON, needs_samples
from worker.errors import PoseError, SynthesisError, TryonError
from worker.evaluation import self_swap, similarity, tryon
from worker.evaluation.tryon import Photograph, Tried
from worker.frame import HEIGHT, WIDTH, Frame
from worker.maps import Body25, Part, Pose
from worker.models import Models

PLAIN = np.full((64, 48, 3), 120, np.uint8)
EVERYWHERE = np.ones((64, 48), bool)


def photograph(name: str = "p", error: TryonError | None = None) -> Photograph:
    return Photograph(name, b"", {}, error, 1.0)


def tried(
    colour: float = 2.0, score: float = 0.9, outside: int = 0, error: TryonError | None = None
) -> Tried:
    details = {"checks": {"colour": {"value": colour, "score": 1.0}}, "score": score, "warnings": []}
    made = {} if error else {"details.json": details}
    return Tried(photograph(), photograph("g"), None if error else PLAIN, made, error, outside, 0.5, 700.0)


def test_a_table_counts_what_succeeds_and_what_is_refused() -> None:
    row = tryon.table(
        [
            tried(1.0),
            tried(9.0, 0.4, outside=3),
            tried(error=PoseError("no")),
            tried(error=PoseError("no")),
            tried(error=SynthesisError("no")),
        ]
    )
    assert row["pictures"] == 5
    assert row["succeeded"] == 0.4
    assert row["refused"] == "PoseError 2, SynthesisError 1"
    assert (row["colour"], row["colour_worst"]) == (5.0, 9.0)
    assert (row["score"], row["score_worst"]) == (0.65, 0.4)
    assert (row["outside"], row["peak_mib"]) == (3, 700)


def test_a_table_of_refusals_alone_has_no_measures() -> None:
    row = tryon.table([tried(error=PoseError("no"))])
    assert row == {"pictures": 1, "succeeded": 0.0, "refused": "PoseError 1"}


def test_what_was_refused_before_is_not_drawn() -> None:
    error = PoseError("no shoulders")
    found = tryon.try_on(photograph(error=error), photograph("g"), models=None)  # type: ignore[arg-type]
    assert (found.result, found.error) == (None, error)


def test_garments_go_by_turns_or_all_of_them() -> None:
    people, garments = [photograph(c) for c in "abc"], [photograph(c) for c in "xy"]
    turns = [(p.name, g.name) for p, g in tryon.by_turns(people, garments)]
    assert turns == [("a", "x"), ("b", "y"), ("c", "x")]
    assert len(list(tryon.every(people, garments))) == 6


@pytest.mark.parametrize("size", [(300, 225), (1024, 768), (2048, 1536)])
def test_a_pixel_that_changed_outside_is_found_at_every_size(size: tuple[int, int]) -> None:
    frame = Frame.letterbox(size[1], size[0])
    photo = np.full((*size, 3), 90, np.uint8)
    region = np.zeros((HEIGHT, WIDTH), np.uint8)
    region[400:600, 300:500] = 255
    result = photo.copy()
    result[size[0] // 2, size[1] // 2] = 255  # within the region
    assert tryon.changed_outside(photo, result, region, frame) == 0
    result[size[0] // 10, size[1] // 10] = 91
    assert tryon.changed_outside(photo, result, region, frame) == 1


def test_equal_pictures_are_alike_and_noise_is_not() -> None:
    rng = np.random.default_rng(0)
    striped = PLAIN.copy()
    striped[:, ::6] = 220
    noisy = np.clip(striped + rng.normal(0, 60, striped.shape), 0, 255).astype(np.uint8)
    assert similarity.ssim(striped, striped, EVERYWHERE) == pytest.approx(1)
    assert similarity.gmsd(striped, striped, EVERYWHERE) == 0
    assert similarity.ssim(striped, noisy, EVERYWHERE) < 0.5
    assert similarity.gmsd(striped, noisy, EVERYWHERE) > 0.1


def test_likeness_is_told_within_the_region_alone() -> None:
    spoilt = PLAIN.copy()
    spoilt[:20] = np.random.default_rng(1).integers(0, 255, (20, 48, 3))
    far = EVERYWHERE.copy()
    far[:32] = False
    assert similarity.ssim(PLAIN, spoilt, far) == pytest.approx(1)
    assert similarity.gmsd(PLAIN, spoilt, far) == 0


def test_gmsd_is_as_published() -> None:
    # A step of 90 against a flat picture: Prewitt's answer is 90 in the two columns beside the step;
    # elsewhere both are flat and alike.
    step = PLAIN.copy()
    step[:, 24:] = 210
    size = np.zeros(24)
    size[11:13] = 90
    similar = 170 / (size**2 + 170)
    inner = np.zeros_like(EVERYWHERE)
    inner[4:-4, 4:-4] = True
    assert similarity.gmsd(step, PLAIN, inner) == pytest.approx(similar[2:-2].std(), abs=1e-3)


def test_a_flattened_garment_keeps_its_colours_on_light_grey_and_the_seed_decides() -> None:
    canvas = np.full((HEIGHT, WIDTH, 3), 30, np.uint8)
    own = np.zeros((HEIGHT, WIDTH), bool)
    own[300:700, 250:500] = True
    canvas[own] = (200, 60, 60)
    flat, alpha = self_swap.flattened(canvas, own, np.random.default_rng(3))
    assert (flat[alpha == 0] == 246).all()
    core = alpha > 0.99
    assert core.mean() > 0.2
    assert np.abs(flat[core].astype(int) - (200, 60, 60)).max() <= 2
    again, _ = self_swap.flattened(canvas, own, np.random.default_rng(3))
    other, _ = self_swap.flattened(canvas, own, np.random.default_rng(4))
    assert np.array_equal(flat, again)
    assert not np.array_equal(flat, other)


def test_the_overlay_fills_its_box() -> None:
    canvas = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    flat = np.full((HEIGHT, WIDTH, 3), 200, np.uint8)
    alpha = np.zeros((HEIGHT, WIDTH), np.float32)
    alpha[100:300, 100:200] = 1
    rows, columns = np.nonzero(self_swap.overlaid(canvas, flat, alpha, (300, 400, 500, 900))[..., 0] > 100)
    assert (columns.min(), rows.min()) == pytest.approx((300, 400), abs=2)
    assert (columns.max(), rows.max()) == pytest.approx((499, 899), abs=2)


def test_the_torso_is_a_box_about_shoulders_and_hips() -> None:
    body, hand = np.zeros((25, 3), np.float32), np.zeros((21, 3), np.float32)
    for joint, place in ((Body25.R_SHOULDER, (300, 200)), (Body25.L_SHOULDER, (400, 200))):
        body[joint] = (*place, 1)
    for joint, place in ((Body25.R_HIP, (320, 400)), (Body25.L_HIP, (380, 410))):
        body[joint] = (*place, 1)
    assert self_swap.torso(Pose(body, hand, hand)) == (280, 180, 420, 410)


def test_what_is_worn_is_the_largest_piece() -> None:
    parse = np.zeros((40, 40), np.uint8)
    parse[2:5, 2:5] = Part.UPPER_CLOTHES
    parse[10:30, 10:30] = Part.UPPER_CLOTHES
    parse[30:38, 10:30] = Part.PANTS
    own = self_swap.worn(parse)
    assert own.sum() == 400
    assert own[15, 15]


@needs_samples
def test_try_ons_keep_their_floor() -> None:
    models = Models(settings().models_dir)
    people, garments = tryon.people(VITON, models), tryon.garments(VITON, models)
    row = tryon.table(tryon.measure(tryon.by_turns(people, garments), models))
    assert row["succeeded"] == 1
    assert row["outside"] == 0
    assert row["colour"] < 6
