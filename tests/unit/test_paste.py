"""Compositing the result into the photograph changes pixels inside the region only."""

import numpy as np
import pytest

from worker.images.frame import HEIGHT, WIDTH, Frame
from worker.images.paste import paste_back


def _noise(height: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def _region() -> np.ndarray:
    region = np.zeros((HEIGHT, WIDTH), np.uint8)
    region[400:600, 300:500] = 255
    return region


def test_at_scale_one_the_result_is_copied_inside_the_region_only() -> None:
    photo, result, region = _noise(HEIGHT, WIDTH, 0), _noise(HEIGHT, WIDTH, 1), _region()
    pasted = paste_back(photo.copy(), Frame.letterbox(WIDTH, HEIGHT), result, region)
    assert np.array_equal(pasted[region == 255], result[region == 255])
    assert np.array_equal(pasted[region == 0], photo[region == 0])


@pytest.mark.parametrize(("height", "width"), [(512, 512), (830, 550), (2400, 1800), (1500, 3000)])
def test_pixels_outside_the_region_keep_their_value(height: int, width: int) -> None:
    photo, region = _noise(height, width, 2), _region()
    frame = Frame.letterbox(width, height)
    pasted = paste_back(photo.copy(), frame, _noise(HEIGHT, WIDTH, 3), region)
    y, x = np.mgrid[:height, :width]
    places = frame.points_to_canvas(np.stack([x + 0.5, y + 0.5], -1).astype(float))
    # An interpolated alpha may extend one pixel of the coarser grid beyond the region.
    reach = max(1.0, frame.scale) + 1
    outside = (
        (places[..., 0] < 300 - reach)
        | (places[..., 0] > 500 + reach)
        | (places[..., 1] < 400 - reach)
        | (places[..., 1] > 600 + reach)
    )
    assert np.array_equal(pasted[outside], photo[outside])
    assert not np.array_equal(pasted[~outside], photo[~outside])


def test_the_result_is_at_its_position_when_the_frame_is_a_window_of_the_photograph() -> None:
    photo = np.full((1200, 1600, 3), 40, np.uint8)
    result = np.full((HEIGHT, WIDTH, 3), 200, np.uint8)
    frame = Frame.around(500, 300, 800, 700, 1600, 1200)
    pasted = paste_back(photo.copy(), frame, result, _region())
    centre = frame.points_to_photo(np.array([400.0, 500.0])).astype(int)
    assert tuple(pasted[centre[1], centre[0]]) == (200, 200, 200)
    changed = np.argwhere((pasted != photo).any(2))[:, ::-1] + 0.5
    assert frame.points_to_canvas(changed.astype(float)).min(0) == pytest.approx([300, 400], abs=4)
    assert frame.points_to_canvas(changed.astype(float)).max(0) == pytest.approx([500, 600], abs=4)


def test_an_empty_region_changes_nothing() -> None:
    photo = _noise(900, 700, 4)
    nothing = np.zeros((HEIGHT, WIDTH), np.uint8)
    assert np.array_equal(
        paste_back(photo.copy(), Frame.letterbox(700, 900), _noise(HEIGHT, WIDTH, 5), nothing), photo
    )


def test_a_canvas_larger_than_the_photograph_is_downsampled_by_area() -> None:
    result, photo = _noise(HEIGHT, WIDTH, 6), np.zeros((256, 192, 3), np.uint8)
    everything = np.full((HEIGHT, WIDTH), 255, np.uint8)
    pasted = paste_back(photo.copy(), Frame.letterbox(192, 256), result, everything)
    means = result.reshape(256, 4, 192, 4, 3).mean((1, 3))
    assert np.abs(pasted - means).max() <= 1
