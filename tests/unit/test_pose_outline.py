"""The person's outline where clothing and background are alike, on drawn pictures."""

import cv2
import numpy as np

from worker.images.frame import HEIGHT, WIDTH, Frame
from worker.pose.joints import Landmark
from worker.pose.outline import refine

WHOLE = Frame(1, 0, 0, WIDTH, HEIGHT)


def standing() -> np.ndarray:
    landmarks = np.full((33, 4), 0.9, np.float32)
    landmarks[:, :2] = (384, 500)
    for landmark, place in {
        Landmark.R_SHOULDER: (280, 300),
        Landmark.L_SHOULDER: (488, 300),
        Landmark.R_HIP: (310, 640),
        Landmark.L_HIP: (458, 640),
    }.items():
        landmarks[landmark, :2] = place
    return landmarks


def shirt() -> np.ndarray:
    truth = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.fillPoly(truth, [np.array([(240, 260), (528, 260), (560, 720), (208, 720)], np.int32)], 1)
    return truth


def white_on_a_light_wall(truth: np.ndarray) -> np.ndarray:
    """A wall from 216 to 240, a shirt of 248 whose sides are shaded down to the wall's own range."""
    wall = np.linspace(216, 240, WIDTH)[None, :].repeat(HEIGHT, 0)
    depth = cv2.distanceTransform(truth, cv2.DIST_L2, 5)
    worn = np.interp(depth, (0, 30, 60), (208, 240, 248))
    grey = np.where(truth > 0, worn, wall) + np.random.default_rng(3).normal(0, 1, wall.shape)
    return np.clip(grey, 0, 255).astype(np.uint8)[..., None].repeat(3, 2)


def unsure(truth: np.ndarray) -> np.ndarray:
    """What a coarse model thinks: right but for a blur, and drawn in on one side."""
    drawn_in = truth.copy()
    drawn_in[:, :262] = 0
    return cv2.GaussianBlur(((truth + drawn_in) / 2).astype(np.float32), (0, 0), 8)


def test_keeps_the_shaded_side_of_a_white_shirt() -> None:
    truth = shirt()
    person = refine(unsure(truth), white_on_a_light_wall(truth), WHOLE, standing()) > 127
    assert (person & (truth > 0)).sum() / truth.sum() > 0.97
    assert (person & (truth == 0)).sum() / truth.sum() < 0.02


def test_finds_the_edge_of_a_dark_shirt_and_gives_the_same_twice() -> None:
    truth = shirt()
    canvas = np.where(truth[..., None] > 0, (40, 50, 90), (200, 205, 210)).astype(np.uint8)
    coarse = cv2.GaussianBlur(np.roll(truth, 8, 1).astype(np.float32), (0, 0), 8)
    mask = refine(coarse, canvas, WHOLE, standing())
    person = mask > 127
    assert (person & (truth > 0)).sum() / (person | (truth > 0)).sum() > 0.98
    np.testing.assert_array_equal(refine(coarse, canvas, WHOLE, standing()), mask)


def test_finds_the_edge_before_a_busy_background() -> None:
    truth = shirt()
    draw = np.random.default_rng(5)
    busy = cv2.resize(draw.integers(0, 120, (32, 24, 3)).astype(np.uint8), (WIDTH, HEIGHT))
    canvas = np.where(truth[..., None] > 0, (220, 60, 50), busy).astype(np.uint8)
    coarse = cv2.GaussianBlur(np.roll(truth, 8, 1).astype(np.float32), (0, 0), 8)
    person = refine(coarse, canvas, WHOLE, standing()) > 127
    assert (person & (truth > 0)).sum() / (person | (truth > 0)).sum() > 0.98


def test_leaves_a_picture_without_background_or_person_as_it_is() -> None:
    canvas = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    nothing = np.zeros((HEIGHT, WIDTH), np.float32)
    assert not refine(nothing, canvas, WHOLE, standing()).any()
    assert refine(nothing + 1, canvas, WHOLE, standing())[500, 384] == 255


def test_cuts_off_the_wall_beside_a_shirt_of_nearly_its_colour() -> None:
    """A coarse model that is sure of too much: the wall is a little greyer, and that is enough."""
    truth = shirt()
    grey = np.where(truth > 0, 246, 240) + np.random.default_rng(3).normal(0, 0.5, truth.shape)
    canvas = np.clip(grey, 0, 255).astype(np.uint8)[..., None].repeat(3, 2)
    wide = cv2.dilate(truth, np.ones((25, 25), np.uint8)).astype(np.float32)
    person = refine(cv2.GaussianBlur(wide, (0, 0), 8), canvas, WHOLE, standing()) > 127
    missed, added = (truth > 0) & ~person, (truth == 0) & person
    assert missed.sum() < 0.01 * truth.sum()
    assert added.sum() < 0.015 * truth.sum()
