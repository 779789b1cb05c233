"""The landmarks of garments: on synthetic garments with known landmarks, and on real masks."""

import cv2
import numpy as np
import pytest

from config.errors import GarmentMaskError
from tests.support.samples import VITON, needs_samples
from worker.cloth.landmarks import NAMES, GarmentLandmarks, find_landmarks
from worker.images.arrays import Mask
from worker.lab.demo import garments

REAL = {
    "01260_00": "short",
    "01430_00": "short",
    "02783_00": "long",
    "06429_00": "sleeveless",
    "08348_00": "straps",
    "11351_00": "short",
}


def _real(name: str) -> Mask:
    mask = cv2.imread(str(VITON / "cloth-mask" / f"{name}.jpg"), cv2.IMREAD_GRAYSCALE)
    assert mask is not None
    return np.asarray(mask, np.uint8)


def _mirror(name: str) -> str:
    """Return the landmark of the other side."""
    return {"r_": "l_", "l_": "r_"}.get(name[:2], name[:2]) + name[2:]


def _assert_plausible(result: GarmentLandmarks) -> None:
    points = result.points
    assert set(points) == set(result.confidence) == set(NAMES)
    assert all(point.dtype == np.float32 and point.shape == (2,) for point in points.values())
    assert all(0 <= confidence <= 1 for confidence in result.confidence.values())
    for part in ("neck", "shoulder", "armpit", "cuff_outer", "hem"):
        assert points[f"r_{part}"][0] < points[f"l_{part}"][0], "the wearer's right is on the image's left"
    for side in "rl":
        neck, shoulder = points[f"{side}_neck"], points[f"{side}_shoulder"]
        armpit, hem = points[f"{side}_armpit"], points[f"{side}_hem"]
        assert neck[1] <= shoulder[1] + 15
        assert shoulder[1] < armpit[1] < hem[1]


@pytest.mark.parametrize(
    ("name", "sleeve"),
    [("striped_tee", "short"), ("word_tee", "short"), ("long_sleeve", "long"), ("tank", "sleeveless")],
)
def test_locates_the_landmarks_of_a_synthetic_garment(name: str, sleeve: str) -> None:
    drawing = garments.drawing(name)
    result = find_landmarks(drawing.mask)
    _assert_plausible(result)
    assert result.sleeve == sleeve
    for landmark, truth in drawing.landmarks.items():
        # The outline does not show the seam of a sleeve: the shoulder is a rule of thumb, of low confidence.
        tolerance = 20 if landmark == "r_shoulder" and sleeve != "sleeveless" else 12
        assert np.hypot(*(result.points[landmark] - truth)) < tolerance, landmark
        if landmark != "hem_centre":
            x, y = truth
            assert np.hypot(*(result.points[_mirror(landmark)] - (768 - x, y))) < tolerance, landmark


@pytest.mark.parametrize("name", garments.NAMES)
@pytest.mark.parametrize("degrees", [-5, 5])
def test_a_rotated_garment_has_rotated_landmarks(name: str, degrees: float) -> None:
    mask = garments.drawing(name).mask
    straight = find_landmarks(mask)
    turn = cv2.getRotationMatrix2D((383.5, 511.5), degrees, 0.9)
    rotated = find_landmarks(cv2.warpAffine(mask, turn, (768, 1024)))
    assert rotated.sleeve == straight.sleeve
    # A level strap has two corners at its top: which of them is higher depends on the rotation.
    tolerance = 30 if name == "tank" else 10
    for landmark in NAMES:
        expected = turn[:, :2] @ (straight.points[landmark] - 0.5) + turn[:, 2] + 0.5
        assert np.hypot(*(rotated.points[landmark] - expected)) < tolerance, landmark


@needs_samples
@pytest.mark.parametrize(("name", "sleeve"), list(REAL.items()))
def test_a_real_garment_and_its_mirror_image_have_mirrored_landmarks(name: str, sleeve: str) -> None:
    mask = _real(name)
    result = find_landmarks(mask)
    _assert_plausible(result)
    assert result.sleeve == sleeve
    mirrored = find_landmarks(np.ascontiguousarray(mask[:, ::-1]))
    for landmark in NAMES:
        x, y = result.points[landmark]
        assert np.hypot(*(mirrored.points[_mirror(landmark)] - (768 - x, y))) < 3, landmark


def test_a_garment_without_sleeves_ends_at_shoulder_and_armpit() -> None:
    result = find_landmarks(garments.drawing("tank").mask)
    for side in "rl":
        assert (result.points[f"{side}_cuff_outer"] == result.points[f"{side}_shoulder"]).all()
        assert (result.points[f"{side}_cuff_inner"] == result.points[f"{side}_armpit"]).all()


def test_an_armpit_under_a_sleeve_on_the_body_has_low_confidence() -> None:
    mask = garments.drawing("long_sleeve").mask.copy()
    closed = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((1, 151), np.uint8))
    mask[:, 384:] = closed[:, 384:]  # one sleeve is connected to the body
    result = find_landmarks(mask)
    truth = garments.drawing("long_sleeve").landmarks["r_armpit"]
    assert np.hypot(*(result.points["r_armpit"] - truth)) < 15
    assert result.confidence["l_armpit"] <= 0.3 < result.confidence["r_armpit"]


def test_an_empty_mask_is_rejected() -> None:
    with pytest.raises(GarmentMaskError, match="empty"):
        find_landmarks(np.zeros((1024, 768), np.uint8))


def test_a_shape_without_shoulders_is_rejected() -> None:
    mask = np.zeros((1024, 768), np.uint8)
    mask[500:560, 50:720] = 255
    with pytest.raises(GarmentMaskError, match="wider"):
        find_landmarks(mask)
