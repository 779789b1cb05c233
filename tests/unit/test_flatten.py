"""Flattening worn garments, on drawn people with known results."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from tests.support.garment import garment_reader
from worker.cloth.garment import prepare
from worker.images.arrays import Mask, Points
from worker.images.frame import HEIGHT, WIDTH
from worker.images.maps import Body25 as J
from worker.images.maps import Part, Pose
from worker.lab.evaluation.flatten import (
    BOX,
    FlatGarment,
    UnsuitableGarmentError,
    flatten,
    worn_garment,
)
from worker.lab.evaluation.rigid import as_rigid_as_possible

CLOTH, RED, BLUE = (90, 140, 90), (200, 40, 40), (40, 40, 200)


class Wearer:
    """A drawn person in a long-sleeved garment, arms out; a stripe on the trunk, another on each cuff."""

    def __init__(self) -> None:
        self.canvas = np.full((HEIGHT, WIDTH, 3), 200, np.uint8)
        self.parse = np.zeros((HEIGHT, WIDTH), np.uint8)
        self.joints: dict[J, tuple[int, int]] = {
            J.R_SHOULDER: (300, 300),
            J.L_SHOULDER: (468, 300),
            J.R_HIP: (330, 600),
            J.L_HIP: (438, 600),
            # The right arm is bent upwards, the left one hangs away from the body.
            J.R_ELBOW: (180, 400),
            J.R_WRIST: (130, 250),
            J.L_ELBOW: (560, 440),
            J.L_WRIST: (590, 590),
        }
        for side in "RL":
            arm = np.array(
                [self.joints[J[f"{side}_{name}"]] for name in ("SHOULDER", "ELBOW", "WRIST")], np.int32
            )
            self.draw(lambda area, arm=arm: cv2.polylines(area, [arm], False, 1, 56))
            end = tuple(int(v) for v in arm[2])
            self.draw(lambda area, end=end: cv2.circle(area, end, 34, 1, -1), colour=BLUE)
        trunk = np.array([(290, 270), (478, 270), (470, 640), (298, 640)], np.int32)
        self.draw(lambda area: cv2.fillPoly(area, [trunk], 1))
        self.draw(lambda area: cv2.rectangle(area, (320, 420), (448, 450), 1, -1), colour=RED)
        # A head, so that there is more than wall above the garment.
        self.draw(lambda area: cv2.circle(area, (384, 190), 70, 1, -1), (220, 180, 160), Part.FACE)

    def draw(
        self,
        draw_shape: Callable[[Mask], object],
        colour: tuple[int, int, int] = CLOTH,
        part: Part = Part.UPPER_CLOTHES,
    ) -> None:
        area = np.zeros((HEIGHT, WIDTH), np.uint8)
        draw_shape(area)
        self.canvas[area > 0], self.parse[area > 0] = colour, part

    @property
    def pose(self) -> Pose:
        body, hand = np.zeros((25, 3), np.float32), np.zeros((21, 3), np.float32)
        for joint, place in self.joints.items():
            body[joint] = (*place, 1)
        return Pose(body, hand, hand)

    def flat(self, seed: int = 0) -> FlatGarment:
        return flatten(self.canvas, self.pose, self.parse, np.random.default_rng(seed))


def where(flat: FlatGarment, colour: tuple[int, int, int]) -> Points:
    near = np.abs(flat.image.astype(int) - colour).max(2) < 30
    return np.argwhere(near)[:, ::-1].astype(float)


@pytest.fixture(scope="module")
def flat_garment() -> FlatGarment:
    return Wearer().flat()


def test_the_sleeves_hang_beside_the_trunk_for_any_arm_position(flat_garment: FlatGarment) -> None:
    cuffs, chest = where(flat_garment, BLUE), where(flat_garment, RED)
    middle = chest.mean(0)
    for side in (cuffs[cuffs[:, 0] < middle[0]], cuffs[cuffs[:, 0] > middle[0]]):
        assert len(side) > 300
        below_and_aside = side.mean(0) - middle
        assert below_and_aside[1] > 60
        assert abs(below_and_aside[0]) > 120


def test_the_trunk_is_upright_and_there_is_no_wall_or_face(flat_garment: FlatGarment) -> None:
    stripe = where(flat_garment, RED)
    assert np.ptp(stripe[:, 0]) > 3 * np.ptp(stripe[:, 1])
    cloth = flat_garment.alpha > 0.99
    nearest = np.min([np.abs(flat_garment.image.astype(int) - c).max(2) for c in (CLOTH, RED, BLUE)], axis=0)
    mixed = (nearest > 60) & cloth
    assert mixed.sum() < 0.02 * cloth.sum()


def test_the_picture_has_the_layout_of_a_product_picture(flat_garment: FlatGarment) -> None:
    assert (flat_garment.image[flat_garment.alpha == 0] == 246).all()
    rows, columns = np.nonzero(flat_garment.alpha > 0.5)
    width, height = np.ptp(columns), np.ptp(rows)
    assert width <= 1.05 * BOX[0]
    assert height <= 1.05 * BOX[1]
    assert max(width / BOX[0], height / BOX[1]) > 0.8
    assert prepare(flat_garment.image, garment_reader()).landmarks.sleeve == "long"


def test_nearly_all_pixels_of_the_garment_are_used_and_no_others(flat_garment: FlatGarment) -> None:
    garment = worn_garment(Wearer().parse)
    assert not (flat_garment.used & ~garment).any()
    assert flat_garment.used.sum() > 0.9 * garment.sum()


def test_the_seed_determines_the_picture(flat_garment: FlatGarment) -> None:
    assert np.array_equal(flat_garment.image, Wearer().flat().image)
    assert not np.array_equal(flat_garment.image, Wearer().flat(1).image)


def test_hair_in_front_of_the_garment_is_inpainted() -> None:
    wearer = Wearer()
    wearer.draw(lambda area: cv2.rectangle(area, (345, 270), (365, 380), 1, -1), (20, 20, 20), Part.HAIR)
    flat = wearer.flat()
    assert not len(where(flat, (20, 20, 20)))
    assert flat.used.sum() < Wearer().flat().used.sum()


def test_a_sleeveless_garment_stays_sleeveless() -> None:
    wearer = Wearer()
    trunk = np.zeros_like(wearer.parse)
    trunk[270:640, 295:473] = 1
    bare = (wearer.parse == Part.UPPER_CLOTHES) & (trunk == 0)
    wearer.parse[bare], wearer.canvas[bare] = Part.LEFT_ARM, (220, 180, 160)
    flat = wearer.flat()
    assert not len(where(flat, BLUE))
    columns = np.flatnonzero((flat.alpha > 0.5).any(0))
    assert np.ptp(columns) < 0.75 * np.ptp(np.flatnonzero((Wearer().flat().alpha > 0.5).any(0)))


def _hide(wearer: Wearer) -> None:
    wearer.draw(lambda area: cv2.rectangle(area, (330, 300), (440, 420), 1, -1), (20, 20, 20), Part.HAIR)


def _in_front(wearer: Wearer) -> None:
    wearer.joints[J.L_WRIST] = (380, 480)


def _turn(wearer: Wearer) -> None:
    wearer.joints |= {J.R_SHOULDER: (360, 300), J.L_SHOULDER: (440, 300)}


def _layers(wearer: Wearer) -> None:
    wearer.parse[:, :340][wearer.parse[:, :340] == Part.UPPER_CLOTHES] = Part.COAT


def _cut(wearer: Wearer) -> None:
    wearer.draw(lambda area: cv2.rectangle(area, (300, 600), (460, HEIGHT), 1, -1))


def _half(wearer: Wearer) -> None:
    wearer.parse[:, 400:] = 0


def _bare(wearer: Wearer) -> None:
    wearer.parse[wearer.parse == Part.UPPER_CLOTHES] = Part.DRESS


def _unseen(wearer: Wearer) -> None:
    del wearer.joints[J.L_ELBOW]


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_hide, "hidden"),
        (_in_front, "an arm in front of the trunk"),
        (_turn, "turned"),
        (_layers, "a coat"),
        (_cut, "cut off"),
        (_half, "one side only"),
        (_bare, "no upper garment"),
        (_unseen, "joints not visible"),
    ],
)
def test_an_unsuitable_garment_has_a_reason(spoil: Callable[[Wearer], None], reason: str) -> None:
    wearer = Wearer()
    spoil(wearer)
    with pytest.raises(UnsuitableGarmentError, match=reason):
        wearer.flat()


def test_the_worn_garment_has_no_small_regions() -> None:
    parse = np.zeros((80, 80), np.uint8)
    parse[2:4, 2:4] = Part.UPPER_CLOTHES
    parse[10:50, 10:50] = Part.UPPER_CLOTHES
    parse[60:70, 10:50] = Part.COAT
    assert worn_garment(parse).sum() == 40 * 40 + 10 * 40
    assert not worn_garment(np.zeros((80, 80), np.uint8)).any()


def test_a_rotated_mesh_keeps_its_shape() -> None:
    x, y = np.meshgrid(np.arange(6.0), np.arange(5.0))
    points = np.column_stack([x.ravel(), y.ravel()])
    number = np.arange(30).reshape(5, 6)
    edges = np.concatenate(
        [
            np.column_stack([number[:, :-1].ravel(), number[:, 1:].ravel()]),
            np.column_stack([number[:-1].ravel(), number[1:].ravel()]),
        ]
    )
    rotated = points @ np.array([[0.0, 1.0], [-1.0, 0.0]]) + 3
    anchors = np.array([0, 5, 24])
    moved = as_rigid_as_possible(points, edges, points, anchors, rotated[anchors], 100.0)
    assert moved == pytest.approx(rotated, abs=0.05)
