"""`tryon bench cascade`: scenes and command line; the comparison itself is tested in test_viton_hd.py."""

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
from worker.lab.cascade_bench import bench, lower_bounds, scenes, seeded_weights
from worker.viton_hd.alias import AliasGenerator
from worker.viton_hd.dense_alias import DenseAlias
from worker.viton_hd.inputs import TryOnInput
from worker.viton_hd.labels import UPPER
from worker.viton_hd.layers import SpectralConv2d


def scene(**changes) -> scenes.Scene:
    rng = np.random.default_rng(0)

    def rgb() -> np.ndarray:
        return rng.integers(0, 256, (8, 6, 3), np.uint8)

    maps = rng.integers(0, 20, (2, 8, 6), np.uint8)
    item = TryOnInput(rgb(), rgb(), maps[0], rgb(), maps[1], seed=5)
    return scenes.Scene(**{"title": "a scene", "item": item, "parse": rng.integers(0, 7, (8, 6))} | changes)


@pytest.mark.parametrize("changes", [{}, {"parse": None}], ids=["parse", "no parse"])
def test_a_scene_is_loaded_as_it_was_saved(changes, tmp_path):
    saved = scene(**changes)
    scenes.save_scene(saved, tmp_path / "scene.npz")
    loaded = scenes.load_scene(tmp_path / "scene.npz")
    assert loaded.title == saved.title
    assert loaded.item.seed == 5
    for name in ("pose", "image_agnostic", "parse_agnostic", "garment", "garment_mask"):
        np.testing.assert_array_equal(getattr(loaded.item, name), getattr(saved.item, name))
    assert (loaded.parse is None) == (saved.parse is None)
    if saved.parse is not None:
        np.testing.assert_array_equal(loaded.parse, saved.parse)


def test_label_windows_are_counted_in_the_scenes_parse():
    assert scenes.count_label_windows(scene(parse=None)) is None
    # One label: the windows differ only near the edges, by 5 positions down and 5 across.
    assert scenes.count_label_windows(scene(parse=np.full((20, 20), 2))) == 25
    noisy, smooth = scenes.noisy_parse(256, 192), np.full((256, 192), 2)
    assert set(np.unique(noisy)) == set(range(7))
    assert (
        scenes.count_label_windows(scene(parse=noisy))
        > 1000
        > scenes.count_label_windows(scene(parse=smooth))
    )


def test_the_persons_upper_clothes_are_the_garments_region():
    assert scenes.person_parse(np.array([[Part.UPPER_CLOTHES, Part.BACKGROUND]])).tolist() == [[UPPER, 0]]


def test_seeded_weights_are_reproducible_and_normalised(tmp_path, monkeypatch):
    monkeypatch.setattr(seeded_weights, "SegmentationGenerator", lambda: torch.nn.Linear(3, 2))
    monkeypatch.setattr(seeded_weights, "GeometricMatching", lambda: torch.nn.Conv2d(3, 2, 3))
    monkeypatch.setattr(seeded_weights, "AliasGenerator", lambda: SpectralConv2d(16, 8, 3))
    first, second = (
        [torch.load(file, weights_only=True) for file in seeded_weights.write_seeded_weights(tmp_path)]
        for _ in range(2)
    )
    for state, same_state in zip(first, second, strict=True):
        assert all(torch.equal(state[key], same_state[key]) for key in state)
    convolution = SpectralConv2d(16, 8, 3).eval()
    convolution.load_state_dict(first[2])
    assert torch.linalg.matrix_norm(convolution.weight().flatten(1), 2).item() == pytest.approx(1, abs=0.05)


def test_the_requested_type_is_measured_besides_float32():
    assert bench.fast_paths("cpu", None) == ["fast float32"]
    assert bench.fast_paths("cpu", "bfloat16") == ["fast float32", "fast bfloat16"]


def test_the_work_is_that_of_the_published_size():
    with torch.device("meta"):
        generator = AliasGenerator().eval()
    gflop, gigabytes = lower_bounds.count_work(
        DenseAlias(generator, torch.bfloat16, compile=False), 1024, 768
    )
    assert gflop == pytest.approx(1637, rel=0.01)
    # The outputs of the convolutions at the largest scale alone, two bytes each.
    assert gigabytes > 2 * 1024 * 768 * (80 + 128 + 160 + 32 + 64) / 1e9
    doubled = lower_bounds.count_work(DenseAlias(generator, torch.float32, compile=False), 1024, 768)
    assert doubled == pytest.approx((gflop, 2 * gigabytes))


def test_a_devices_speed_is_measured():
    tflops, gigabytes_per_s = lower_bounds.measure_speed(torch.device("cpu"), torch.float32, side=64, mib=1)
    assert tflops > 0
    assert gigabytes_per_s > 0
    bounds = lower_bounds.LowerBounds(gflop=500, gigabytes=3, tflops=50, gigabytes_per_s=1000)
    assert (bounds.arithmetic_s, bounds.bandwidth_s) == (0.01, 0.003)


def test_a_gpus_memory_and_lower_bounds_are_printed(capsys):
    peaks = {path: dict.fromkeys(("start", "loaded", "peak"), 500) for path in ("plain", "fast bfloat16")}
    peaks["plain"]["device_peak"], peaks["fast bfloat16"]["device_peak"] = 8000, 2000
    console = Console(width=200)
    bench_cascade._print_memory(console, {"title": "a scene", "memory_mib": peaks}, on_gpu=True)
    bounds = lower_bounds.LowerBounds(gflop=500, gigabytes=3, tflops=50, gigabytes_per_s=1000)
    bench_cascade._print_lower_bounds(console, {"fast bfloat16": bounds.record()})
    printed = capsys.readouterr().out
    assert "on the GPU" in printed
    assert "0.250" in printed
    assert re.search(r"fast bfloat16 .*500\.00 .*10\.00 .*3\.00 ", printed)


def test_a_failed_memory_measurement_quotes_the_processs_error(tmp_path):
    missing = tmp_path / "none.npz"
    with pytest.raises(RuntimeError, match=r"none\.npz"):
        bench.peak_mib((missing, missing, missing), "cpu", "plain", missing)


@pytest.mark.parametrize(("text", "sizes"), [("1,2,8", [1, 2, 8]), ("", []), (" 4 ", [4])])
def test_batch_sizes_are_whole_numbers(text, sizes):
    assert bench_cascade._batch_sizes(text) == sizes


@pytest.mark.parametrize("text", ["0", "two", "1,-2"])
def test_invalid_batch_sizes_are_rejected(text):
    with pytest.raises(typer.BadParameter, match="whole numbers"):
        bench_cascade._batch_sizes(text)


def test_bench_measures_the_stack_and_bench_cascade_the_cascade(monkeypatch):
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
