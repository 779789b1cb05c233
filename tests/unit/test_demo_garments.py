"""The demonstration's drawn garments: pictures as product photographs, with exact masks and landmarks."""

import numpy as np
import pytest

from worker.lab.demo import garments


@pytest.mark.parametrize("name", garments.NAMES)
def test_a_garment_is_drawn_on_the_light_grey_of_product_pictures(name: str) -> None:
    drawing = garments.drawing(name)
    assert drawing.image.shape == (1024, 768, 3)
    assert drawing.image.dtype == drawing.mask.dtype == np.uint8
    outside = drawing.image[drawing.mask == 0].astype(int)
    assert np.abs(outside - garments.BACKGROUND).max() <= 1
    assert 0.15 < np.mean(drawing.mask >= 128) < 0.6
    inside = drawing.image[drawing.mask == 255].astype(float)
    assert np.linalg.norm(inside.mean(0) - garments.BACKGROUND) > 40
    rows = np.nonzero((drawing.mask >= 128).any(1))[0]
    assert abs(rows[0] + rows[-1] + 1 - 1024) <= 3


@pytest.mark.parametrize("name", garments.NAMES)
def test_the_outline_is_symmetric_and_contains_the_landmarks(name: str) -> None:
    drawing = garments.drawing(name)
    garment = drawing.mask >= 128
    assert np.mean(garment ^ garment[:, ::-1]) < 0.002
    outline = garment ^ np.roll(garment, 1, 0) | garment ^ np.roll(garment, 1, 1)
    ys, xs = np.nonzero(outline)
    for landmark, (x, y) in drawing.landmarks.items():
        assert np.hypot(xs - x, ys - y).min() < 7, landmark


def test_drawing_twice_returns_the_same_picture() -> None:
    first = garments.draw(garments.NAMES[0])
    garments.drawing.cache_clear()
    assert (garments.draw(garments.NAMES[0]) == first).all()


def test_changing_a_returned_picture_does_not_change_the_next_one() -> None:
    garments.draw(garments.NAMES[0])[:] = 0
    assert garments.draw(garments.NAMES[0]).max() > 0


def test_an_unknown_name_raises_key_error() -> None:
    with pytest.raises(KeyError):
        garments.draw("kimono")
