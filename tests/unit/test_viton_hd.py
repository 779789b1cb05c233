"""The VITON-HD networks equal the published definitions: keys, shapes, outputs for seeded weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from config.errors import WeightsMissingError
from tests.support import viton_hd
from tests.support.viton_hd import NETWORKS, SHAPES
from tests.vectors import seeded
from worker.lab.cascade_bench import bench, scenes
from worker.viton_hd import fast_alias, modulation, spline
from worker.viton_hd.alias import AliasGenerator, AliasNorm
from worker.viton_hd.cascade import Cascade, SynthesisInput
from worker.viton_hd.dense_alias import DenseAlias
from worker.viton_hd.enlarge import fast_enlarge
from worker.viton_hd.fast_alias import FastAlias
from worker.viton_hd.inputs import TryOnInput, divided_parse
from worker.viton_hd.noise import SeededNoise

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
HEIGHT, WIDTH = 512, 384  # of the ALIAS vectors


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    with np.load(VECTORS / "viton_hd.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def segmenter() -> nn.Module:
    return viton_hd.network("seg")


@pytest.fixture(scope="module")
def matcher() -> nn.Module:
    return viton_hd.network("gmm")


@pytest.fixture(scope="module")
def generator() -> AliasGenerator:
    network = viton_hd.network("alias")
    rng = torch.Generator().manual_seed(0)
    for norm in network.modules():
        if isinstance(norm, AliasNorm):  # the seeded scales are zero: noise would have no effect
            norm.noise_scale.data = 0.1 * torch.randn(norm.noise_scale.shape, generator=rng)
    return network


@pytest.fixture(scope="module")
def fast(generator: AliasGenerator) -> FastAlias:
    return FastAlias(generator, compile=False)


@pytest.fixture(scope="module")
def dense(generator: AliasGenerator) -> DenseAlias:
    """The generator for a GPU, here on the processor."""
    return DenseAlias(generator, torch.float32, compile=False)


def batch_of_one(*parts: np.ndarray) -> Tensor:
    """Return (c, h, w) arrays joined along the channels, with a batch of one."""
    return torch.from_numpy(np.concatenate(parts))[None]


@pytest.mark.parametrize("name", NETWORKS)
def test_keys_and_shapes_equal_the_published_ones(name):
    with torch.device("meta"):
        state = NETWORKS[name]().state_dict()
    assert {key: list(value.shape) for key, value in state.items()} == SHAPES[name]


@torch.inference_mode()
def test_the_segmentation_generator_gives_the_expected_scores(segmenter, expected):
    inputs = batch_of_one(
        seeded.one_hot(seeded.label_map("seg-mask", 2, 256, 192), 2)[1:],
        seeded.image("seg-cloth", 3, 256, 192),
        seeded.one_hot(seeded.label_map("seg-parse", 13, 256, 192), 13),
        seeded.image("seg-pose", 3, 256, 192),
        np.zeros((1, 256, 192), np.float32),
    )
    scores = segmenter(inputs)[0]
    np.testing.assert_allclose(scores[:, ::4, ::4], expected["seg_every_4"], rtol=0, atol=1e-4)


@torch.inference_mode()
def test_matching_gives_the_expected_offsets(matcher, expected):
    person = batch_of_one(
        seeded.one_hot(seeded.label_map("gmm-region", 2, 256, 192), 2)[1:],
        seeded.image("gmm-pose", 3, 256, 192),
        seeded.image("gmm-agnostic", 3, 256, 192),
    )
    theta = matcher(person, batch_of_one(seeded.image("gmm-cloth", 3, 256, 192)))
    np.testing.assert_allclose(theta[0], expected["theta"], rtol=0, atol=1e-4)


@pytest.mark.parametrize("grid_of", [spline.grid, spline.fast_grid])
def test_the_spline_gives_the_expected_grid_and_garment(grid_of, expected):
    grid = grid_of(torch.from_numpy(expected["theta"])[None], 1024, 768)
    np.testing.assert_allclose(grid[0, ::16, ::16], expected["grid_every_16"], rtol=0, atol=1e-4)
    garment = batch_of_one(seeded.image("gmm-cloth-full", 3, 1024, 768, cells=24))
    warped = functional.grid_sample(garment, grid, padding_mode="border", align_corners=False)[0]
    np.testing.assert_allclose(warped[:, ::8, ::8], expected["warped_every_8"], rtol=0, atol=1e-4)


def alias_inputs(name: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    parse = batch_of_one(seeded.one_hot(seeded.label_map("alias-parse", 7, HEIGHT, WIDTH), 7))
    warped_mask = batch_of_one(seeded.one_hot(seeded.label_map("alias-warped-mask", 2, HEIGHT, WIDTH), 2)[1:])
    if name == "alias_aligned":
        warped_mask = torch.ones_like(warped_mask)
    inputs = batch_of_one(
        seeded.image("alias-agnostic", 3, HEIGHT, WIDTH),
        seeded.image("alias-pose", 3, HEIGHT, WIDTH),
        seeded.image("alias-warped", 3, HEIGHT, WIDTH, cells=24),
    )
    return inputs, parse, *divided_parse(parse, warped_mask)


@torch.inference_mode()
@pytest.mark.parametrize("path", ["generator", "fast", "dense"])
@pytest.mark.parametrize("name", ["alias", "alias_aligned"])
def test_the_alias_generator_gives_the_expected_picture(name, path, expected, request):
    picture = request.getfixturevalue(path)(*alias_inputs(name))[0]
    np.testing.assert_allclose(picture[:, ::4, ::4], expected[f"{name}_every_4"], rtol=0, atol=1e-4)


def synthesis_input(person: int) -> SynthesisInput:
    """A small person: a smooth parse, and a garment whose feathered edge misses parts of its region."""
    size = 256, 128
    mask = torch.from_numpy(seeded.image(f"mask-{person}", 1, *size))[None] * 8
    pictures = [
        torch.from_numpy(seeded.image(f"{kind}-{person}", 3, *size))[None]
        for kind in ("pose", "body", "garment")
    ]
    labels = seeded.one_hot(seeded.label_map(f"parse-{person}", 7, *size), 7)
    return SynthesisInput(*pictures, mask.clamp(0, 1), batch_of_one(labels))


@pytest.fixture(scope="module")
def cascades(
    segmenter: nn.Module, matcher: nn.Module, generator: AliasGenerator, fast: FastAlias, dense: DenseAlias
) -> dict[str, Cascade]:
    """Plain and fast cascades that share the networks."""
    by_path = {
        path: Cascade(segmenter, matcher, generator, plain=True) for path in ("plain", "fast", "dense")
    }
    for cascade, generate in ((by_path["fast"], fast), (by_path["dense"], dense)):
        cascade.enlarge, cascade.grid, cascade.generate = fast_enlarge, spline.fast_grid, generate
    return by_path


@pytest.fixture(scope="module")
def plain_pictures(cascades: dict[str, Cascade]) -> Tensor:
    """Two pictures by the plain path."""
    with torch.inference_mode():
        return cascades["plain"].synthesise([synthesis_input(0), synthesis_input(1)], SeededNoise([7, 8]))


@torch.inference_mode()
@pytest.mark.parametrize("path", ["fast", "dense"])
def test_the_fast_generators_equal_the_plain_one_in_any_batch(path, cascades, plain_pictures):
    # With noise and feathered edges.
    _, misaligned = divided_parse(synthesis_input(0).parse, synthesis_input(0).warped_mask)
    assert ((misaligned > 0) & (misaligned < 1)).any()
    together = cascades[path].synthesise([synthesis_input(0), synthesis_input(1)], SeededNoise([7, 8]))
    torch.testing.assert_close(together, plain_pictures, rtol=0, atol=1e-3)
    alone = cascades[path].synthesise([synthesis_input(1)], SeededNoise([8]))
    torch.testing.assert_close(alone[0], together[1], rtol=0, atol=1e-3)


@pytest.fixture(scope="module")
def alone(cascades: dict[str, Cascade]) -> Tensor:
    """The second of the two pictures, generated in a batch of one."""
    with torch.inference_mode():
        return cascades["fast"].synthesise([synthesis_input(1)], SeededNoise([8]))


@torch.inference_mode()
def test_the_bands_of_the_shortcut_do_not_change_the_picture(cascades, alone, monkeypatch):
    monkeypatch.setattr(fast_alias, "_ELEMENTS_PER_BAND", 2**14)
    banded = cascades["fast"].synthesise([synthesis_input(1)], SeededNoise([8]))
    torch.testing.assert_close(banded, alone, rtol=0, atol=1e-4)


@torch.inference_mode()
def test_a_seed_decides_the_picture(cascades, alone):
    again = cascades["fast"].synthesise([synthesis_input(1)], SeededNoise([8]))
    assert torch.equal(again, alone)
    other = cascades["fast"].synthesise([synthesis_input(1)], SeededNoise([9]))
    assert (other - alone).abs().max() > 1e-3


@torch.inference_mode()
@pytest.mark.parametrize("kind", [FastAlias, DenseAlias])
def test_bfloat16_stays_within_a_mean_hundredth_of_the_range(kind, generator, expected):
    # Smaller pictures have two pixels at the smallest scale, and such statistics amplify the rounding.
    picture = kind(generator, torch.bfloat16, compile=False)(*alias_inputs("alias"))[0]
    error = np.abs(picture[:, ::4, ::4].numpy() - expected["alias_every_4"])
    assert 1e-4 < error.mean() < 0.01 * 2


@torch.inference_mode()
def test_compiled_kernels_equal_the_eager_ones():
    kernels = modulation.compiled()
    if kernels is modulation.EAGER:
        pytest.skip("no C++ compiler is installed")
    rng = torch.Generator().manual_seed(0)
    x, noise, mask = (torch.randn(shape, generator=rng) for shape in ((24, 18, 40), (24, 18), (24, 18, 1)))
    scale, gain, shift = torch.randn(40, generator=rng), *torch.randn(2, 9, 40, generator=rng)
    index = torch.randint(0, 9, (24, 18), generator=rng)
    for region in (None, mask.clamp(0, 1)):
        activations = x, noise, scale, region
        statistics = modulation.EAGER.statistics(*activations)
        for actual, expected in zip(kernels.statistics(*activations), statistics, strict=True):
            torch.testing.assert_close(actual, expected)
        arguments = noise, scale, region, *statistics, index, gain, shift
        actual, expected = torch.empty_like(x), torch.empty_like(x)
        kernels.modulate(x, *arguments, actual, False)
        modulation.EAGER.modulate(x, *arguments, expected, False)
        torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)
        for in_place, tested in ((actual, kernels), (expected, modulation.EAGER)):
            in_place.copy_(x)
            tested.modulate(in_place, *arguments, in_place, True)
        torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)


def random_item(seed: int) -> TryOnInput:
    rng = np.random.default_rng(seed)
    height, width = 256, 128

    def rgb(name: str) -> np.ndarray:
        field = seeded.image(f"{name}-{seed}", 3, height, width).transpose(1, 2, 0)
        return ((field + 1) * 127.5).astype(np.uint8)

    return TryOnInput(
        pose=rgb("pose"),
        image_agnostic=rgb("agnostic"),
        parse_agnostic=seeded.label_map(f"cihp-{seed}", 20, height, width).astype(np.uint8),
        garment=rgb("garment"),
        garment_mask=rng.integers(0, 256, (height, width), np.uint8),
        seed=seed,
    )


def test_the_fast_cascade_equals_the_plain_one(cascades):
    item = random_item(3)
    plain, fast = (cascades[name]([item])[0] for name in ("plain", "fast"))
    assert fast.image.shape == (256, 128, 3)
    assert fast.image.dtype == np.uint8
    assert np.unique(plain.parse).size > 2
    # A score that equals another up to rounding could change a label; this item has no such scores.
    np.testing.assert_array_equal(fast.parse, plain.parse)
    for name in ("image", "warped", "warped_mask"):
        difference = np.abs(getattr(fast, name).astype(int) - getattr(plain, name))
        assert difference.max() <= 1, name


def test_batches_have_the_prepared_sizes(cascades, monkeypatch):
    cascade, sizes = cascades["fast"], []
    monkeypatch.setattr(cascade, "batch", 6)

    def queue(items: list[TryOnInput]) -> Tensor:
        sizes.append(len(items))
        seeds = torch.tensor([item.seed for item in items], dtype=torch.uint8)
        return seeds.expand(2, 2, 8, -1).movedim(3, 0)

    monkeypatch.setattr(cascade, "_queue", queue)
    outputs = cascade([random_item(seed) for seed in range(11)])
    assert sizes == [4, 4, 2, 1]
    assert [output.image[0, 0, 0] for output in outputs] == list(range(11))
    sizes.clear()
    cascade.warm_up()
    assert sizes == [1, 2, 4]


def test_a_cascade_is_loaded_from_its_files(cascades, generator, tmp_path):
    networks = cascades["fast"].segmenter, cascades["fast"].matcher, generator
    files = [tmp_path / f"{name}.pth" for name in NETWORKS]
    for network, file in zip(networks, files, strict=True):
        torch.save(network.state_dict(), file)
    item = random_item(3)
    loaded = Cascade.load(*files, compile=False)([item])[0]
    np.testing.assert_array_equal(loaded.image, cascades["fast"]([item])[0].image)
    with pytest.raises(WeightsMissingError, match="another network"):
        Cascade.load(files[0], files[0], files[2])


def test_the_benchmark_compares_the_paths(cascades):
    item = random_item(3)
    scene = scenes.Scene("small", item, scenes.person_parse(item.parse_agnostic))
    reports: list[str] = []
    paths = {"plain": cascades["plain"], "fast float32": cascades["fast"]}
    (table,) = bench.compare(paths, scene, rounds=1, report=reports.append).values()
    assert [row["stage"] for row in table] == list(bench.STAGES)
    assert len(reports) == 3
    rows = {row["stage"]: row for row in table}
    assert rows["segmentation"]["max_difference"] == 0
    for row in table:
        assert row["ratio"] == pytest.approx(row["fast_s"] / row["plain_s"], rel=0.1)
        assert row["mean_difference"] <= row["max_difference"] < 1e-3
