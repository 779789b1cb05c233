import cv2
import numpy as np
import pytest
import torch

from config.errors import WeightsMissingError
from worker.cloth.garment_model import load_forward
from worker.cloth.garment_output import ATTRIBUTES, HEATMAP_STRIDE, SLEEVES, GarmentOutput
from worker.cloth.garment_reader import (
    MIRROR,
    GarmentReader,
    decode,
    peaks,
    rotation_of,
    sleeve_by_length,
)
from worker.cloth.landmarks import NAMES
from worker.lab.encoder import normalize
from worker.lab.garment_training import bank, examples
from worker.lab.garment_training import compose as composing
from worker.lab.garment_training.compose import ComposeSettings, compose, project
from worker.lab.garment_training.drawn import PaintSettings, drawn
from worker.lab.garment_training.export import export, export_network
from worker.lab.garment_training.network import GarmentNetwork, NetworkShape, forward_of
from worker.lab.garment_training.outline import FAMILIES, random_garment
from worker.lab.garment_training.train import TrainSettings, course

TINY = NetworkShape(pyramid=8, fine=8, hidden=8)
SIZE = 96
PLAIN = ComposeSettings(
    upright=0.0, tilted=0.0, cut=0.0, perspective=0.0, stretch=0.0, hanger=0.0, tag=0.0, hand=0.0,
    padded=0.0, fill_layer=(0.9, 0.9),
)  # fmt: skip


@pytest.fixture(scope="module")
def network() -> GarmentNetwork:
    torch.manual_seed(0)
    return GarmentNetwork(TINY).eval()


@pytest.fixture(scope="module")
def garments() -> list[examples.Example]:
    rng = np.random.default_rng(3)
    return [drawn(rng, [], PaintSettings(lower=0.0)) for _ in range(12)]


