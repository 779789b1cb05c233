"""Connected regions of a mask."""

import numpy as np

from worker.images.regions import largest_region, regions_that_touch, without_small_regions

AREA = np.array(
    [
        [1, 1, 0, 0, 0],
        [1, 0, 0, 1, 1],
        [0, 1, 0, 1, 1],
        [0, 0, 0, 1, 0],
        [1, 0, 0, 0, 0],
    ],
    bool,
)


def test_the_largest_region_has_the_most_pixels_and_is_empty_for_an_empty_area():
    assert largest_region(AREA).sum() == 5
    assert largest_region(AREA)[1, 3]
    assert not largest_region(np.zeros((4, 4), bool)).any()


def test_corners_connect_only_with_diagonal():
    assert without_small_regions(AREA, 4).sum() == 9
    assert without_small_regions(AREA, 4, diagonal=False).sum() == 5


def test_regions_with_fewer_than_min_pixels_are_removed():
    assert without_small_regions(AREA, 5).sum() == 5
    assert not without_small_regions(AREA, 6).any()


def test_only_regions_that_share_a_pixel_with_a_seed_are_returned():
    seeds = np.zeros(AREA.shape, bool)
    seeds[0, 0] = seeds[0, 4] = True
    touched = regions_that_touch(AREA, seeds)
    assert touched.sum() == 4
    assert touched[2, 1]
    assert not touched[4, 0]
