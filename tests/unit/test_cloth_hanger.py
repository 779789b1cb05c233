"""The hook of a hanger is told from the garment; a garment's own thin parts stay."""

import cv2
import numpy as np
import pytest

from worker.cloth.hanger import without_hook
from worker.cloth.mask import segment
from worker.lab.demo import garments


def _mask(name: str) -> np.ndarray:
    return garments.drawing(name).mask >= 128


def _top(mask: np.ndarray, x: int) -> int:
    return int(np.argmax(mask[:, x]))


def _hook(picture: np.ndarray, mask: np.ndarray, colour: int | tuple[int, int, int]) -> None:
    """Draw a hook on to the middle of the garment's upper edge."""
    middle = mask.shape[1] // 2
    foot = _top(mask, middle)
    cv2.line(picture, (middle, foot + 3), (middle, foot - 40), colour, 6)
    cv2.ellipse(picture, (middle, foot - 68), (28, 28), 0, 180, 450, colour, 6)


@pytest.mark.parametrize("name", garments.NAMES)
def test_a_garment_without_a_hook_stays(name: str) -> None:
    assert np.array_equal(without_hook(_mask(name)), _mask(name))


@pytest.mark.parametrize("name", garments.NAMES)
def test_the_hook_goes(name: str) -> None:
    mask = _mask(name)
    hung = mask.astype(np.uint8)
    _hook(hung, mask, 1)
    left = without_hook(hung > 0) & ~mask
    assert np.count_nonzero((hung > 0) & ~mask) > 1000
    assert np.count_nonzero(left) < 120  # the stump inside the rounding at the joint


def test_a_strap_around_the_neck_stays() -> None:
    mask = _mask("tank")
    middle = mask.shape[1] // 2
    halter = mask.astype(np.uint8)
    top = int(np.flatnonzero(mask.any(1))[0])
    low = _top(mask, middle)
    cv2.line(halter, (middle - 40, low + 4), (middle - 10, top - 60), 1, 6)
    cv2.line(halter, (middle + 40, low + 4), (middle + 10, top - 60), 1, 6)
    cv2.line(halter, (middle - 10, top - 60), (middle + 10, top - 60), 1, 6)
    assert np.array_equal(without_hook(halter > 0), halter > 0)


def test_a_product_picture_on_a_hanger_is_cut_out_without_it() -> None:
    drawing = garments.drawing("word_tee")
    picture = drawing.image.copy()
    _hook(picture, drawing.mask >= 128, (150, 152, 156))
    found = segment(picture) >= 128
    above = found & ~cv2.dilate(drawing.mask, np.ones((9, 9), np.uint8)).astype(bool)
    assert not above.any()
