"""Hands in front of the clothes are labelled as arms, on synthetic labels and a synthetic hand."""

import numpy as np
import pytest

from worker.images.fingers import hand_area
from worker.images.frame import HEIGHT, WIDTH
from worker.images.maps import Part, Pose
from worker.parsing.hands import with_hands

SKIN, CLOTH = (214, 170, 148), (40, 60, 150)


def hand(x: float, y: float) -> np.ndarray:
    """Return the joints (21, 3) of a hand 100 pixels long that points up, with its wrist at (x, y)."""
    joints = np.ones((21, 3), np.float32)
    joints[0, :2] = (x, y)
    for finger in range(5):
        for joint in range(4):
            joints[1 + 4 * finger + joint, :2] = (x + 12 * (finger - 2), y - 40 - 20 * joint)
    return joints


def pose(left_hand: np.ndarray) -> Pose:
    return Pose(np.zeros((25, 3), np.float32), left_hand=left_hand, right_hand=np.zeros((21, 3), np.float32))


def scene(colour: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray, Pose]:
    """A face, and below it a hand in front of a shirt; the hand is labelled as the shirt."""
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[100:200, 340:420], labels[300:800, 250:520] = Part.FACE, Part.UPPER_CLOTHES
    joints = hand(384, 600)
    image = np.full((HEIGHT, WIDTH, 3), 230, np.uint8)
    image[100:200, 340:420], image[300:800, 250:520] = SKIN, CLOTH
    image[hand_area(joints, labels.shape)] = colour
    return labels, image, pose(joints)


def test_a_hand_with_the_faces_colour_is_labelled_as_its_arm() -> None:
    labels, image, person = scene(SKIN)
    image[530:540, 380:390] = (200, 20, 40)  # a painted nail
    relabelled = with_hands(labels, image, person)
    area = hand_area(person.left_hand, labels.shape)
    assert (relabelled[area] == Part.LEFT_ARM).all()
    assert np.array_equal(relabelled[~area], labels[~area])


@pytest.mark.parametrize("colour", [CLOTH, (20, 20, 20)], ids=["inside a sleeve", "gloved"])
def test_a_hand_with_another_colour_keeps_its_labels(colour: tuple[int, int, int]) -> None:
    labels, image, person = scene(colour)
    assert np.array_equal(with_hands(labels, image, person), labels)


def test_trousers_over_a_hand_keep_their_label() -> None:
    labels, image, person = scene(SKIN)
    labels[labels == Part.UPPER_CLOTHES] = Part.PANTS
    assert np.array_equal(with_hands(labels, image, person), labels)


def test_the_area_of_a_hand_with_a_missing_joint_is_empty() -> None:
    joints = hand(384, 600)
    assert hand_area(joints, (HEIGHT, WIDTH)).sum() > 2000
    joints[7] = 0
    assert not hand_area(joints, (HEIGHT, WIDTH)).any()


def test_without_a_face_the_labels_are_unchanged() -> None:
    labels, image, person = scene(SKIN)
    labels[labels == Part.FACE] = Part.BACKGROUND
    assert np.array_equal(with_hands(labels, image, person), labels)
