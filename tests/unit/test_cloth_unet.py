"""The U-Net of the garment mask: the layout of its checkpoint, its arithmetic, its use in the stage."""

import hashlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from config.errors import GarmentMaskError, WeightsMissingError
from config.settings import ConfigurationError, settings
from tests.support.garment import garment_reader
from tests.vectors import seeded
from worker import weights
from worker.artifacts.bundle import encode_png
from worker.cloth import unet
from worker.cloth.garment import prepare
from worker.cloth.mask import Cutout, cut_along, cut_out
from worker.contract import Host, StageInput
from worker.images.arrays import Canvas, Flags, Image
from worker.lab.demo import garments
from worker.stages import table
from worker.stages.cloth import GarmentModel

VECTOR = Path(__file__).parents[1] / "vectors" / "cloth_unet.npz"

LAYOUT = "75d9199dc35864671947ed15b9b0aa6f457acf6bac1c9219c7132c2474609cc9"
"""sha256 of the 634 lines "key shape" of `Unet("timm-efficientnet-b3", encoder_weights=None, classes=1)` in
segmentation-models-pytorch 0.1.2 with timm 0.1.20, the releases of the time of the published weights; 0.1.3
with timm 0.3.2 gives the same."""


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    """Weights generated from their names, like those of the test vector."""
    shapes = {key: tuple(value.shape) for key, value in unet.network().state_dict().items()}
    generated = seeded.state_dict({f"cloth-unet.{key}": shape for key, shape in shapes.items()})
    return {key: torch.from_numpy(np.asarray(generated[f"cloth-unet.{key}"])) for key in shapes}


