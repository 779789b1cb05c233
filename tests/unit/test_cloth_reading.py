"""What is done with a garment's reading: refusals, rotation, separation from hard grounds, the frame."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.errors import GarmentMaskError, GarmentUnsuitableError
from tests.support.garment import garment_reader
from worker.cloth.garment import Garment, on_outline, prepare
from worker.cloth.garment_output import ATTRIBUTES
from worker.cloth.garment_reader import GarmentReading
from worker.cloth.landmarks import NAMES
from worker.cloth.mask import cut_out
from worker.cloth.separate import read_and_separate
from worker.cloth.suitability import outline_width, require_suitable
from worker.cloth.trim import frame_thickness, without_frame
from worker.cloth.upright import upright
from worker.images.arrays import Canvas, Image
from worker.images.regions import iou
from worker.lab.demo import garments

NEAR = 0.08  # largest error of a landmark, share of the garment's diagonal


@pytest.fixture(scope="module")
def photo() -> Canvas:
    return garments.draw("word_tee")


@pytest.fixture(scope="module")
def reading(photo: Canvas) -> GarmentReading:
    return garment_reader().read(photo)


@pytest.fixture(scope="module")
def tee(photo: Canvas) -> Garment:
    return prepare(photo, garment_reader())


def _with(reading: GarmentReading, attribute: str, value: str) -> GarmentReading:
    """The reading with an attribute that is certain."""
    probabilities = np.zeros(len(ATTRIBUTES[attribute]), np.float32)
    probabilities[ATTRIBUTES[attribute].index(value)] = 1.0
    return replace(reading, attributes={**reading.attributes, attribute: probabilities})


@pytest.mark.parametrize(
    ("attribute", "value", "words"),
    [
        ("kind", "trousers", "trousers"),
        ("kind", "skirt", "a skirt"),
        ("kind", "shoes", "shoes"),
        ("kind", "other", "no garment for the upper body"),
        ("support", "worn", "worn by a person"),
        ("support", "folded", "folded"),
        ("view", "back", "from behind"),
        ("front", "open", "open at the front"),
    ],
)
def test_what_cannot_be_tried_on_is_refused_by_name(
    photo: Canvas, reading: GarmentReading, attribute: str, value: str, words: str
) -> None:
    require_suitable(photo, reading)
    with pytest.raises(GarmentUnsuitableError, match=words):
        require_suitable(photo, _with(reading, attribute, value))


@pytest.mark.parametrize(
    ("kind", "category", "fitting"),
    [
        ("trousers", "upper_body", "lower_body"),
        ("skirt", "upper_body", "lower_body"),
        ("skirt", "dresses", "lower_body"),
        ("top", "lower_body", "upper_body"),
        ("outerwear", "dresses", "upper_body"),
        ("dress", "lower_body", "dresses"),
    ],
)
def test_a_garment_of_another_category_is_refused_with_the_category_that_fits(
    photo: Canvas, reading: GarmentReading, kind: str, category: str, fitting: str
) -> None:
    shown = _with(reading, "kind", kind)
    require_suitable(photo, shown, fitting)
    with pytest.raises(GarmentUnsuitableError, match=f"category is {category}: submit .*category={fitting}"):
        require_suitable(photo, shown, category)


@pytest.mark.parametrize("category", ["upper_body", "lower_body", "dresses"])
def test_for_shoes_no_category_is_named_because_none_fits(
    photo: Canvas, reading: GarmentReading, category: str
) -> None:
    with pytest.raises(
        GarmentUnsuitableError, match=f"shows shoes.* category is {category}: use a photograph"
    ):
        require_suitable(photo, _with(reading, "kind", "shoes"), category)


def test_a_dress_fits_two_categories_and_the_front_of_trousers_is_not_judged(
    photo: Canvas, reading: GarmentReading
) -> None:
    for category in ("upper_body", "dresses"):
        require_suitable(photo, _with(reading, "kind", "dress"), category)
    trousers = _with(_with(reading, "kind", "trousers"), "front", "open")
    require_suitable(photo, trousers, "lower_body")


def test_a_garment_with_a_landmark_outside_the_photograph_is_refused_with_the_missing_part(
    photo: Canvas, reading: GarmentReading
) -> None:
    points = reading.points.copy()
    points[NAMES.index("r_cuff_outer"), 0] = -80
    with pytest.raises(GarmentUnsuitableError, match="cut off: a sleeve outside"):
        require_suitable(photo, replace(reading, points=points))


@pytest.mark.parametrize(("side", "part"), [("bottom", slice(0, 700)), ("top", slice(300, None))])
def test_a_garment_that_the_edge_cuts_is_refused_with_the_side(photo: Canvas, side: str, part: slice) -> None:
    with pytest.raises(GarmentUnsuitableError, match=f"cut off at the {side}"):
        prepare(np.ascontiguousarray(photo[part]), garment_reader())


def test_two_garments_are_refused(photo: Canvas, reading: GarmentReading) -> None:
    mask = np.concatenate([reading.mask, reading.mask], axis=1)
    both = replace(reading, mask=mask, mask_to_photo=reading.mask_to_photo @ np.diag([0.5, 1, 1]))
    with pytest.raises(GarmentUnsuitableError, match="several garments"):
        require_suitable(photo, both)


@pytest.mark.parametrize("level", [246, 20])
def test_a_blank_picture_shows_no_garment(level: int) -> None:
    with pytest.raises(GarmentMaskError, match="No garment was found"):
        prepare(np.full((400, 300, 3), level, np.uint8), garment_reader())


def test_a_tiny_garment_is_refused(photo: Canvas) -> None:
    small = cv2.resize(photo, (96, 128), interpolation=cv2.INTER_AREA)
    with pytest.raises(GarmentUnsuitableError, match="pixels large"):
        prepare(np.asarray(small, np.uint8), garment_reader())


def test_a_blurred_garment_is_refused(photo: Canvas) -> None:
    blurred = np.asarray(cv2.GaussianBlur(photo, (0, 0), 14), np.uint8)
    with pytest.raises(GarmentUnsuitableError, match="blurred"):
        prepare(blurred, garment_reader())


def test_the_width_of_the_outline_is_that_of_its_blur(photo: Canvas, reading: GarmentReading) -> None:
    mask = reading.mask_of_photo(*photo.shape[:2]) >= 0.5
    sharp = outline_width(photo, mask)
    blurred = outline_width(np.asarray(cv2.GaussianBlur(photo, (0, 0), 6), np.uint8), mask)
    assert sharp is not None
    assert blurred is not None
    assert sharp < 6 < blurred


@pytest.mark.parametrize("degrees", [90, 180, 270, 35])
def test_a_rotated_garment_is_laid_upright(photo: Canvas, tee: Garment, degrees: int) -> None:
    garment = prepare(_rotated(photo, degrees), garment_reader())
    diagonal = float(np.linalg.norm(tee.landmarks.points["l_hem"] - tee.landmarks.points["r_shoulder"]))
    for name in NAMES:
        error = np.linalg.norm(garment.landmarks.points[name] - tee.landmarks.points[name])
        assert error < NEAR * diagonal, name
    assert iou(garment.mask >= 128, tee.mask >= 128) > 0.85


def _rotated(photo: Image, degrees: int) -> Image:
    matrix = cv2.getRotationMatrix2D((384, 512), degrees, 0.75)
    matrix[:, 2] += (640 - 384, 640 - 512)
    return np.asarray(cv2.warpAffine(photo, matrix, (1280, 1280), borderValue=(246, 246, 246)), np.uint8)


def test_rotation_keeps_landmarks_on_the_garment(photo: Canvas, reading: GarmentReading) -> None:
    cutout = cut_out(photo)
    leaning = replace(reading, rotation=90.0)
    turned, moved = upright(cutout, leaning)
    assert turned.alpha.shape == (768, 1024)
    assert moved.rotation == pytest.approx(0)
    hem = moved.points[NAMES.index("hem_centre")]
    # What was at the bottom of the picture is at its right.
    assert hem == pytest.approx([reading.points[NAMES.index("hem_centre")][1],
                                 768 - reading.points[NAMES.index("hem_centre")][0]], abs=1e-3)  # fmt: skip


def test_a_garment_on_a_patterned_sheet_is_separated(photo: Canvas) -> None:
    truth = garments.drawing("word_tee").mask >= 128
    y, x = np.mgrid[:1024, :768]
    checks = np.where(((x // 64 + y // 64) % 2)[..., None] > 0, (70, 110, 90), (150, 160, 120)).astype(
        np.uint8
    )
    picture = np.where(truth[..., None], photo, checks)
    with pytest.raises(GarmentMaskError):
        cut_out(picture)
    alpha = prepare(picture, garment_reader()).mask >= 128
    assert iou(alpha, prepare(photo, garment_reader()).mask >= 128) > 0.93


def test_an_inset_beside_the_garment_is_not_worn(photo: Canvas, tee: Garment) -> None:
    picture = photo.copy()
    picture[20:150, 20:130] = (60, 90, 160)
    assert iou(prepare(picture, garment_reader()).mask >= 128, tee.mask >= 128) > 0.97


def test_a_white_garment_on_light_grey_is_read_by_its_outline(photo: Canvas) -> None:
    drawing = garments.drawing("word_tee")
    truth = drawing.mask >= 128
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    # The fabric of the drawing is lightened to nearly the ground's level.
    pale = np.clip(238 + 0.06 * (grey - grey[truth].mean()), 0, 255)
    alpha = drawing.mask[..., None] / 255
    picture = np.round(alpha * pale + (1 - alpha) * 247).astype(np.uint8).repeat(3, axis=2)
    separated = read_and_separate(picture, garment_reader())
    assert separated.cutout is not None
    assert iou(separated.cutout.alpha >= 128, truth) > 0.95


@pytest.mark.parametrize("bars", [(60, 60, 60, 60), (80, 80, 0, 0), (0, 0, 50, 30)])
def test_a_frame_is_removed_and_a_plain_ground_is_not(photo: Canvas, bars: tuple[int, int, int, int]) -> None:
    assert frame_thickness(photo) == (0, 0, 0, 0)
    framed = np.asarray(cv2.copyMakeBorder(photo, *bars, cv2.BORDER_CONSTANT, value=(0, 0, 0)), np.uint8)
    inside, (left, top) = without_frame(framed)
    assert abs(left - bars[2]) <= 2
    assert abs(top - bars[0]) <= 2
    assert abs(inside.shape[0] - photo.shape[0]) <= 4
    assert abs(inside.shape[1] - photo.shape[1]) <= 4


def test_landmarks_close_to_the_outline_are_moved_to_it() -> None:
    solid = np.zeros((200, 200), np.bool_)
    solid[50:150, 50:150] = True
    points = np.array([[49.2, 100.0], [100.0, 100.0]], np.float32)
    moved = on_outline(points, solid)
    assert moved[0] == pytest.approx([50.5, 100], abs=1)
    assert moved[1] == pytest.approx([100, 100])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    angle=st.floats(-180, 180),
    zoom=st.floats(0.15, 2.5),
    shift=st.tuples(st.floats(-0.6, 0.6), st.floats(-0.6, 0.6)),
    shear=st.floats(-0.6, 0.6),
    ground=st.tuples(*[st.integers(0, 255)] * 3),
    gain=st.floats(0.0, 2.0),
    size=st.tuples(st.integers(64, 400), st.integers(64, 400)),
    name=st.sampled_from(garments.NAMES),
)
def test_any_distorted_garment_is_read_or_refused_by_name(
    angle: float,
    zoom: float,
    shift: tuple[float, float],
    shear: float,
    ground: tuple[int, int, int],
    gain: float,
    size: tuple[int, int],
    name: str,
) -> None:
    height, width = size
    turn = np.deg2rad(angle)
    spin = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = zoom * min(size) / 1024 * spin @ np.array([[1, shear], [0, 1]])
    middle = np.array([width * (0.5 + shift[0]), height * (0.5 + shift[1])])
    move = np.column_stack([matrix, middle - matrix @ np.array([384, 512])])
    distorted = cv2.warpAffine(garments.draw(name), move, (width, height), borderValue=ground)
    picture = np.clip(distorted * gain, 0, 255).astype(np.uint8)
    refusal, garment = "", None
    try:
        garment = prepare(picture, garment_reader())
    except (GarmentMaskError, GarmentUnsuitableError) as error:
        refusal = error.message
    assert "pose" not in refusal
    assert bool(refusal) == (garment is None)
    if garment is not None:
        assert garment.mask.max() >= 128
        assert np.isfinite(np.array(list(garment.landmarks.points.values()))).all()
