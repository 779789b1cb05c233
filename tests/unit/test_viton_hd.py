"""The VITON-HD networks equal the published definitions: keys, shapes, outputs for seeded weights."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.vectors import seeded
from worker.viton_hd import spline
from worker.viton_hd.alias import AliasGenerator
from worker.viton_hd.inputs import divided_parse
from worker.viton_hd.matching import GeometricMatching
from worker.viton_hd.segmentation import SegmentationGenerator

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
SHAPES = json.loads((VECTORS / "state_dict_shapes.json").read_text())
NETWORKS = {"seg": SegmentationGenerator, "gmm": GeometricMatching, "alias": AliasGenerator}
HEIGHT, WIDTH = 512, 384  # of the ALIAS vectors


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    with np.load(VECTORS / "viton_hd.npz") as arrays:
        return dict(arrays)


def seeded_network(name: str) -> nn.Module:
    entries = seeded.state_dict({f"{name}.{key}": tuple(shape) for key, shape in SHAPES[name].items()})
    state = {key.removeprefix(f"{name}."): torch.from_numpy(np.asarray(a)) for key, a in entries.items()}
    with torch.device("meta"):
        network = NETWORKS[name]()
    network.load_state_dict(state, strict=True, assign=True)
    return network.eval()


@pytest.fixture(scope="module")
def generator() -> AliasGenerator:
    return seeded_network("alias")


def joined(*parts: np.ndarray) -> Tensor:
    return torch.from_numpy(np.concatenate(parts))[None]


@pytest.mark.parametrize("name", NETWORKS)
def test_keys_and_shapes_are_the_published_ones(name):
    with torch.device("meta"):
        state = NETWORKS[name]().state_dict()
    assert {key: list(value.shape) for key, value in state.items()} == SHAPES[name]


@torch.inference_mode()
def test_the_segmentation_generator_gives_the_expected_scores(expected):
    given = joined(
        seeded.one_hot(seeded.label_map("seg-mask", 2, 256, 192), 2)[1:],
        seeded.image("seg-cloth", 3, 256, 192),
        seeded.one_hot(seeded.label_map("seg-parse", 13, 256, 192), 13),
        seeded.image("seg-pose", 3, 256, 192),
        np.zeros((1, 256, 192), np.float32),
    )
    scores = seeded_network("seg")(given)[0]
    np.testing.assert_allclose(scores[:, ::4, ::4], expected["seg_every_4"], rtol=0, atol=1e-4)


@torch.inference_mode()
def test_matching_gives_the_expected_offsets(expected):
    person = joined(
        seeded.one_hot(seeded.label_map("gmm-region", 2, 256, 192), 2)[1:],
        seeded.image("gmm-pose", 3, 256, 192),
        seeded.image("gmm-agnostic", 3, 256, 192),
    )
    theta = seeded_network("gmm")(person, joined(seeded.image("gmm-cloth", 3, 256, 192)))
    np.testing.assert_allclose(theta[0], expected["theta"], rtol=0, atol=1e-4)


@pytest.mark.parametrize("grid_of", [spline.grid, spline.fast_grid])
def test_the_spline_gives_the_expected_grid_and_garment(grid_of, expected):
    grid = grid_of(torch.from_numpy(expected["theta"])[None], 1024, 768)
    np.testing.assert_allclose(grid[0, ::16, ::16], expected["grid_every_16"], rtol=0, atol=1e-4)
    garment = joined(seeded.image("gmm-cloth-full", 3, 1024, 768, cells=24))
    warped = functional.grid_sample(garment, grid, padding_mode="border", align_corners=False)[0]
    np.testing.assert_allclose(warped[:, ::8, ::8], expected["warped_every_8"], rtol=0, atol=1e-4)


def alias_inputs(name: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    parse = joined(seeded.one_hot(seeded.label_map("alias-parse", 7, HEIGHT, WIDTH), 7))
    warped_mask = joined(seeded.one_hot(seeded.label_map("alias-warped-mask", 2, HEIGHT, WIDTH), 2)[1:])
    if name == "alias_aligned":
        warped_mask = torch.ones_like(warped_mask)
    seen = joined(
        seeded.image("alias-agnostic", 3, HEIGHT, WIDTH),
        seeded.image("alias-pose", 3, HEIGHT, WIDTH),
        seeded.image("alias-warped", 3, HEIGHT, WIDTH, cells=24),
    )
    return seen, parse, *divided_parse(parse, warped_mask)


@torch.inference_mode()
@pytest.mark.parametrize("name", ["alias", "alias_aligned"])
def test_the_alias_generator_gives_the_expected_picture(name, generator, expected):
    picture = generator(*alias_inputs(name))[0]
    np.testing.assert_allclose(picture[:, ::4, ::4], expected[f"{name}_every_4"], rtol=0, atol=1e-4)
