"""The steps between the VITON-HD networks: labels, inputs, noise, blur, label windows."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.vectors import seeded
from worker.images.maps import Part
from worker.viton_hd import windows
from worker.viton_hd.alias import LABELS, AliasGenerator, AliasNorm
from worker.viton_hd.enlarge import enlarge, fast_enlarge
from worker.viton_hd.inputs import (
    HALF_LEVEL,
    TryOnInput,
    divided_parse,
    from_uint8,
    input_maps,
    matching_inputs,
    segmentation_inputs,
    to_image,
)
from worker.viton_hd.labels import (
    SEGMENTATION,
    SEGMENTATION_OF_CIHP,
    SYNTHESIS,
    SYNTHESIS_OF_SEGMENTATION,
    UPPER,
)
from worker.viton_hd.noise import SeededNoise, segmentation_noise

CPU = torch.device("cpu")


def synthesis_label(part: Part) -> str:
    return list(SYNTHESIS)[SYNTHESIS_OF_SEGMENTATION[SEGMENTATION_OF_CIHP[part]]]


def test_every_part_has_a_label():
    assert sorted(label for group in SEGMENTATION.values() for label in group) == sorted(Part)
    assert sorted(label for group in SYNTHESIS.values() for label in group) == list(range(len(SEGMENTATION)))
    labels = {part: synthesis_label(part) for part in Part}
    assert {part for part, label in labels.items() if label == "upper"} == {
        Part.UPPER_CLOTHES,
        Part.DRESS,
        Part.COAT,
    }
    assert labels[Part.NECK] == labels[Part.BACKGROUND] == "background"
    assert labels[Part.LEFT_ARM] == "left_arm"
    assert labels[Part.RIGHT_ARM] == "right_arm"
    assert labels[Part.HAT] == labels[Part.HAIR] == "hair"
    assert labels[Part.GLOVE] == labels[Part.SCARF] == "noise"
    assert labels[Part.FACE] == labels[Part.SKIRT] == labels[Part.SOCKS] == "paste"


def test_pictures_are_converted_to_numbers_and_back():
    rgb = np.arange(256, dtype=np.uint8).reshape(16, 16)[..., None].repeat(3, 2)
    values = from_uint8(torch.from_numpy(rgb)[None])
    assert values.min() == -1
    assert values.max() == 1
    np.testing.assert_array_equal(to_image(values[0] + HALF_LEVEL), rgb)
    # 0.999 of a level is the level below: truncated, not rounded; beyond the range it is clamped.
    level = torch.tensor([99.999, -5.0, 300.0]) / 255 * 2 - 1
    np.testing.assert_array_equal(to_image(level[:, None, None])[0, 0], [99, 0, 255])


@pytest.fixture
def item() -> TryOnInput:
    rng = np.random.default_rng(0)

    def rgb() -> np.ndarray:
        return rng.integers(0, 256, (1024, 768, 3), np.uint8)

    return TryOnInput(
        pose=rgb(),
        image_agnostic=rgb(),
        parse_agnostic=rng.integers(0, 20, (1024, 768), np.uint8),
        garment=rgb(),
        garment_mask=rng.integers(0, 256, (1024, 768), np.uint8),
    )


def test_the_segmentation_inputs_are_resampled_bilinearly(item):
    maps = input_maps([item], CPU)
    noise = segmentation_noise([0], CPU)
    inputs = segmentation_inputs(maps, noise)
    assert inputs.shape == (1, 21, 256, 192)
    # At a quarter of the size a bilinear pixel is the mean of the middle four of its sixteen.
    middle = np.s_[1:3, 5:7]
    mask = (item.garment_mask >= 128)[middle]
    garment = item.garment[middle] / 127.5 - 1
    np.testing.assert_allclose(inputs[0, 0, 0, 1], mask.mean())
    np.testing.assert_allclose(inputs[0, 1:4, 0, 1], (garment * mask[..., None]).mean((0, 1)), atol=1e-6)
    labels = SEGMENTATION_OF_CIHP[item.parse_agnostic][middle]
    expected = [(labels == label).mean() for label in range(13)]
    np.testing.assert_allclose(inputs[0, 4:17, 0, 1], expected)
    np.testing.assert_allclose(inputs[0, 17:20, 0, 1], item.pose[middle].mean((0, 1)) / 127.5 - 1, atol=1e-6)
    assert torch.equal(inputs[0, 20], noise[0, 0])


def test_the_matching_inputs_are_the_nearest_pixels_and_the_unmasked_garment(item):
    maps = input_maps([item], CPU)
    labels = torch.from_numpy(item.parse_agnostic.astype(np.int64) % LABELS)
    parse = functional.one_hot(labels, LABELS).permute(2, 0, 1)[None].float()
    person, garment = matching_inputs(maps, parse)
    assert torch.equal(person[0, 0], (labels[::4, ::4] == UPPER).float())
    np.testing.assert_allclose(person[0, 1:4, 2, 3], item.pose[8, 12] / 127.5 - 1, atol=1e-6)
    np.testing.assert_allclose(person[0, 4:7, 2, 3], item.image_agnostic[8, 12] / 127.5 - 1, atol=1e-6)
    np.testing.assert_allclose(garment[0, :, 2, 3], item.garment[8, 12] / 127.5 - 1, atol=1e-6)


def test_the_parse_is_divided_where_the_garment_does_not_cover_its_region():
    parse = torch.zeros(1, LABELS, 1, 3)
    parse[0, UPPER, 0, :2] = 1
    parse[0, 0, 0, 2] = 1
    divided, misaligned = divided_parse(parse, torch.tensor([[[[0.25, 1.0, 0.5]]]]))
    torch.testing.assert_close(misaligned[0, 0, 0], torch.tensor([0.75, 0, 0]))
    torch.testing.assert_close(divided[0, UPPER, 0], torch.tensor([0.25, 1, 0]))
    torch.testing.assert_close(divided[0, LABELS, 0], misaligned[0, 0, 0])
    torch.testing.assert_close(divided.sum(1), torch.ones(1, 1, 3))


def test_the_noise_equals_torchs_for_one_picture_after_its_seed():
    torch.manual_seed(11)
    expected = [torch.randn(1, columns, rows, 1).transpose(1, 3) for rows, columns in ((8, 6), (16, 12))]
    alone, batched = SeededNoise([11]), SeededNoise([5, 11])
    for noise in expected:
        rows, columns = noise.shape[2:]
        assert torch.equal(alone(rows, columns), noise)
        assert torch.equal(batched(rows, columns)[1:], noise)


def test_the_segmentation_noise_is_1_with_the_published_probability():
    state = torch.random.get_rng_state()
    noise = segmentation_noise([4, 5], CPU)
    assert noise.shape == (2, 1, 256, 192)
    assert set(noise.unique().tolist()) == {0, 1}
    assert noise.mean().item() == pytest.approx(0.159, abs=0.01)
    assert torch.equal(noise[:1], segmentation_noise([4], CPU))
    assert not torch.equal(noise[0], noise[1])
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_norms_take_their_noise_in_the_published_order():
    with torch.device("meta"):
        generator = AliasGenerator().eval()
    norms: list[str] = []
    names = {module: name for name, module in generator.named_modules() if isinstance(module, AliasNorm)}
    for norm in names:
        norm.register_forward_pre_hook(lambda module, _: norms.append(names[module]))
    sizes: list[tuple[int, int]] = []

    def noise(rows: int, columns: int) -> torch.Tensor:
        sizes.append((rows, columns))
        return torch.empty(1, 1, rows, columns, device="meta")

    shapes = ((1, 9), (1, 7), (1, 8), (1, 1))
    generator(*(torch.empty(*shape, 1024, 768, device="meta") for shape in shapes), noise)
    assert norms[:5] == ["head_0.norm_0", "head_0.norm_1"] + [
        f"G_middle_0.{norm}" for norm in ("norm_s", "norm_0", "norm_1")
    ]
    assert sizes == [(8, 6)] * 2 + [(8 * 2**level, 6 * 2**level) for level in range(1, 8) for _ in range(3)]
    assert len(sizes) == 23


def test_the_fast_blur_equals_the_plain_one():
    scores = torch.from_numpy(seeded.image("scores", 3, 64, 48, cells=20))[None]
    plain = enlarge(scores, 256, 192)
    torch.testing.assert_close(fast_enlarge(scores, 256, 192), plain, rtol=0, atol=1e-5)
    # Bilinear interpolation and a normalised kernel keep a constant, except near the zeros beyond the edge.
    flat = enlarge(torch.ones(1, 1, 16, 12), 64, 48)
    torch.testing.assert_close(flat[..., 7:-7, 7:-7], torch.ones(1, 1, 50, 34))
    assert flat[0, 0, 0, 0] < 0.5


@pytest.mark.parametrize(
    "labels",
    [
        pytest.param(seeded.label_map("windows", 7, 96, 64), id="smooth"),
        pytest.param(np.random.default_rng(0).integers(0, 7, (96, 64)), id="noisy"),
        pytest.param(np.zeros((96, 64), np.int64), id="one label"),
        pytest.param(np.random.default_rng(0).integers(0, 9999, (96, 64)), id="more codes than int64 holds"),
    ],
)
def test_every_pixel_has_its_window_and_the_windows_are_distinct(labels):
    outside = 10_000 if labels.max() > 7 else 7
    maps = torch.from_numpy(np.stack([labels, labels[::-1].copy()]))
    large, index = windows.distinct_windows(maps, outside)
    padded = functional.pad(maps, (2, 2, 2, 2), value=outside)
    assert torch.equal(large[index], padded.unfold(1, 5, 1).unfold(2, 5, 1))
    assert len(large.flatten(1).unique(dim=0)) == len(large)
    small, parts = windows.inner_windows(large, outside + 1)
    assert torch.equal(small[parts], large.unfold(1, 3, 1).unfold(2, 3, 1).flatten(1, 2))
    assert len(small.flatten(1).unique(dim=0)) == len(small)
