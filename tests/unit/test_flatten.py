"""Worn garments laid flat: drawn people whose right answer is known."""

import cv2
import numpy as np
import pytest

from worker.cloth.garment import prepare
from worker.images.frame import HEIGHT, WIDTH
from worker.images.maps import Body25 as J
from worker.images.maps import Part, Pose
from worker.lab.evaluation.flatten import BOX, Flat, UnsuitedError, flatten, worn
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
            # One arm bent upwards, the other hanging aside.
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
        # A head, so that not everything above is wall.
        self.draw(lambda area: cv2.circle(area, (384, 190), 70, 1, -1), (220, 180, 160), Part.FACE)

    def draw(self, shape, colour=CLOTH, part=Part.UPPER_CLOTHES) -> None:  # type: ignore[no-untyped-def]
        area = np.zeros((HEIGHT, WIDTH), np.uint8)
        shape(area)
        self.canvas[area > 0], self.parse[area > 0] = colour, part

    @property
    def pose(self) -> Pose:
        body, hand = np.zeros((25, 3), np.float32), np.zeros((21, 3), np.float32)
        for joint, place in self.joints.items():
            body[joint] = (*place, 1)
        return Pose(body, hand, hand)

    def flat(self, seed: int = 0) -> Flat:
        return flatten(self.canvas, self.pose, self.parse, np.random.default_rng(seed))


def where(flat: Flat, colour: tuple[int, int, int]) -> np.ndarray:
    near = np.abs(flat.image.astype(int) - colour).max(2) < 30
    return np.argwhere(near)[:, ::-1].astype(float)


@pytest.fixture(scope="module")
def laid() -> Flat:
    return Wearer().flat()


def test_the_sleeves_hang_beside_the_trunk_however_the_arms_were(laid: Flat) -> None:
    cuffs, chest = where(laid, BLUE), where(laid, RED)
    middle = chest.mean(0)
    for side in (cuffs[cuffs[:, 0] < middle[0]], cuffs[cuffs[:, 0] > middle[0]]):
        assert len(side) > 300
        below_and_aside = side.mean(0) - middle
        assert below_and_aside[1] > 60
        assert abs(below_and_aside[0]) > 120


def test_the_trunk_is_upright_and_no_wall_or_face_comes_along(laid: Flat) -> None:
    stripe = where(laid, RED)
    assert np.ptp(stripe[:, 0]) > 3 * np.ptp(stripe[:, 1])
    cloth = laid.alpha > 0.99
    nearest = np.min([np.abs(laid.image.astype(int) - c).max(2) for c in (CLOTH, RED, BLUE)], axis=0)
    mixed = (nearest > 60) & cloth
    assert mixed.sum() < 0.02 * cloth.sum()


def test_the_picture_is_laid_out_as_a_products(laid: Flat) -> None:
    assert (laid.image[laid.alpha == 0] == 246).all()
    rows, columns = np.nonzero(laid.alpha > 0.5)
    width, height = np.ptp(columns), np.ptp(rows)
    assert width <= 1.05 * BOX[0]
    assert height <= 1.05 * BOX[1]
    assert max(width / BOX[0], height / BOX[1]) > 0.8
    assert prepare(laid.image).landmarks.sleeve == "long"


def test_nearly_all_of_the_garment_is_used_and_nothing_else(laid: Flat) -> None:
    own = worn(Wearer().parse)
    assert not (laid.used & ~own).any()
    assert laid.used.sum() > 0.9 * own.sum()


def test_the_seed_decides(laid: Flat) -> None:
    assert np.array_equal(laid.image, Wearer().flat().image)
    assert not np.array_equal(laid.image, Wearer().flat(1).image)


def test_a_lock_before_the_garment_is_filled_with_cloth() -> None:
    wearer = Wearer()
    wearer.draw(lambda area: cv2.rectangle(area, (345, 270), (365, 380), 1, -1), (20, 20, 20), Part.HAIR)
    flat = wearer.flat()
    assert not len(where(flat, (20, 20, 20)))
    assert flat.used.sum() < Wearer().flat().used.sum()


def test_a_garment_without_sleeves_has_none() -> None:
    wearer = Wearer()
    trunk = np.zeros_like(wearer.parse)
    trunk[270:640, 295:473] = 1
    bare = (wearer.parse == Part.UPPER_CLOTHES) & (trunk == 0)
    wearer.parse[bare], wearer.canvas[bare] = Part.LEFT_ARM, (220, 180, 160)
    flat = wearer.flat()
    assert not len(where(flat, BLUE))
    assert prepare(flat.image).landmarks.sleeve in ("sleeveless", "straps")


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
    ("spoil", "why"),
    [
        (_hide, "hidden"),
        (_in_front, "an arm before the trunk"),
        (_turn, "turned"),
        (_layers, "a coat"),
        (_cut, "cut off"),
        (_half, "one side only"),
        (_bare, "no upper garment"),
        (_unseen, "joints not seen"),
    ],
)
def test_what_cannot_be_laid_flat_is_named(spoil, why: str) -> None:  # type: ignore[no-untyped-def]
    wearer = Wearer()
    spoil(wearer)
    with pytest.raises(UnsuitedError, match=why):
        wearer.flat()


def test_what_is_worn_has_no_specks() -> None:
    parse = np.zeros((80, 80), np.uint8)
    parse[2:4, 2:4] = Part.UPPER_CLOTHES
    parse[10:50, 10:50] = Part.UPPER_CLOTHES
    parse[60:70, 10:50] = Part.COAT
    assert worn(parse).sum() == 40 * 40 + 10 * 40
    assert not worn(np.zeros((80, 80), np.uint8)).any()


def test_a_mesh_that_is_turned_as_a_whole_keeps_its_shape() -> None:
    x, y = np.meshgrid(np.arange(6.0), np.arange(5.0))
    points = np.column_stack([x.ravel(), y.ravel()])
    number = np.arange(30).reshape(5, 6)
    edges = np.concatenate(
        [
            np.column_stack([number[:, :-1].ravel(), number[:, 1:].ravel()]),
            np.column_stack([number[:-1].ravel(), number[1:].ravel()]),
        ]
    )
    turned = points @ np.array([[0.0, 1.0], [-1.0, 0.0]]) + 3
    held = np.array([0, 5, 24])
    found = as_rigid_as_possible(points, edges, points, held, turned[held], 100.0)
    assert found == pytest.approx(turned, abs=0.05)