@pytest.fixture(scope="module")
def models_dir(state: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with a checkpoint of the published layout: Lightning's, every key under `model.`."""
    folder = tmp_path_factory.mktemp("cloth-unet")
    torch.save(
        {"epoch": 67, "state_dict": {f"model.{key}": value for key, value in state.items()}},
        folder / "weights.ckpt",
    )
    weights.add(folder / "weights.ckpt", folder / "models", name="cloth-unet", trust=trust)
    return folder / "models"


@pytest.fixture(scope="module")
def segmenter(models_dir: Path) -> unet.ClothSegmenter:
    return unet.ClothSegmenter(models_dir)


@pytest.fixture
def unet_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Settings that select the network, and an empty models folder."""
    monkeypatch.setenv("TRYON_CLOTH_MASK", "unet")
    monkeypatch.setenv("TRYON_DATA_DIR", str(tmp_path))
    settings.cache_clear()
    yield
    settings.cache_clear()


def test_keys_and_shapes_are_those_of_the_published_weights() -> None:
    listing = "".join(f"{key} {list(value.shape)}\n" for key, value in unet.network().state_dict().items())
    assert hashlib.sha256(listing.encode()).hexdigest() == LAYOUT


def test_computes_the_results_of_the_published_librarys_release(
    state: dict[str, torch.Tensor],
) -> None:
    network = unet.network()
    network.load_state_dict(state, strict=True)
    x = 2 * torch.from_numpy(seeded.image("cloth-unet", 3, 256, 192, cells=24))[None]
    with torch.inference_mode():
        logits = network(x)[0, 0, ::16, ::16].numpy()
    expected = np.load(VECTOR)["logits_every_16"]
    assert expected.std() > 0.03
    np.testing.assert_allclose(logits, expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(1024, 768), (600, 450), (97, 203)])
def test_segments_each_pixel_of_a_photograph(segmenter: unet.ClothSegmenter, shape: tuple[int, int]) -> None:
    photo = cv2.resize(garments.draw(garments.NAMES[0]), shape[::-1], interpolation=cv2.INTER_AREA)
    mask = segmenter.segment(photo)
    assert (mask.shape, mask.dtype) == (shape, np.bool_)
    assert mask.any()
    assert not mask.all()


def test_preprocesses_like_the_published_code(
    segmenter: unet.ClothSegmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs: list[torch.Tensor] = []

    def network(x: torch.Tensor) -> torch.Tensor:
        inputs.append(x)
        return x[:, :1]  # the logit of a pixel is its red channel, normalised

    monkeypatch.setattr(segmenter, "_network", network)
    photo = np.zeros((70, 45, 3), np.uint8)
    photo[10:60, 5:40] = (200, 100, 50)
    mask = segmenter.segment(photo)
    (x,) = inputs
    assert x.shape == (1, 3, 96, 64)
    black, garment = x[0, :, 0, 0], x[0, :, 13 + 20, 9 + 20]
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(black, -mean / std, rtol=1e-5)
    np.testing.assert_allclose(garment, (np.array([200, 100, 50]) / 255 - mean) / std, rtol=1e-5)
    np.testing.assert_array_equal(mask, photo[..., 0] == 200)

    large = cv2.resize(photo, (1125, 1750), interpolation=cv2.INTER_NEAREST)
    mask = segmenter.segment(large)
    assert inputs[-1].shape == (1, 3, 1024, 672)
    assert mask.shape == large.shape[:2]
    assert np.mean(mask != (large[..., 0] == 200)) < 0.005


class TestFiles:
    def add(self, tmp_path: Path, document: Any) -> None:
        torch.save(document, tmp_path / "cloth_unet.pth")
        weights.add(tmp_path / "cloth_unet.pth", tmp_path / "models", trust=trust)

    def test_another_network_is_not_installed(self, tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
        lacking = {key: value for key, value in state.items() if not key.startswith("segmentation_head")}
        with pytest.raises(WeightsMissingError, match=r"2 missing: segmentation_head\.0\.weight"):
            self.add(tmp_path, lacking)
        wider = state | {"segmentation_head.0.weight": torch.zeros(2, 16, 3, 3)}
        with pytest.raises(WeightsMissingError, match=r"of another shape: segmentation_head\.0\.weight"):
            self.add(tmp_path, {"state_dict": wider})
        assert not (tmp_path / "models" / "cloth_unet.pth").exists()

    @pytest.mark.parametrize("damage", ["truncated", "altered"])
    def test_a_damaged_file_is_not_loaded(self, tmp_path: Path, models_dir: Path, damage: str) -> None:
        data = bytearray((models_dir / "cloth_unet.pth").read_bytes())
        data[len(data) // 2] ^= 1
        (tmp_path / "cloth_unet.pth").write_bytes(data[:-1000] if damage == "truncated" else data)
        (tmp_path / "cloth_unet.pth.sha256").write_bytes((models_dir / "cloth_unet.pth.sha256").read_bytes())
        with pytest.raises(WeightsMissingError, match="tryon weights fetch cloth-unet"):
            unet.ClothSegmenter(tmp_path)

    def test_a_missing_file_is_reported(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsMissingError, match="tryon weights fetch cloth-unet"):
            unet.ClothSegmenter(tmp_path)


def synthetic(background: str) -> tuple[Canvas, Flags]:
    """A synthetic garment on a background, and its mask."""
    photo = garments.draw("word_tee")
    truth = cut_out(photo).alpha >= 128
    if background == "busy":
        rng = np.random.default_rng(3)
        tiles = np.kron(rng.integers(0, 256, (32, 24, 3)), np.ones((32, 32, 1))).astype(np.uint8)
        photo = np.where(truth[..., None], photo, tiles)
    return photo, np.asarray(truth)


@pytest.mark.parametrize("background", ["plain", "busy"])
def test_feathers_the_outline_of_the_networks_mask(background: str) -> None:
    photo, truth = synthetic(background)
    cutout = cut_along(photo, truth)
    garment = cutout.alpha >= 128
    assert np.sum(garment & truth) / np.sum(garment | truth) > 0.99
    inside = cv2.erode(truth.astype(np.uint8), np.ones((9, 9))) > 0
    outside = cv2.dilate(truth.astype(np.uint8), np.ones((9, 9))) == 0
    assert cutout.alpha[inside].min() == 255
    assert cutout.alpha[outside].max() == 0
    np.testing.assert_array_equal(cutout.image[inside], photo[inside])


def test_removes_specks(segmenter: unet.ClothSegmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    photo, truth = synthetic("plain")
    speckled = truth.copy()
    speckled[20:30, 20:30] = True
    monkeypatch.setattr(segmenter, "segment", lambda image: speckled)
    assert segmenter.cut_out(photo).alpha[:40, :40].max() == 0


@pytest.mark.parametrize("everything", [True, False])
def test_rejects_a_mask_that_is_no_garment(
    segmenter: unet.ClothSegmenter, monkeypatch: pytest.MonkeyPatch, everything: bool
) -> None:
    photo, _ = synthetic("plain")
    monkeypatch.setattr(segmenter, "segment", lambda image: np.full(image.shape[:2], everything))
    with pytest.raises(GarmentMaskError):
        prepare(photo, garment_reader(), segmenter.cut_out)


def trust(weight: weights.Weight, digest: str, size: int) -> bool:
    """Trust the file of this test, which has no published hash."""
    return weight.name == "cloth-unet"


HOST = Host(Path("models"), "cpu", 1)


class TestStage:
    def bundle(self, model: Any) -> dict[str, Any]:
        row = table.stage("cloth")
        photo, _ = synthetic("busy")
        inputs = StageInput(
            sources={"cloth": encode_png(photo)},
            names={"cloth": "tee.png"},
            artifacts={},
            options={"category": "upper_body"},
        )
        method = table.method(row)
        return dict(method.run(model or method.load(HOST), inputs))

    def test_runs_the_network_that_the_settings_select(self, unet_settings: None) -> None:
        _, truth = synthetic("busy")

        def cut(photo: Image) -> Cutout:
            return cut_along(photo, truth)

        bundle = self.bundle(GarmentModel(garment_reader(), cut))
        assert bundle["details.json"]["mask"] == "unet"
        assert bundle["details.json"]["garment"]["kind"] == "top"
        assert bundle["mask.png"].shape == (1024, 768)

    def test_the_artifact_key_depends_on_the_method_and_the_weights(
        self, unet_settings: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        row = table.stage("cloth")

        def key() -> str:
            settings.cache_clear()
            options = table.selected(row, {"category": "upper_body"})
            return table.artifact_key(row, {"cloth": b"photo"}, {}, options)

        with pytest.raises(WeightsMissingError, match="tryon weights fetch cloth-unet"):
            key()
        keys = []
        for digest in ("0" * 64, "1" * 64):
            settings().models_dir.mkdir(exist_ok=True)
            (settings().models_dir / "cloth_unet.pth.sha256").write_text(f"{digest}  cloth_unet.pth\n")
            keys.append(key())
        for setting in ("auto", "network"):
            monkeypatch.setenv("TRYON_CLOTH_MASK", setting)
            keys.append(key())
        assert keys[2] == keys[3], "auto selects the garment network"
        assert len(set(keys)) == 3

    def test_a_worker_checks_the_weights_before_it_starts(self, unet_settings: None) -> None:
        row = table.stage("cloth")
        assert table.method(row).name == "unet"
        with pytest.raises(WeightsMissingError, match="tryon weights fetch cloth-unet"):
            table.check(row)

    def test_a_missing_package_is_reported(
        self, unet_settings: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(ConfigurationError, match=r"TRYON_CLOTH_MASK=unet.* needs .* the extra `worker`"):
            table.check(table.stage("cloth"))

    def test_the_garment_network_is_the_default(self) -> None:
        assert settings().cloth_mask == "auto"
        assert table.method(table.stage("cloth")).name == "network"
