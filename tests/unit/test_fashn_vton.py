"""FASHN VTON's network, sampler and preparation give what the published code gives."""

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support import fashn_vton
from tests.support.fashn_vton import SHAPES, VECTORS
from tests.vectors import seeded
from worker.fashn_vton.drawing import draw_pose
from worker.fashn_vton.network import Sizes, TryOnTransformer
from worker.fashn_vton.preparation import HEIGHT, WIDTH, fitted, shrunk
from worker.fashn_vton.sampler import STEPS, Inputs, sample, schedule, seeded_noise

SIZES = [(700, 500), (1200, 900), (1000, 400), (400, 640)]


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    with np.load(VECTORS / "tiny.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def prepared() -> dict[str, np.ndarray]:
    with np.load(VECTORS / "preparation.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def network() -> TryOnTransformer:
    return fashn_vton.network()


def picture(name: str, channels: int, cells: int = 8) -> Tensor:
    return torch.from_numpy(seeded.image(name, channels, 96, 72, cells))[None]


NOISE = picture("fashn-noise", 3, 24)


def inputs(category: int = 1) -> Inputs:
    return Inputs(
        picture("fashn-ca", 3),
        picture("fashn-garment", 3, 24),
        picture("fashn-person-pose", 1),
        picture("fashn-garment-pose", 1),
        torch.tensor([category]),
    )


def two() -> Inputs:
    """The inputs, and after them the same mirrored, of another category."""
    one = inputs()
    parts = (one.person, one.garment, one.person_pose, one.garment_pose)
    return Inputs(*(torch.cat([part, part.flip(3)]) for part in parts), torch.tensor([1, 3]))


@torch.inference_mode()
def velocities(network: TryOnTransformer, noise: Tensor, times: list[float], given: Inputs) -> Tensor:
    """The conditional velocities, then the unconditional ones."""
    doubled = given.with_unconditional()
    conditions = network.conditions(
        doubled.person, doubled.garment, doubled.person_pose, doubled.garment_pose, doubled.category
    )
    return network(torch.cat([noise, noise]), torch.tensor(times * 2), conditions)


def assert_close(actual: Tensor, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(actual.numpy(), wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["full", "tiny"])
def test_keys_shapes_and_parameters_equal_the_published_ones(name):
    with torch.device("meta"):
        built = TryOnTransformer(Sizes() if name == "full" else fashn_vton.TINY)
    assert {key: list(value.shape) for key, value in built.state_dict().items()} == SHAPES[name]
    if name == "full":
        # The published number counts the buffer patch_mixer_token too.
        assert sum(value.numel() for value in built.state_dict().values()) == SHAPES["parameters"]


@pytest.mark.parametrize("time", [0.0, 0.3, 1.0])
def test_the_velocities_are_those_of_the_published_code(network, expected, time):
    conditional, unconditional = velocities(network, NOISE, [time], inputs())
    assert_close(conditional, expected[f"v_c_{time}"])
    assert_close(unconditional, expected[f"v_u_{time}"])


def test_a_batch_of_other_times_and_categories_is_that_of_the_published_code(network, expected):
    drawn = velocities(network, torch.cat([NOISE, NOISE.flip(3)]), [0.2, 0.7], two())
    assert_close(drawn[:2], expected["batch_v_c"])
    assert_close(drawn[2:], expected["batch_v_u"])


@pytest.mark.parametrize("steps", [6, *STEPS.values()])
def test_the_schedule_is_that_of_the_published_code(expected, steps):
    np.testing.assert_allclose(schedule(steps), expected[f"schedule_{steps}"], rtol=0, atol=1e-7)


def test_six_steps_give_the_picture_of_the_published_code(network, expected):
    calls = []
    drawn = sample(network, inputs(), NOISE, 6, lambda step, steps: calls.append((step, steps)))[0]
    assert_close(drawn, expected["sampled_6_before_clamp"])
    assert_close(drawn.clamp(-1, 1), expected["sampled_6"])
    assert calls == [(step, 6) for step in range(1, 7)]


def test_a_batch_gives_the_pictures_of_its_items_and_a_seed_its_noise(network):
    noise = seeded_noise([3, 4], 96, 72)
    assert torch.equal(noise[1:], seeded_noise([4], 96, 72))
    assert not torch.equal(noise[0], noise[1])
    both, given = sample(network, two(), noise, 3), two()
    parts = (given.person, given.garment, given.person_pose, given.garment_pose, given.category)
    alone = sample(network, Inputs(*(part[1:] for part in parts)), noise[1:], 3)
    torch.testing.assert_close(alone[0], both[1], rtol=0, atol=1e-3)


def test_the_drawing_ends_between_steps_when_it_is_asked_to(network):
    def cancel(step: int, _steps: int) -> None:
        if step == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        sample(network, inputs(), NOISE, 6, cancel)


@pytest.mark.parametrize("person", ["a", "b"])
def test_poses_are_drawn_pixel_by_pixel_as_by_the_published_code(prepared, person):
    body = prepared[f"{person}_body_points"].copy()
    body[prepared[f"{person}_body_index"][0] < 0] = np.nan
    hands, face = prepared[f"{person}_hands"], prepared[f"{person}_faces"][0]
    size = tuple(prepared[f"{person}_size"].tolist())
    no_hands, no_face = np.zeros((0, 21, 2)), np.zeros((0, 2))
    assert np.array_equal(draw_pose(body, no_hands, no_face, *size), prepared[f"{person}_body_only"])
    assert np.array_equal(draw_pose(body, hands, no_face, *size), prepared[f"{person}_with_hands"])
    assert np.array_equal(draw_pose(body, hands, face, *size), prepared[f"{person}_full"])


def test_the_pose_of_a_flat_garment_is_black(prepared):
    nothing = np.full((18, 2), np.nan), np.zeros((0, 21, 2)), np.zeros((0, 2))
    assert np.array_equal(draw_pose(*nothing, HEIGHT, WIDTH), prepared["flat"])


def photograph(height: int, width: int) -> np.ndarray:
    planes = seeded.image(f"fashn-pad-{height}", 3, height, width, 40)
    return ((planes + 1) * 127.5).astype(np.uint8).transpose(1, 2, 0)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_pictures_are_resized_and_padded_as_by_the_published_code(prepared, height, width):
    photo = photograph(height, width)
    small, (whole, padding) = shrunk(photo), fitted(photo)
    assert list(small.shape) == prepared[f"pre_{height}_{width}_shape"].tolist()
    assert list(whole.shape) == prepared[f"pad_{height}_{width}_shape"].tolist()
    assert np.array_equal(small[::8, ::8], prepared[f"pre_{height}_{width}"])
    assert np.array_equal(whole[::4, ::4], prepared[f"pad_{height}_{width}"])
    scale = min(WIDTH / width, HEIGHT / height)
    assert padding.removed(whole).shape[:2] == (int(scale * height), int(scale * width))