def _photo(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_the_network_gives_every_head_at_its_own_resolution(network: GarmentNetwork) -> None:
    output = network(normalize(torch.from_numpy(_photo(64, 96))[None]))

    assert output.mask.shape == (1, 1, 32, 48)
    assert output.maps.shape == (1, len(NAMES), 16, 24)
    assert {name: logits.shape[1] for name, logits in output.attributes.items()} == {
        name: len(values) for name, values in ATTRIBUTES.items()
    }
    assert output.present.shape == (1, len(NAMES))


def test_the_shipped_network_has_two_to_six_million_parameters() -> None:
    count = sum(value.numel() for value in GarmentNetwork().parameters())

    assert 2e6 < count < 6e6


def test_a_peak_between_cells_is_found_to_a_tenth_of_a_cell() -> None:
    wanted = np.array([37.3, 21.9])
    y, x = np.mgrid[:24, :24]
    cells = wanted / HEATMAP_STRIDE - 0.5
    one = np.exp(-((x - cells[0]) ** 2 + (y - cells[1]) ** 2) / 2)

    points, mass = peaks((one / one.sum())[None].astype(np.float32), window=3)

    assert np.abs(points[0] - wanted).max() < 0.1 * HEATMAP_STRIDE
    assert mass[0] > 0.95


def test_a_second_lower_peak_does_not_pull_the_landmark() -> None:
    maps = np.zeros((1, 24, 24), np.float32)
    maps[0, 4, 5], maps[0, 20, 20] = 0.6, 0.4

    points, mass = peaks(maps, window=3)

    assert points[0] == pytest.approx([22, 18])
    assert mass[0] == pytest.approx(0.6)


def test_mirrored_landmarks_exchange_right_and_left() -> None:
    assert [NAMES[index] for index in MIRROR[:5]] == [
        "l_neck",
        "r_neck",
        "neck_front",
        "l_shoulder",
        "r_shoulder",
    ]
    assert [MIRROR[index] for index in MIRROR] == list(range(len(NAMES)))
    assert composing.MIRROR == MIRROR


def test_a_picture_and_its_mirror_image_are_read_as_one() -> None:
    maps = np.full((2, len(NAMES), 16, 16), -20.0, np.float32)
    for index in range(len(NAMES)):
        maps[0, index, index, 3] = 20.0
        maps[1, MIRROR[index], index, 15 - 3] = 20.0
    present = np.full((2, len(NAMES)), 9.0, np.float32)
    output = GarmentOutput(np.zeros((2, 1, 32, 32), np.float32), maps, present, _attributes(2))

    seen = decode(output, np.ones((64, 64), bool))

    cells = seen.points / HEATMAP_STRIDE - 0.5
    assert cells[:, 0] == pytest.approx(3, abs=0.01)
    assert cells[:, 1] == pytest.approx(np.arange(len(NAMES)), abs=0.01)
    assert seen.confidence.min() > 0.99
    assert seen.rotation == pytest.approx(0, abs=1), "the neck is right above the hem"


def test_blank_ground_is_no_garment_whatever_the_network_says() -> None:
    """A network marks the blank part of a tall photograph at times; it was seen with shop photographs."""
    mask = np.full((1, 1, 32, 32), -9.0, np.float32)
    mask[0, 0, 2:10, 8:24] = 9.0  # the garment
    mask[0, 0, 18:30, 4:28] = 4.0  # blank ground
    maps = np.full((1, len(NAMES), 16, 16), -20.0, np.float32)
    maps[:, :, 12, 8] = 20.0
    structure = np.zeros((64, 64), bool)
    structure[4:20, 14:20] = True
    output = GarmentOutput(mask, maps, np.full((1, len(NAMES)), 9.0, np.float32), _attributes(1))

    seen = decode(output, structure)

    assert (seen.mask[2:10, 8:24] > 0.9).all()
    assert (seen.mask[12:] < 0.1).all()
    assert not seen.structured.any(), "landmarks on blank ground are not used for the crop"


def _attributes(count: int) -> dict[str, np.ndarray]:
    return {name: np.zeros((count, len(values)), np.float32) for name, values in ATTRIBUTES.items()}


def _find_colours(pictures: np.ndarray) -> GarmentOutput:
    """Stands for a trained network: the hem is where it is green, all other landmarks where it is red."""
    count, side = len(pictures), pictures.shape[1]
    cells = (count, side // HEATMAP_STRIDE, HEATMAP_STRIDE, side // HEATMAP_STRIDE, HEATMAP_STRIDE, 3)
    level = pictures.reshape(cells).mean((2, 4)).transpose(0, 3, 1, 2) / 64
    maps = np.stack([40 * level[:, int("hem" in name)] for name in NAMES], 1).astype(np.float32)
    mask = np.full((count, 1, side // 2, side // 2), -9.0, np.float32)
    quarter = side // 8
    mask[..., quarter:-quarter, quarter:-quarter] = 9.0
    return GarmentOutput(mask, maps, np.full((count, len(NAMES)), 9.0, np.float32), _attributes(count))


@pytest.mark.parametrize("degrees", [0, 40, 90, 180, -90, -135])
def test_landmarks_come_back_to_the_photograph_through_all_passes(degrees: int) -> None:
    turn = np.deg2rad(degrees)
    up = 60 * np.array([np.sin(turn), -np.cos(turn)])
    neck, hem = np.array([110, 150]) + up, np.array([110, 150]) - up
    photo = np.zeros((300, 220, 3), np.uint8)
    cv2.circle(photo, tuple(int(value) for value in neck), 11, (255, 0, 0), -1)
    cv2.circle(photo, tuple(int(value) for value in hem), 11, (0, 255, 0), -1)

    reading = GarmentReader(_find_colours, SIZE).read(photo)

    for name, point in zip(NAMES, reading.points, strict=True):
        assert np.abs(point - (hem if "hem" in name else neck)).max() < 8, name
    assert reading.mask_of_photo(300, 220).shape == (300, 220)
    assert (reading.rotation - degrees + 180) % 360 - 180 == pytest.approx(0, abs=4)


def test_a_garment_without_a_hem_counts_as_upright() -> None:
    points = np.tile([[10.0, 20.0]], (len(NAMES), 1))
    confidence = np.array([0.0 if "hem" in name else 1.0 for name in NAMES], np.float32)
    assert rotation_of(points, confidence) == 0
    assert rotation_of(points, np.ones(len(NAMES), np.float32)) == 0, "both ends at one place"


@pytest.mark.parametrize(("height", "width"), [(1, 1), (700, 20), (20, 700), (533, 400)])
def test_any_shape_of_photograph_is_read(network: GarmentNetwork, height: int, width: int) -> None:
    reading = GarmentReader(forward_of(network), SIZE).read(_photo(height, width))

    assert np.isfinite(reading.points).all()
    assert reading.points.shape == (len(NAMES), 2)
    assert all(values.sum() == pytest.approx(1, abs=1e-4) for values in reading.attributes.values())
    assert -180 <= reading.rotation <= 180


def test_the_length_that_landmarks_show_decides_between_cap_and_short() -> None:
    index = {name: i for i, name in enumerate(NAMES)}
    points, sure = np.zeros((len(NAMES), 2)), np.ones(len(NAMES), np.float32)
    points[index["r_shoulder"]], points[index["l_shoulder"]] = (0, 0), (100, 0)
    points[index["r_cuff_outer"]], points[index["l_cuff_outer"]] = (-18, 4), (118, 4)
    doubtful = np.array([0.1, 0.0, 0.4, 0.5, 0.0, 0.0], np.float32)

    weighed = sleeve_by_length(doubtful, points, sure)

    assert SLEEVES[int(np.argmax(weighed))] == "cap"
    assert weighed[0] == pytest.approx(0.1)
    assert weighed.sum() == pytest.approx(1, abs=1e-5)
    assert (sleeve_by_length(doubtful, points, 0 * sure) == doubtful).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_drawn_up_with_its_landmarks(family: str) -> None:
    for seed in range(8):
        garment = random_garment(np.random.default_rng(seed), family)

        body = {name for name in NAMES if "cuff" not in name}
        assert body <= set(garment.points)
        cuffs = sum("cuff" in name for name in garment.points)
        assert cuffs == (0 if garment.sleeve in ("none", "strap") else 4)
        assert garment.points["r_shoulder"][0] < garment.points["l_shoulder"][0]
        assert all(np.isfinite(part.outline).all() for part in garment.parts)


def test_drawn_landmarks_lie_on_the_garment_near_its_outline(garments: list[examples.Example]) -> None:
    import cv2

    on_outline = [
        NAMES.index(name) for name in ("r_hem", "l_hem", "hem_centre", "r_cuff_outer", "l_cuff_outer")
    ]
    for example in garments:
        solid = (example.rgba[..., 3] >= 128).astype(np.uint8)
        outside = cv2.distanceTransform(1 - solid, cv2.DIST_L2, 5)
        inside = cv2.distanceTransform(solid, cv2.DIST_L2, 5)
        for index in np.flatnonzero(example.weights > 0):
            x, y = np.clip(np.floor(example.points[index]).astype(int), 0, examples.SIZE - 1)
            assert outside[y, x] < 0.03 * examples.SIZE
        hems = [index for index in on_outline[:3] if example.weights[index] > 0]
        for index in hems:
            x, y = np.clip(np.floor(example.points[index]).astype(int), 0, examples.SIZE - 1)
            assert inside[y, x] < 0.06 * examples.SIZE


def test_an_example_survives_its_bank(garments: list[examples.Example], tmp_path) -> None:
    assert bank.write(tmp_path, garments[:3]) == 3
    assert bank.write(tmp_path, garments[3:4], replace=False) == 4

    kept = bank.Bank(tmp_path)[3]

    assert (kept.rgba == garments[3].rgba).all()
    assert kept.points == pytest.approx(garments[3].points)
    assert kept.attributes == garments[3].attributes
    assert kept.layer


@pytest.mark.parametrize("seed", range(6))
def test_a_composed_garment_keeps_its_landmarks_on_its_mask(seed: int) -> None:
    rgba = np.zeros((examples.SIZE, examples.SIZE, 4), np.uint8)
    rgba[60:180, 90:150] = 255
    example = examples.Example(rgba, layer=True, mask_known=True, rotation=0.0)
    index = {name: i for i, name in enumerate(NAMES)}
    for name, point in (
        ("r_hem", (90, 180)),
        ("l_hem", (150, 180)),
        ("r_neck", (90, 60)),
        ("l_neck", (150, 60)),
    ):
        example.points[index[name]], example.weights[index[name]] = point, 1.0

    sample = compose(np.random.default_rng(seed), example, SIZE, [], PLAIN)

    # Up is where the necks are, and the wearer's right is on the left of the upright garment.
    found = sample.points[[index[name] for name in ("r_neck", "l_neck", "r_hem", "l_hem")]]
    up = (found[:2].mean(0) - found[2:].mean(0)) / np.linalg.norm(found[:2].mean(0) - found[2:].mean(0))
    across = found[1] - found[0]
    assert across @ (-up[1], up[0]) > 0
    ys, xs = np.nonzero(sample.mask >= 128)
    centre = 2 * np.array([xs.mean() + 0.5, ys.mean() + 0.5])
    assert centre == pytest.approx(found.mean(0), abs=1.5)


def test_a_homography_moves_points() -> None:
    moved = project(np.array([[2.0, 0, 1], [0, 2, 3], [0, 0, 1]]), np.array([[1.0, 2.0]]))

    assert moved[0] == pytest.approx([3, 7])


def test_the_learning_rate_rises_and_falls() -> None:
    settings = TrainSettings()

    assert course(0.0, settings) < 0.01
    assert course(settings.warm_up, settings) == pytest.approx(1)
    assert course(1.0, settings) == pytest.approx(settings.rate_end)


def test_the_exported_model_gives_what_the_network_gives(network: GarmentNetwork, tmp_path) -> None:
    export_network(network, tmp_path / "garment.onnx", SIZE)
    photo = _photo(120, 90)

    exported = GarmentReader(load_forward(tmp_path / "garment.onnx"), SIZE).read(photo)

    trained = GarmentReader(forward_of(network), SIZE).read(photo)
    assert exported.points == pytest.approx(trained.points, abs=0.05)
    assert exported.mask == pytest.approx(trained.mask, abs=1e-3)
    assert exported.rotation == pytest.approx(trained.rotation, abs=0.05)
    for name in ATTRIBUTES:
        assert exported.attributes[name] == pytest.approx(trained.attributes[name], abs=1e-3)


def test_only_the_weights_of_this_network_are_exported(tmp_path) -> None:
    weights = GarmentNetwork().state_dict()
    weights.pop("coarse.1.weight")
    torch.save(weights, tmp_path / "short.pt")

    with pytest.raises(WeightsMissingError, match="another network"):
        export([tmp_path / "short.pt"], tmp_path / "garment.onnx")


def test_a_file_that_is_no_model_is_not_loaded(tmp_path) -> None:
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(WeightsMissingError, match="damaged"):
        GarmentReader.load(tmp_path / "text.onnx")
    with pytest.raises(WeightsMissingError, match=r"none\.onnx is missing"):
        GarmentReader.load(tmp_path / "none.onnx")
