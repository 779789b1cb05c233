"""The measures of whole try-ons on small pictures, and their minimum scores on real samples."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from config.errors import ImageLoadError, InputValidationError, PoseError, TryonError
from config.settings import settings
from tests.support.samples import VITON, needs_samples
from worker.cloth import landmarks
from worker.contract import Bundle
from worker.images.arrays import Image as Pixels
from worker.images.decode import encode
from worker.images.frame import HEIGHT, WIDTH, Frame
from worker.images.maps import Body25, Pose
from worker.lab.evaluation import self_swap, similarity, tryon
from worker.lab.evaluation.colour import ColourDistance
from worker.lab.evaluation.flatten import FlatGarment
from worker.lab.evaluation.pages import CELL, ROWS, Pages, cell
from worker.lab.evaluation.self_swap import BOX, ENGINE, SHOULDERS, Swap
from worker.lab.evaluation.tryon import Measurement, Photograph, TryOn
from worker.stages.models import Models

PLAIN = np.full((64, 48, 3), 120, np.uint8)
EVERYWHERE = np.ones((64, 48), bool)


def photograph(
    name: str = "p",
    error: TryonError | None = None,
    pixels: Pixels | None = None,
    bundles: dict[str, Bundle] | None = None,
) -> Photograph:
    data = b"" if pixels is None else encode(pixels, "png")[0]
    return Photograph(name, data, bundles or {}, error, 1.0)


def measured(
    median: float = 2.0, score: float = 0.9, outside: int = 0, error: str | None = None, name: str = "p + g"
) -> Measurement:
    colour = ColourDistance(median, 2 * median)
    return Measurement(name, error, outside, 0.5, 700.0, None if error else colour, score, ("hm",))


def test_a_table_counts_successes_and_refusals() -> None:
    row = tryon.table(
        [
            measured(1.0),
            measured(9.0, 0.4, outside=3),
            measured(error="PoseError"),
            measured(error="PoseError"),
            measured(error="SynthesisError"),
        ]
    )
    assert row["pictures"] == 5
    assert row["succeeded"] == 0.4
    assert row["refused"] == "PoseError 2, SynthesisError 1"
    assert (row["colour"], row["colour_worst"], row["colour_p90"]) == (5.0, 9.0, 10.0)
    assert (row["score"], row["score_worst"]) == (0.65, 0.4)
    assert (row["outside"], row["unseen"], row["peak_mib"]) == (3, 0, 700)


def test_a_table_with_only_refusals_has_no_statistics() -> None:
    row = tryon.table([measured(error="PoseError")])
    assert row == {"pictures": 1, "succeeded": 0.0, "refused": "PoseError 1"}


def test_a_garment_that_is_not_visible_counts_as_unseen() -> None:
    unseen = Measurement("p + g", None, colour=None, score=1.0)
    row = tryon.table([measured(3.0), unseen])
    assert (row["colour"], row["unseen"]) == (3.0, 1)
    assert tryon.worst([unseen])["p + g"]["colour"] == 100.0


def test_the_worst_come_first_without_refusals() -> None:
    measurements = [
        measured(1.0, 1.0, name="good"),
        measured(8.0, 1.0, name="off colour"),
        measured(1.0, 0.2, name="bad"),
        measured(error="PoseError", name="refused"),
    ]
    assert list(tryon.worst(measurements, 2)) == ["bad", "off colour"]
    assert tryon.worst(measurements)["bad"] == {"score": 0.2, "colour": 1.0, "warnings": "hm"}


def test_a_person_refused_by_an_earlier_stage_is_not_tried_on() -> None:
    error = PoseError("no shoulders")
    tried = tryon.try_on(photograph(error=error), photograph("g"), models=None)  # type: ignore[arg-type]
    assert (tried.result, tried.error) == (None, error)


def test_street_photographs_are_evenly_spaced_and_always_the_same(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(12):
        (tmp_path / "photos" / f"{number:04}.jpg").touch()
    assert [path.stem for path in tryon.street_files(tmp_path, 4)] == ["0000", "0003", "0006", "0009"]
    assert len(tryon.street_files(tmp_path, 5)) == 5
    assert len(tryon.street_files(tmp_path, 99)) == 12
    assert tryon.street_files(tmp_path, 0) == []


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputValidationError, match="contains no"):
        tryon.garment_files(tmp_path)


@pytest.mark.parametrize("size", [(300, 225), (1024, 768), (2048, 1536)])
def test_a_changed_pixel_outside_the_region_is_counted_at_every_size(size: tuple[int, int]) -> None:
    frame = Frame.letterbox(size[1], size[0])
    photo = np.full((*size, 3), 90, np.uint8)
    region = np.zeros((HEIGHT, WIDTH), np.uint8)
    region[400:600, 300:500] = 255
    result = photo.copy()
    result[size[0] // 2, size[1] // 2] = 255  # within the region
    assert tryon.changed_outside(photo, result, region, frame) == 0
    result[size[0] // 10, size[1] // 10] = 91
    assert tryon.changed_outside(photo, result, region, frame) == 1


def test_similarity_is_highest_for_equal_pictures_and_low_for_noise() -> None:
    rng = np.random.default_rng(0)
    striped = PLAIN.copy()
    striped[:, ::6] = 220
    noisy = np.clip(striped + rng.normal(0, 60, striped.shape), 0, 255).astype(np.uint8)
    assert similarity.ssim(striped, striped, EVERYWHERE) == pytest.approx(1)
    assert similarity.gmsd(striped, striped, EVERYWHERE) == 0
    assert similarity.ssim(striped, noisy, EVERYWHERE) < 0.5
    assert similarity.gmsd(striped, noisy, EVERYWHERE) > 0.1


def test_similarity_uses_the_region_only() -> None:
    noisy = PLAIN.copy()
    noisy[:20] = np.random.default_rng(1).integers(0, 255, (20, 48, 3))
    unchanged = EVERYWHERE.copy()
    unchanged[:32] = False
    assert similarity.ssim(PLAIN, noisy, unchanged) == pytest.approx(1)
    assert similarity.gmsd(PLAIN, noisy, unchanged) == 0


def test_gmsd_follows_the_published_formula() -> None:
    # A step of 90 against a flat picture: Prewitt's gradient is 90 in the two columns beside the step, and 0
    # in both pictures elsewhere.
    step = PLAIN.copy()
    step[:, 24:] = 210
    size = np.zeros(24)
    size[11:13] = 90
    similar = 170 / (size**2 + 170)
    inner = np.zeros_like(EVERYWHERE)
    inner[4:-4, 4:-4] = True
    assert similarity.gmsd(step, PLAIN, inner) == pytest.approx(similar[2:-2].std(), abs=1e-3)


def test_a_successful_try_on_is_shown_on_the_canvas() -> None:
    # The frame shows the middle of a photograph three times as wide as the canvas.
    frame = Frame.around(180, 0, 360, 240, 540, 240)
    pixels = np.full((240, 540, 3), 90, np.uint8)
    street = photograph(pixels=pixels, bundles={"pose": {"frame.json": frame.record()}})
    garment = photograph("g", pixels=np.full((256, 192, 3), 120, np.uint8))
    tried = TryOn(street, garment, np.full_like(pixels, 30), {}, None, 0, 0.0, 0.0)
    shown = tryon.panels(tried, measured(2.04, 0.9))
    assert [title for title, _ in shown] == ["p", "g", "0.90, dE 2.0"]
    for (_, picture), grey in zip(shown[::2], (90, 30), strict=True):
        assert picture.shape == (HEIGHT, WIDTH, 3)
        assert (picture[20:-20, 20:-20] == grey).all()


def test_a_refused_try_on_shows_its_error_even_for_an_unreadable_file() -> None:
    broken = photograph(error=ImageLoadError("no image"))
    garment = photograph("g", pixels=np.full((256, 192, 3), 120, np.uint8))
    refused = TryOn(broken, garment, None, {}, broken.error, 0, 0.0, 0.0)
    shown = tryon.panels(refused, tryon.measure(refused, None))  # type: ignore[arg-type]
    assert [title for title, _ in shown] == ["p", "g", "ImageLoadError"]
    assert (shown[0][1] == 255).all()


def test_the_overlay_by_shoulders_maps_shoulder_tips_to_shoulders() -> None:
    body, hand = np.zeros((25, 3), np.float32), np.zeros((21, 3), np.float32)
    body[Body25.R_SHOULDER], body[Body25.L_SHOULDER] = (300, 220, 1), (420, 180, 1)
    points = {name: np.zeros(2, np.float32) for name in landmarks.NAMES}
    points |= {"r_shoulder": np.array([200.0, 300.0]), "l_shoulder": np.array([500.0, 310.0])}
    garment = landmarks.GarmentLandmarks(points, dict.fromkeys(points, 1.0), "short")
    # On the garment's canvas the picture has half its size and is shifted by (30, 40).
    frame = Frame(0.5, 30, 40, 1536, 2048)
    matrix = self_swap.similarity_by_shoulders(garment, frame, Pose(body, hand, hand))
    for name, joint in (("r_shoulder", Body25.R_SHOULDER), ("l_shoulder", Body25.L_SHOULDER)):
        mapped = matrix @ [*((points[name] - (30, 40)) / 0.5), 1]
        assert mapped == pytest.approx(body[joint, :2])
    # The scale is the same in both directions.
    assert np.linalg.norm(matrix[:, 0]) == pytest.approx(np.linalg.norm(matrix[:, 1]))


def test_the_overlay_in_a_box_fills_it() -> None:
    alpha, target = np.zeros((HEIGHT, WIDTH), np.float32), np.zeros((HEIGHT, WIDTH), bool)
    alpha[100:300, 100:200], target[400:900, 300:500] = 1, True
    flat = FlatGarment(np.full((HEIGHT, WIDTH, 3), 200, np.uint8), alpha, target)
    canvas = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    composited = self_swap.overlay(canvas, flat, self_swap.into_box(alpha > 0.5, target))
    rows, columns = np.nonzero(composited[..., 0] > 100)
    assert (columns.min(), rows.min()) == pytest.approx((300, 400), abs=2)
    assert (columns.max(), rows.max()) == pytest.approx((499, 899), abs=2)


def test_the_swaps_table_has_a_mean_and_refusals_have_reasons() -> None:
    def swapped(name: str, value: float) -> Swap:
        scores = {"ssim": value, "gmsd": value / 2}
        return Swap(name, dict.fromkeys((ENGINE, SHOULDERS, BOX), scores), None)

    swaps = [swapped("a", 0.4), Swap("b", {}, "turned"), swapped("c", 0.6)]
    table = self_swap.table(swaps)
    assert list(table) == ["mean of 2", "a", "c"]
    assert table["mean of 2"]["ssim engine"] == 0.5
    assert table["c"]["gmsd overlay in old box"] == 0.3
    assert self_swap.left_out(swaps) == {"b": {"why": "turned"}}
    assert self_swap.table([swaps[1]]) == {}


def test_a_person_refused_by_an_earlier_stage_has_no_swap() -> None:
    swapped, panels = self_swap.swap(photograph(error=PoseError("no")), None, 0)  # type: ignore[arg-type]
    assert (swapped.refused, panels) == ("PoseError", [])


def test_pages_are_written_when_they_are_full_and_groups_stay_together(tmp_path: Path) -> None:
    pages = Pages(tmp_path / "sheets", "swaps", group_size=3, columns=3)
    wide = np.zeros((20, 80, 3), np.uint8)
    for number in range(ROWS + 1):
        pages.add([(str(number), wide)] * (3 if number else 1))
    assert len(pages.written) == 1
    pages.close()
    pages.close()
    assert [path.name for path in pages.written] == ["swaps-1.png", "swaps-2.png"]
    full, last = (np.asarray(Image.open(path)) for path in pages.written)
    assert full.shape[1] == last.shape[1]
    assert full.shape[0] > 3 * last.shape[0]


def test_a_cell_shows_the_whole_picture_on_white() -> None:
    shown = cell(np.zeros((50, 400, 3), np.uint8))
    assert shown.shape == (CELL[1], CELL[0], 3)
    rows, columns = np.nonzero(shown[..., 0] == 0)
    assert np.ptp(columns) + 1 == CELL[0]
    assert np.ptp(rows) + 1 == pytest.approx(CELL[0] / 8, abs=1)


@pytest.fixture(scope="module")
def models() -> Iterator[Models]:
    with Models(settings().models_dir) as loaded:
        yield loaded


@needs_samples
def test_try_ons_reach_their_minimum_scores(models: Models) -> None:
    garments = [
        tryon.load_garment(path.stem, path.read_bytes(), models) for path in tryon.garment_files(VITON)
    ]
    rows = []
    for number, path in enumerate(tryon.person_files(VITON)):
        tried = tryon.try_on(tryon.load_person(path, models), garments[number], models)
        rows.append(tryon.measure(tried, models))
    row = tryon.table(rows)
    assert row["succeeded"] == 1
    assert row["outside"] == row["unseen"] == 0
    assert row["colour"] < 6


@needs_samples
def test_the_engines_self_swap_is_more_similar_to_the_photograph_than_the_baselines(models: Models) -> None:
    person = tryon.load_person(VITON / "image" / "07573_00.jpg", models)
    swapped, panels = self_swap.swap(person, models, 2)
    assert swapped.refused is None
    assert len(panels) == 5
    for baseline in (SHOULDERS, BOX):
        assert swapped.scores[ENGINE]["ssim"] > swapped.scores[baseline]["ssim"]
        assert swapped.scores[ENGINE]["gmsd"] < swapped.scores[baseline]["gmsd"]
