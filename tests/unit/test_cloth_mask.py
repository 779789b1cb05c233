"""The garment's mask and its layout on the canvas: on synthetic photographs and on real ones."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from config.errors import GarmentMaskError
from tests.support.garment import garment_reader
from tests.support.samples import VITON, needs_samples
from worker.cloth.garment import BACKGROUND, prepare
from worker.cloth.mask import cut_out
from worker.images.arrays import Image, Mask
from worker.images.frame import Frame
from worker.lab.demo import garments

REAL = ["01260_00", "01430_00", "02783_00", "06429_00", "08348_00", "11351_00"]


def _segment(image: Image) -> Mask:
    return cut_out(image).alpha


def _overlap(alpha: Mask, truth: Mask) -> float:
    """Return the intersection over union."""
    one, other = alpha >= 128, truth >= 128
    return float(np.count_nonzero(one & other) / np.count_nonzero(one | other))


def _on(name: str, background: NDArray[np.float64] | tuple[int, int, int]) -> tuple[Image, Mask]:
    """A synthetic garment at half size on another background, and its exact mask."""
    drawing = garments.drawing(name)
    alpha = drawing.mask[..., None] / 255
    picture = alpha * drawing.image + (1 - alpha) * np.asarray(background, float)
    size = (384, 512)
    return (
        _resize(np.clip(picture, 0, 255).astype(np.uint8), size, cv2.INTER_AREA),
        _resize(drawing.mask, size, cv2.INTER_AREA),
    )


def _resize(image: NDArray[np.uint8], size: tuple[int, int], interpolation: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(image, size, interpolation=interpolation), np.uint8)


def _real(name: str) -> Image:
    picture = cv2.imread(str(VITON / "cloth" / f"{name}.jpg"))
    assert picture is not None
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def _jpeg(image: Image, quality: int) -> Image:
    _, data = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


@needs_samples
@pytest.mark.parametrize("name", REAL)
def test_separates_a_real_garment_from_its_background(name: str) -> None:
    truth = cv2.imread(str(VITON / "cloth-mask" / f"{name}.jpg"), cv2.IMREAD_GRAYSCALE)
    assert truth is not None
    assert _overlap(_segment(_real(name)), np.asarray(truth, np.uint8)) > 0.98


@pytest.mark.parametrize("name", garments.NAMES)
def test_separates_a_synthetic_garment_from_white(name: str) -> None:
    picture, truth = _on(name, (255, 255, 255))
    alpha = _segment(picture)
    assert alpha.shape == truth.shape
    assert alpha.dtype == np.uint8
    assert _overlap(alpha, truth) > 0.98


@pytest.mark.parametrize("colour", [(228, 190, 196), (150, 180, 210), (60, 62, 66)])
def test_a_coloured_background(colour: tuple[int, int, int]) -> None:
    picture, truth = _on("word_tee", colour)
    assert _overlap(_segment(_jpeg(picture, 90)), truth) > 0.96


def test_a_background_that_darkens_across_the_picture() -> None:
    slope = np.linspace(0.8, 1, 1024)[:, None, None] * np.array([238, 240, 241.0])
    picture, truth = _on("tank", np.broadcast_to(slope, (1024, 768, 3)))
    assert _overlap(_segment(_jpeg(picture, 80)), truth) > 0.96


def test_a_soft_shadow_is_not_garment() -> None:
    mask = garments.drawing("word_tee").mask.astype(np.float32) / 255
    moved = cv2.warpAffine(mask, np.array([[1, 0, 14], [0, 1, 22]], np.float64), (768, 1024))
    shadow = cv2.GaussianBlur(moved, (0, 0), 18)[..., None]
    picture, truth = _on("word_tee", (1 - 0.35 * shadow) * np.array([248, 247, 245.0]))
    assert _overlap(_segment(picture), truth) > 0.95


def test_a_white_garment_on_white() -> None:
    drawing = garments.drawing("long_sleeve")
    light = drawing.image.astype(float).mean(-1)
    white = 240 * light / np.percentile(light[drawing.mask == 255], 70)
    alpha = drawing.mask / 255
    picture = np.clip(alpha * white + (1 - alpha) * 255, 0, 255).astype(np.uint8)
    found = _segment(_jpeg(np.repeat(picture[..., None], 3, axis=2), 92))
    assert _overlap(found, drawing.mask) > 0.97


def test_an_opening_is_outside_and_a_print_of_the_backgrounds_colour_inside() -> None:
    picture = np.full((512, 384, 3), 250, np.uint8)
    cv2.rectangle(picture, (90, 80), (290, 430), (30, 60, 120), -1)
    cv2.rectangle(picture, (100, 90), (112, 150), (250, 250, 250), -1)  # between a strap and the body
    for column in range(3):
        cv2.putText(picture, "A", (145 + 28 * column, 300), cv2.FONT_HERSHEY_DUPLEX, 1.2, (250, 250, 250), 5)
    alpha = _segment(picture)
    assert alpha[120, 106] < 128
    assert (alpha[250:310, 140:240] >= 128).all()


@pytest.mark.parametrize("colour", [(246, 246, 246), (20, 90, 30)])
def test_a_blank_picture_is_rejected(colour: tuple[int, int, int]) -> None:
    with pytest.raises(GarmentMaskError, match="No garment"):
        _segment(np.full((300, 200, 3), colour, np.uint8))


def test_a_scene_is_rejected() -> None:
    coarse = np.random.default_rng(1).integers(0, 256, (16, 12, 3), dtype=np.uint8)
    with pytest.raises(GarmentMaskError, match="plain"):
        _segment(cv2.resize(coarse, (360, 480), interpolation=cv2.INTER_CUBIC))


def test_a_garment_at_the_edge_of_the_picture_is_rejected() -> None:
    picture = np.full((400, 300, 3), 245, np.uint8)
    picture[60:, :] = (40, 60, 120)
    picture[60:, :20] = picture[60:, -20:] = 245
    picture[:, 20:-20] = (40, 60, 120)
    with pytest.raises(GarmentMaskError, match="cut off along"):
        _segment(picture)


def test_a_garment_is_placed_on_the_canvas_without_stretching() -> None:
    picture, truth = _on("long_sleeve", (150, 180, 210))
    wide = cv2.copyMakeBorder(picture, 0, 0, 300, 100, cv2.BORDER_CONSTANT, value=(150, 180, 210))
    garment = prepare(wide, garment_reader())
    assert garment.image.shape == (1024, 768, 3)
    assert garment.mask.shape == (1024, 768)
    ys, xs = np.nonzero(garment.mask >= 128)
    assert abs(xs.min() - 73) < 4
    assert abs(xs.max() - 694) < 4
    assert abs(ys.min() + ys.max() + 1 - 1024) < 4
    expected = garment.frame.to_canvas(cv2.copyMakeBorder(truth, 0, 0, 300, 100, cv2.BORDER_CONSTANT))
    assert _overlap(garment.mask, expected) > 0.97
    assert (garment.image[garment.mask == 0] == BACKGROUND).all()


def test_the_edge_has_no_halo_of_the_photographs_background() -> None:
    picture, _ = _on("word_tee", (40, 220, 60))  # a green that the garment does not have
    garment = prepare(picture, garment_reader())
    edge = garment.image[(garment.mask > 20) & (garment.mask < 235)].astype(float)
    # The green itself exceeds the mean by 113.
    assert np.percentile(edge[:, 1] - edge.mean(1), 99) < 40
    assert np.median(edge[:, 1] - edge.mean(1)) < 5


def test_a_garment_with_the_canvas_layout_keeps_its_position() -> None:
    garment = prepare(garments.draw("word_tee"), garment_reader())
    assert (garment.frame.scale, garment.frame.left, garment.frame.top) == (1.0, 0.0, 0.0)


@pytest.mark.parametrize("longer", [400, 3000])
def test_the_frame_inverts_the_layout(longer: int) -> None:
    picture, truth = _on("tank", (150, 180, 210))
    wide = cv2.copyMakeBorder(picture, 40, 200, 120, 30, cv2.BORDER_CONSTANT, value=(150, 180, 210))
    extended_truth = cv2.copyMakeBorder(truth, 40, 200, 120, 30, cv2.BORDER_CONSTANT)
    scale = longer / max(extended_truth.shape)
    wide, extended_truth = (
        cv2.resize(one, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        for one in (wide, extended_truth)
    )
    garment = prepare(wide, garment_reader())
    back = garment.frame.to_photo(garment.mask)
    assert back.shape == extended_truth.shape
    assert _overlap(back, extended_truth) > 0.96
    points = np.array([[0.0, 0.0], [333.5, 20.25]])
    np.testing.assert_allclose(garment.frame.points_to_photo(garment.frame.points_to_canvas(points)), points)


@needs_samples
@pytest.mark.parametrize("name", REAL)
def test_a_shifted_real_garment_gets_its_published_position(name: str) -> None:
    published = _real(name)
    in_place = prepare(published, garment_reader())
    assert (in_place.frame.scale, in_place.frame.left, in_place.frame.top) == (1.0, 0.0, 0.0)
    # At two thirds of the size, off the middle of a wider photograph: the result has the same margins.
    small = cv2.resize(published, None, fx=2 / 3, fy=2 / 3, interpolation=cv2.INTER_AREA)
    moved = cv2.copyMakeBorder(small, 0, 90, 200, 20, cv2.BORDER_CONSTANT, value=(246, 246, 246))
    assert _overlap(prepare(np.asarray(moved, np.uint8), garment_reader()).mask, in_place.mask) > 0.96


@pytest.mark.parametrize("scale", [0.5, 1.5])
def test_a_frame_keeps_the_fractions_of_a_float_picture(scale: float) -> None:
    weight = np.full((40, 30), 0.25, np.float32)
    frame = Frame(scale, 0.0, 0.0, 30, 40)
    on_canvas = frame.to_canvas(weight)
    assert on_canvas.dtype == np.float32
    assert on_canvas[5, 5] == pytest.approx(0.25)
    assert frame.to_photo(on_canvas)[20, 15] == pytest.approx(0.25, abs=1e-3)
