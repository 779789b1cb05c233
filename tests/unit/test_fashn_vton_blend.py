"""Only what FASHN VTON changed is taken from its picture."""

import numpy as np
import pytest

from worker.fashn_vton.blend import SETTINGS, changed_region, laid_back

HEIGHT, WIDTH = 240, 160
RNG = np.random.default_rng(0)
BEFORE = RNG.integers(60, 190, (HEIGHT, WIDTH, 3)).astype(np.uint8)
GARMENT = np.s_[100:180, 50:110]
FACE = np.s_[40:80, 60:100]
FAR = np.s_[10:25, 5:20]


@pytest.fixture
def person():
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask[30:230, 45:115] = True
    return mask


@pytest.fixture
def face():
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask[FACE] = True
    return mask


def drawn(*changes):
    """The picture as a network draws it again: a few levels of error everywhere, and these regions new."""
    picture = BEFORE.astype(int) + RNG.integers(-6, 7, BEFORE.shape)
    for region in changes:
        picture[region] = (250, 20, 40)
    return np.clip(picture, 0, 255).astype(np.uint8)


def test_a_picture_that_was_only_drawn_again_changes_nothing(person, face):
    assert not changed_region(BEFORE, drawn(), person, face).any()


def test_the_new_garment_is_taken_whole_and_its_edge_fades_out(person, face):
    alpha = changed_region(BEFORE, drawn(GARMENT), person, face)
    assert (alpha[GARMENT] > 250).all()
    reach = SETTINGS.margin + 4 * round(SETTINGS.fade)
    outside = np.ones_like(alpha, np.bool_)
    outside[100 - reach : 180 + reach, 50 - reach : 110 + reach] = False
    assert not alpha[outside].any()
    column = alpha[140, 110 : 110 + reach].astype(int)
    assert (np.diff(column) <= 0).all()
    assert len(set(column)) > 3


def test_face_and_background_keep_their_pixels(person, face):
    picture = drawn(GARMENT, FACE, FAR)
    far_person = person.copy()
    far_person[:, :80] = False  # FAR is now farther away than a garment stands out
    alpha = changed_region(BEFORE, picture, far_person & (np.arange(WIDTH) > 90), face)
    assert not alpha[FACE].any()
    assert not alpha[FAR].any()
    result = laid_back(BEFORE, picture, alpha)
    assert (result[alpha == 0] == BEFORE[alpha == 0]).all()
    assert (result[alpha == 255] == picture[alpha == 255]).all()


def test_specks_are_no_change(person, face):
    assert not changed_region(BEFORE, drawn(np.s_[120:122, 60:62]), person, face).any()


@pytest.mark.parametrize("scale", [0.5, 3])
def test_the_result_has_the_photographs_size_and_its_unchanged_pixels(person, face, scale):
    photo = RNG.integers(0, 256, (round(HEIGHT * scale), round(WIDTH * scale), 3)).astype(np.uint8)
    picture = drawn(GARMENT)
    result = laid_back(photo, picture, changed_region(BEFORE, picture, person, face))
    assert result.shape == photo.shape
    rows, columns = (slice(round(part.start * scale) + 8, round(part.stop * scale) - 8) for part in GARMENT)
    assert np.abs(result[rows, columns].astype(int) - (250, 20, 40)).max() <= 1
    assert (result[: round(60 * scale)] == photo[: round(60 * scale)]).all()
