"""The hook of a hanger is removed from the garment's mask; the garment's own thin parts stay."""

import cv2
import numpy as np
import pytest

from worker.cloth.hanger import without_hook
from worker.cloth.mask import cut_out
from worker.images.arrays import Flags, Image, Mask
from worker.lab.demo import garments


def _segment(image: Image) -> Mask:
    return cut_out(image).alpha


def _mask(name: str) -> Flags:
    return np.asarray(garments.drawing(name).mask >= 128)


def _top(mask: Flags, x: int) -> int:
    return int(np.argmax(mask[:, x]))


def _draw_hook(picture: Image | Mask, mask: Flags, colour: int | tuple[int, int, int]) -> None:
    """Draw a hook on the middle of the garment's upper edge."""
    middle = mask.shape[1] // 2
    bottom = _top(mask, middle)
    cv2.line(picture, (middle, bottom + 3), (middle, bottom - 40), colour, 6)
    cv2.ellipse(picture, (middle, bottom - 68), (28, 28), 0, 180, 450, colour, 6)


@pytest.mark.parametrize("name", garments.NAMES)
def test_a_garment_without_a_hook_is_unchanged(name: str) -> None:
    assert np.array_equal(without_hook(_mask(name)), _mask(name))


@pytest.mark.parametrize("name", garments.NAMES)
def test_the_hook_is_removed(name: str) -> None:
    mask = _mask(name)
    with_hook = mask.astype(np.uint8)
    _draw_hook(with_hook, mask, 1)
    remainder = without_hook(with_hook > 0) & ~mask
    assert np.count_nonzero((with_hook > 0) & ~mask) > 1000
    assert np.count_nonzero(remainder) < 120  # the stump inside the rounding at the joint


def test_a_strap_around_the_neck_stays() -> None:
    mask = _mask("tank")
    middle = mask.shape[1] // 2
    halter = mask.astype(np.uint8)
    top = int(np.flatnonzero(mask.any(1))[0])
    neckline = _top(mask, middle)
    cv2.line(halter, (middle - 40, neckline + 4), (middle - 10, top - 60), 1, 6)
    cv2.line(halter, (middle + 40, neckline + 4), (middle + 10, top - 60), 1, 6)
    cv2.line(halter, (middle - 10, top - 60), (middle + 10, top - 60), 1, 6)
    assert np.array_equal(without_hook(halter > 0), halter > 0)


def test_a_product_photograph_is_cut_out_without_the_hanger() -> None:
    drawing = garments.drawing("word_tee")
    picture = drawing.image.copy()
    _draw_hook(picture, drawing.mask >= 128, (150, 152, 156))
    garment = _segment(picture) >= 128
    above = garment & ~cv2.dilate(drawing.mask, np.ones((9, 9), np.uint8)).astype(bool)
    assert not above.any()
