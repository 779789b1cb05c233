from pathlib import Path

import cv2
import numpy as np
import pytest

from config.errors import GarmentMaskError
from worker.cloth.landmarks import NAMES, GarmentLandmarks, find
from worker.lab.demo import garments

SAMPLES = Path(__file__).parents[2].parent / "shared" / "samples" / "viton_hd"
REAL = {
    "01260_00": "short",
    "01430_00": "short",
    "02783_00": "long",
    "06429_00": "sleeveless",
    "08348_00": "straps",
    "11351_00": "short",
}


def _real(name: str) -> np.ndarray:
    path = SAMPLES / "cloth-mask" / f"{name}.jpg"
    if not path.exists():
        pytest.skip("the VITON-HD samples are not here: they may not be part of the project")
    mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert mask is not None
    return mask


def _mirror(name: str) -> str:
    return {"r_": "l_", "l_": "r_"}.get(name[:2], name[:2]) + name[2:]


def _upright(found: GarmentLandmarks) -> None:
    points = found.points
    assert set(points) == set(found.confidence) == set(NAMES)
    assert all(point.dtype == np.float32 and point.shape == (2,) for point in points.values())
    assert all(0 <= sure <= 1 for sure in found.confidence.values())
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
def test_the_drawn_garments_landmarks_are_found(name: str, sleeve: str) -> None:
    drawing = garments.drawing(name)
    found = find(drawing.mask)
    _upright(found)
    assert found.sleeve == sleeve
    for landmark, truth in drawing.landmarks.items():
        # The outline does not show a sleeve's seam: the shoulder is a rule of thumb, and says so.
        allowed = 20 if landmark == "r_shoulder" and sleeve != "sleeveless" else 12
        assert np.hypot(*(found.points[landmark] - truth)) < allowed, landmark
        if landmark != "hem_centre":
            x, y = truth
            assert np.hypot(*(found.points[_mirror(landmark)] - (768 - x, y))) < allowed, landmark


@pytest.mark.parametrize("name", garments.NAMES)
@pytest.mark.parametrize("degrees", [-5, 5])
def test_a_turned_garment_has_turned_landmarks(name: str, degrees: float) -> None:
    mask = garments.drawing(name).mask
    straight = find(mask)
    turn = cv2.getRotationMatrix2D((383.5, 511.5), degrees, 0.9)
    turned = find(cv2.warpAffine(mask, turn, (768, 1024)))
    assert turned.sleeve == straight.sleeve
    # A level strap has two corners at its top: which of them is the higher turns with the garment.
    allowed = 30 if name == "tank" else 10
    for landmark in NAMES:
        expected = turn[:, :2] @ (straight.points[landmark] - 0.5) + turn[:, 2] + 0.5
        assert np.hypot(*(turned.points[landmark] - expected)) < allowed, landmark


@pytest.mark.parametrize(("name", "sleeve"), list(REAL.items()))
def test_a_real_garment_and_its_mirror_image(name: str, sleeve: str) -> None:
    mask = _real(name)
    found = find(mask)
    _upright(found)
    assert found.sleeve == sleeve
    mirrored = find(np.ascontiguousarray(mask[:, ::-1]))
    for landmark in NAMES:
        x, y = found.points[landmark]
        assert np.hypot(*(mirrored.points[_mirror(landmark)] - (768 - x, y))) < 3, landmark


def test_a_garment_without_sleeves_ends_at_shoulder_and_armpit() -> None:
    found = find(garments.drawing("tank").mask)
    for side in "rl":
        assert (found.points[f"{side}_cuff_outer"] == found.points[f"{side}_shoulder"]).all()
        assert (found.points[f"{side}_cuff_inner"] == found.points[f"{side}_armpit"]).all()


def test_an_armpit_under_a_sleeve_that_lies_on_the_body_is_marked_unsure() -> None:
    mask = garments.drawing("long_sleeve").mask.copy()
    closed = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((1, 151), np.uint8))
    mask[:, 384:] = closed[:, 384:]  # one sleeve is joined to the body
    found = find(mask)
    truth = garments.drawing("long_sleeve").landmarks["r_armpit"]
    assert np.hypot(*(found.points["r_armpit"] - truth)) < 15
    assert found.confidence["l_armpit"] <= 0.3 < found.confidence["r_armpit"]


def test_an_empty_mask_is_refused() -> None:
    with pytest.raises(GarmentMaskError, match="empty"):
        find(np.zeros((1024, 768), np.uint8))


def test_a_shape_that_does_not_hang_from_shoulders_is_refused() -> None:
    mask = np.zeros((1024, 768), np.uint8)
    mask[500:560, 50:720] = 255
    with pytest.raises(GarmentMaskError, match="wider"):
        find(mask)
