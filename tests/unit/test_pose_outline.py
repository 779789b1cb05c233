"""The person's outline where clothing and background are similar, on synthetic pictures."""

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.images.arrays import Canvas, Floats, Mask
from worker.images.frame import HEIGHT, WIDTH, Frame
from worker.pose.joints import Landmark
from worker.pose.outline import refine

WHOLE = Frame(1, 0, 0, WIDTH, HEIGHT)


def standing() -> Floats:
    """MediaPipe landmarks of a standing person."""
    landmarks = np.full((33, 4), 0.9, np.float32)
    landmarks[:, :2] = (384, 500)
    for landmark, position in {
        Landmark.R_SHOULDER: (280, 300),
        Landmark.L_SHOULDER: (488, 300),
        Landmark.R_HIP: (310, 640),
        Landmark.L_HIP: (458, 640),
    }.items():
        landmarks[landmark, :2] = position
    return landmarks


def shirt() -> Mask:
    """The exact mask, 0 or 1, of the shirt."""
    truth = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.fillPoly(truth, [np.array([(240, 260), (528, 260), (560, 720), (208, 720)], np.int32)], 1)
    return truth


def white_on_a_light_wall(truth: Mask) -> Canvas:
    """A wall of grey 216 to 240, and a shirt of 248 with sides shaded down to the range of the wall."""
    wall = np.linspace(216, 240, WIDTH)[None, :].repeat(HEIGHT, 0)
    depth = cv2.distanceTransform(truth, cv2.DIST_L2, 5)
    shaded = np.interp(depth, (0, 30, 60), (208, 240, 248))
    grey = np.where(truth > 0, shaded, wall) + np.random.default_rng(3).normal(0, 1, wall.shape)
    return np.clip(grey, 0, 255).astype(np.uint8)[..., None].repeat(3, 2)


def uncertain(truth: Mask) -> NDArray[np.float32]:
    """A coarse mask: the exact mask, blurred, and too narrow on one side."""
    narrowed = truth.copy()
    narrowed[:, :262] = 0
    return blurred((truth + narrowed) / 2)


def blurred(mask: Mask | Floats) -> NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 8), np.float32)


def test_keeps_the_shaded_side_of_a_white_shirt() -> None:
    truth = shirt()
    person = refine(uncertain(truth), white_on_a_light_wall(truth), WHOLE, standing()) > 127
    assert (person & (truth > 0)).sum() / truth.sum() > 0.97
    assert (person & (truth == 0)).sum() / truth.sum() < 0.02


def test_finds_the_edge_of_a_dark_shirt_and_is_deterministic() -> None:
    truth = shirt()
    canvas = np.where(truth[..., None] > 0, (40, 50, 90), (200, 205, 210)).astype(np.uint8)
    coarse = blurred(np.roll(truth, 8, 1))
    mask = refine(coarse, canvas, WHOLE, standing())
    person = mask > 127
    assert (person & (truth > 0)).sum() / (person | (truth > 0)).sum() > 0.98
    np.testing.assert_array_equal(refine(coarse, canvas, WHOLE, standing()), mask)


def test_finds_the_edge_in_front_of_a_busy_background() -> None:
    truth = shirt()
    generator = np.random.default_rng(5)
    busy = cv2.resize(generator.integers(0, 120, (32, 24, 3)).astype(np.uint8), (WIDTH, HEIGHT))
    canvas = np.where(truth[..., None] > 0, (220, 60, 50), busy).astype(np.uint8)
    coarse = blurred(np.roll(truth, 8, 1))
    person = refine(coarse, canvas, WHOLE, standing()) > 127
    assert (person & (truth > 0)).sum() / (person | (truth > 0)).sum() > 0.98


def test_keeps_a_mask_without_background_or_person() -> None:
    canvas = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    nothing = np.zeros((HEIGHT, WIDTH), np.float32)
    assert not refine(nothing, canvas, WHOLE, standing()).any()
    assert refine(nothing + 1, canvas, WHOLE, standing())[500, 384] == 255


def test_removes_the_wall_next_to_a_shirt_of_nearly_its_colour() -> None:
    """The coarse mask is certain and too wide; the wall is a little darker than the shirt."""
    truth = shirt()
    grey = np.where(truth > 0, 246, 240) + np.random.default_rng(3).normal(0, 0.5, truth.shape)
    canvas = np.clip(grey, 0, 255).astype(np.uint8)[..., None].repeat(3, 2)
    wide = np.asarray(cv2.dilate(truth, np.ones((25, 25), np.uint8)), np.uint8)
    person = refine(blurred(wide), canvas, WHOLE, standing()) > 127
    missed, added = (truth > 0) & ~person, (truth == 0) & person
    assert missed.sum() < 0.01 * truth.sum()
    assert added.sum() < 0.015 * truth.sum()
