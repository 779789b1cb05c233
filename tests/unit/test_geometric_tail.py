"""The parts of a dress, a coat or a hood that stay on under another garment, on synthetic label maps."""

import numpy as np
import pytest

from config.errors import SynthesisError
from worker.geometric.body import Arm, Body
from worker.geometric.place import Match, Placement
from worker.geometric.tail import hood, refuse_coat, tail
from worker.images.frame import HEIGHT, WIDTH
from worker.images.maps import Part

SIZE, HEM = 200.0, 600
NO_POINTS = Match(np.zeros((3, 2)), np.zeros((3, 2)))


def body(arm: Arm | None = None) -> Body:
    """A person from the front, shoulders at row 250, hips at 550, the trunk from column 300 to 470."""
    return Body(
        SIZE,
        np.array([385.0, 250.0]),
        np.array([385.0, 550.0]),
        {"r": np.array([285.0, 250.0]), "l": np.array([485.0, 250.0])},
        {"r": np.array([275.0, 230.0]), "l": np.array([495.0, 230.0])},
        np.full(WIDTH, 230.0),
        {"r": np.full(HEIGHT, 300.0), "l": np.full(HEIGHT, 470.0)},
        {"r": arm, "l": None},
        True,
    )


def straight_arm() -> Arm:
    """An arm that hangs down on the right from row 250 to 700, at column 290."""
    at = np.linspace(0, 2, 29)
    half = np.full(29, 20.0)
    centre = np.column_stack([np.full(29, 290.0), 250 + 225 * at])
    return Arm(centre, np.tile([-1.0, 0.0], (29, 1)), at, half, half, half, half, half, False)


def placement() -> Placement:
    neckline = np.array([[350.0, 240.0], [420.0, 240.0]])
    return Placement(NO_POINTS, {}, {}, {}, neckline, np.full(WIDTH, float(HEM)), 240.0, 330.0, 1.0)


def worn(part: Part, last: int, below: Part | None = None) -> np.ndarray:
    """Labels of a garment on the trunk from the shoulders to a row, and of a garment below it."""
    parse = np.zeros((HEIGHT, WIDTH), np.uint8)
    if below is not None:
        parse[500:900, 300:470] = below
    parse[240:last, 300:470] = part
    return parse


@pytest.mark.parametrize("part", [Part.DRESS, Part.COAT])
@pytest.mark.parametrize("below", [None, Part.PANTS])
def test_a_dress_or_coat_stays_on_below_the_hem(part: Part, below: Part | None) -> None:
    remaining = tail(worn(part, 800, below), body(), placement())
    assert not remaining[: HEM + 1].any()
    assert remaining[HEM + 2 : 800, 300:470].all()
    assert not remaining[800:].any()


def test_a_short_part_below_the_hem_is_removed() -> None:
    assert not tail(worn(Part.DRESS, HEM + 30), body(), placement()).any()


def test_a_long_shirt_over_trousers_is_removed_unless_it_is_as_long_as_a_coat() -> None:
    assert not tail(worn(Part.UPPER_CLOTHES, 660, Part.PANTS), body(), placement()).any()
    assert tail(worn(Part.UPPER_CLOTHES, 660), body(), placement()).any()
    assert tail(worn(Part.UPPER_CLOTHES, 800, Part.PANTS), body(), placement()).any()


def test_a_sleeve_below_the_hem_does_not_stay_on() -> None:
    parse = np.zeros((HEIGHT, WIDTH), np.uint8)
    parse[250:700, 270:310] = Part.COAT
    assert not tail(parse, body(straight_arm()), placement()).any()


def test_a_skirt_flares_from_under_the_hem() -> None:
    parse = worn(Part.DRESS, 900)
    parse[500:900, 100:670] = Part.DRESS
    remaining = tail(parse, body(), placement())
    widths = remaining.sum(1)
    assert widths[HEM + 2] < 200  # the garment's width and a rim
    assert widths[HEM + 100] > widths[HEM + 2] + 100


def test_a_hood_stays_on_and_a_collar_does_not() -> None:
    parse = worn(Part.COAT, 550)
    parse[200:240, 340:430] = Part.COAT  # a collar
    assert not hood(parse, body()).any()
    parse[60:240, 320:450] = Part.COAT
    remaining = hood(parse, body())
    assert remaining[60:225, 320:450].all()
    assert not remaining[240:].any()


def test_the_band_of_an_arm_between_two_of_its_points_is_empty() -> None:
    assert not straight_arm().band((HEIGHT, WIDTH), skin=False, first=0.01, last=0.02).any()


def test_a_long_coat_is_refused_and_a_dress_is_not() -> None:
    for part in (Part.DRESS, Part.COAT):
        parse = worn(part, 800)
        kept = tail(parse, body(), placement())
        if part is Part.DRESS:
            refuse_coat(parse, kept, body())
        else:
            with pytest.raises(SynthesisError, match="long coat"):
                refuse_coat(parse, kept, body())
