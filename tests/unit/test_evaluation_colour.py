"""The colour distance is small for the garment's own colours, wherever they are, and large for others."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from worker.images.arrays import Canvas, Floats
from worker.images.frame import HEIGHT, WIDTH
from worker.lab.evaluation.colour import ColourDistance, chart, colour_distance

WALL = (120, 120, 120)
MASK = np.zeros((HEIGHT, WIDTH), np.uint8)
MASK[200:900, 150:600] = 255


def striped(width: int = 90) -> Canvas:
    garment = np.full((HEIGHT, WIDTH, 3), 246, np.uint8)
    garment[MASK > 0] = (180, 40, 40)
    garment[(MASK > 0) & ((np.arange(HEIGHT) // width % 2 == 0)[:, None])] = (230, 220, 190)
    return garment


def worn(picture: Canvas, *, background: tuple[int, int, int] = WALL) -> Canvas:
    """Return a picture warped onto a body: smaller, rotated and shifted; the mask is its alpha."""
    matrix = cv2.getRotationMatrix2D((375, 550), 7, 0.6)
    moved = cv2.warpAffine(
        picture, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    alpha = cv2.warpAffine(MASK, matrix, (WIDTH, HEIGHT)).astype(float)[..., None] / 255
    return np.round(alpha * moved + (1 - alpha) * np.array(background)).astype(np.uint8)


def distance(shown: Canvas, garment: Canvas | None = None) -> ColourDistance:
    garment = striped() if garment is None else garment
    warped_chart = worn(chart(), background=(246, 246, 246))
    measured = colour_distance(garment, MASK, shown, worn(chart()), warped_chart)
    assert measured is not None
    return measured


def test_the_garments_own_colours_have_a_small_distance() -> None:
    measured = distance(worn(striped()))
    assert measured.median < 0.5
    assert measured.p90 < 4


def test_a_pattern_finer_than_the_chart_has_a_small_distance() -> None:
    assert distance(worn(striped(3)), striped(3)).median < 2


def test_folds_change_the_distance_little() -> None:
    folds = 1 + 0.1 * np.sin(np.arange(WIDTH) / 12)[None, :, None]
    shown = np.clip(worn(striped()) * folds, 0, 255).astype(np.uint8)
    assert distance(shown).median < 6


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda c: c[..., [1, 2, 0]], id="another hue"),
        pytest.param(lambda c: c * 0.65, id="too dark"),
        pytest.param(lambda c: 255 - (255 - c) * 0.5, id="too pale"),
        pytest.param(lambda c: np.repeat(c.mean(2, keepdims=True), 3, 2), id="no colour"),
    ],
)
def test_a_wrong_colour_has_a_large_distance(change: Callable[[Floats], Floats]) -> None:
    wrong = np.clip(np.round(change(striped().astype(float))), 0, 255).astype(np.uint8)
    assert distance(worn(wrong)).median > 6


def test_swapped_colours_have_a_large_distance() -> None:
    # The two sets of colours are the same.
    assert distance(worn(striped()[::-1])).median > 6


def test_a_wrong_colour_on_a_third_of_the_garment_raises_the_90th_percentile() -> None:
    wrong = striped()
    wrong[630:] = (60, 160, 60)
    measured = distance(worn(wrong))
    assert measured.median < 6
    assert measured.p90 > 20


def test_a_garment_that_is_not_visible_has_no_distance() -> None:
    wall = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
    warped_chart = worn(chart(), background=(246, 246, 246))
    assert colour_distance(striped(), MASK, wall, wall, warped_chart) is None
