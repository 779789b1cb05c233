"""A wrong colour on the body cannot pass for the garment's own, and the right one does wherever it lies."""

import cv2
import numpy as np
import pytest

from worker.images.frame import HEIGHT, WIDTH
from worker.lab.evaluation.colour import ColourDistance, chart, colour_distance

WALL = (120, 120, 120)
MASK = np.zeros((HEIGHT, WIDTH), np.uint8)
MASK[200:900, 150:600] = 255


def striped(width: int = 90) -> np.ndarray:
    garment = np.full((HEIGHT, WIDTH, 3), 246, np.uint8)
    garment[MASK > 0] = (180, 40, 40)
    garment[(MASK > 0) & ((np.arange(HEIGHT) // width % 2 == 0)[:, None])] = (230, 220, 190)
    return garment


def worn(picture: np.ndarray, *, background: tuple[int, int, int] = WALL) -> np.ndarray:
    """Return a picture bent onto a body: smaller, turned, moved; the mask alone decides what is seen."""
    bend = cv2.getRotationMatrix2D((375, 550), 7, 0.6)
    moved = cv2.warpAffine(
        picture, bend, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    alpha = cv2.warpAffine(MASK, bend, (WIDTH, HEIGHT)).astype(float)[..., None] / 255
    return np.round(alpha * moved + (1 - alpha) * np.array(background)).astype(np.uint8)


def distance(shown: np.ndarray, garment: np.ndarray | None = None) -> ColourDistance:
    garment = striped() if garment is None else garment
    found = colour_distance(garment, MASK, shown, worn(chart()), worn(chart(), background=(246, 246, 246)))
    assert found is not None
    return found


def test_the_garments_own_colours_are_right_wherever_they_lie() -> None:
    found = distance(worn(striped()))
    assert found.median < 0.5
    assert found.most < 4


def test_a_fine_pattern_is_not_held_against_the_chart() -> None:
    assert distance(worn(striped(3)), striped(3)).median < 2


def test_folds_cost_little() -> None:
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
def test_a_wrong_colour_cannot_pass(change) -> None:  # type: ignore[no-untyped-def]
    wrong = np.clip(np.round(change(striped().astype(float))), 0, 255).astype(np.uint8)
    assert distance(worn(wrong)).median > 6


def test_colours_that_changed_places_cannot_pass() -> None:
    # The two sets of colours are the same.
    assert distance(worn(striped()[::-1])).median > 6


def test_a_third_of_it_in_a_wrong_colour_shows_in_what_most_stay_below() -> None:
    wrong = striped()
    wrong[630:] = (60, 160, 60)
    found = distance(worn(wrong))
    assert found.median < 6
    assert found.most > 20


def test_a_garment_that_is_not_seen_has_no_distance() -> None:
    nobody = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
    bent = worn(chart(), background=(246, 246, 246))
    assert colour_distance(striped(), MASK, nobody, nobody, bent) is None
