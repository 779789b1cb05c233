"""`tryon bench cascade`: its scenes and its command line; what it measures is in test_viton_hd.py."""

import re

import numpy as np
import pytest
import torch
import typer
from rich.console import Console
from typer.testing import CliRunner

from tasks.cli import bench as bench_cli
from tasks.cli import bench_cascade
from worker.images.maps import Part
from worker.lab.cascade_bench import bench, floors
from worker.viton_hd.alias import AliasGenerator
from worker.viton_hd.dense_alias import DenseAlias
from worker.viton_hd.inputs import TryOnInput
from worker.viton_hd.labels import UPPER
from worker.viton_hd.layers import SpectralConv2d


def scene(**changes) -> bench.Scene:
    rng = np.random.default_rng(0)

    def rgb() -> np.ndarray:
        return rng.integers(0, 256, (8, 6, 3), np.uint8)

    maps = rng.integers(0, 20, (2, 8, 6), np.uint8)
    item = TryOnInput(rgb(), rgb(), maps[0], rgb(), maps[1], seed=5)
    return bench.Scene(**{"title": "a scene", "item": item, "parse": rng.integers(0, 7, (8, 6))} | changes)


@pytest.mark.parametrize("changes", [{}, {"parse": None}], ids=["given parse", "own parse"])
def test_a_scene_comes_back_from_its_file(changes, tmp_path):
    kept = scene(**changes)
    bench.save(kept, tmp_path / "scene.npz")
    found = bench.saved(tmp_path / "scene.npz")
    assert found.title == kept.title
    assert found.item.seed == 5
    for name in ("pose", "image_agnostic", "parse_agnostic", "garment", "garment_mask"):
        np.testing.assert_array_equal(getattr(found.item, name), getattr(kept.item, name))
    assert (found.parse is None) == (kept.parse is None)
    if kept.parse is not None:
        np.testing.assert_array_equal(found.parse, kept.parse)


def test_windows_are_counted_where_the_parse_is_known():
    assert bench.label_windows(scene(parse=None)) is None
    # One label: the middle, and what the edges add: 5 places down by 5 across.
    assert bench.label_windows(scene(parse=np.full((20, 20), 2))) == 25
    noisy, smooth = bench.noisy_parse(256, 192), np.full((256, 192), 2)
    assert set(np.unique(noisy)) == set(range(7))
    assert bench.label_windows(scene(parse=noisy)) > 1000 > bench.label_windows(scene(parse=smooth))


def test_the_persons_clothes_are_the_garments_region():
    assert bench.persons_parse(np.array([[Part.UPPER_CLOTHES, Part.BACKGROUND]])).tolist() == [[UPPER, 0]]


def test_seeded_weights_are_the_same_again_and_normalised(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "SegmentationGenerator", lambda: torch.nn.Linear(3, 2))
    monkeypatch.setattr(bench, "GeometricMatching", lambda: torch.nn.Conv2d(3, 2, 3))
    monkeypatch.setattr(bench, "AliasGenerator", lambda: SpectralConv2d(16, 8, 3))
    first = [torch.load(file, weights_only=True) for file in bench.seeded_weights(tmp_path)]
    again = [torch.load(file, weights_only=True) for file in bench.seeded_weights(tmp_path)]
    for one, other in zip(first, again, strict=True):
        assert all(torch.equal(one[key], other[key]) for key in one)
    convolution = SpectralConv2d(16, 8, 3).eval()
    convolution.load_state_dict(first[2])
    assert torch.linalg.matrix_norm(convolution.weight().flatten(1), 2).item() == pytest.approx(1, abs=0.05)


def test_the_devices_type_is_measured_besides_float32():
    assert bench.fast_paths("cpu", None) == ["fast float32"]
    assert bench.fast_paths("cpu", "bfloat16") == ["fast float32", "fast bfloat16"]


def test_the_floors_are_those_of_the_published_size():
    with torch.device("meta"):
        generator = AliasGenerator().eval()
    gflop, gigabytes = floors.counted(DenseAlias(generator, torch.bfloat16, compile=False), 1024, 768)
    assert gflop == pytest.approx(1637, rel=0.01)
    # The main convolutions' and their norms' outputs at the largest scale alone, of two bytes each.
    assert gigabytes > 2 * 1024 * 768 * (80 + 128 + 160 + 32 + 64) / 1e9
    doubled = floors.counted(DenseAlias(generator, torch.float32, compile=False), 1024, 768)
    assert doubled == pytest.approx((gflop, 2 * gigabytes))


def test_a_device_is_measured():
    tflops, gigabytes_per_s = floors.peaks(torch.device("cpu"), torch.float32, side=64, megabytes=1)
    assert tflops > 0
    assert gigabytes_per_s > 0
    least = floors.Floors(gflop=500, gigabytes=3, tflops=50, gigabytes_per_s=1000)
    assert (least.arithmetic_s, least.bandwidth_s) == (0.01, 0.003)


def test_a_cards_memory_and_floors_are_shown(capsys):
    peaks = {path: dict.fromkeys(("start", "loaded", "peak"), 500) for path in ("plain", "fast bfloat16")}
    peaks["plain"]["device_peak"], peaks["fast bfloat16"]["device_peak"] = 8000, 2000
    console = Console(width=200)
    bench_cascade._print_memory(console, {"title": "a scene", "memory_mib": peaks}, on_card=True)
    found = floors.Floors(gflop=500, gigabytes=3, tflops=50, gigabytes_per_s=1000).record()
    bench_cascade._print_floors(console, {"fast bfloat16": found})
    shown = capsys.readouterr().out
    assert "on the card" in shown
    assert "0.250" in shown
    assert re.search(r"fast bfloat16 .*500\.00 .*10\.00 .*3\.00 ", shown)


def test_a_process_that_fails_to_measure_memory_says_why(tmp_path):
    missing = tmp_path / "none.npz"
    with pytest.raises(RuntimeError, match=r"none\.npz"):
        bench.peak_mib((missing, missing, missing), "cpu", "plain", missing)


@pytest.mark.parametrize(("text", "sizes"), [("1,2,8", [1, 2, 8]), ("", []), (" 4 ", [4])])
def test_batches_are_whole_numbers(text, sizes):
    assert bench_cascade._sizes(text) == sizes


@pytest.mark.parametrize("text", ["0", "two", "1,-2"])
def test_other_batches_are_refused(text):
    with pytest.raises(typer.BadParameter, match="whole numbers"):
        bench_cascade._sizes(text)


def test_bench_runs_the_stack_and_bench_cascade_the_cascade(monkeypatch):
    ran = []
    monkeypatch.setattr(
        "worker.lab.demo.variants.people", lambda folder: ran.append(("stack", folder)) or 1 / 0
    )
    monkeypatch.setattr(
        bench_cascade, "_person_and_garment", lambda *files: ran.append(("cascade", *files)) or 1 / 0
    )
    runner = CliRunner()
    for arguments in ([], ["--n-people", "3"], ["cascade"], ["cascade", "--noisy"]):
        assert isinstance(runner.invoke(bench_cli.app, arguments).exception, ZeroDivisionError)
    assert ran == [("stack", None)] * 2 + [("cascade", None, None)] * 2
