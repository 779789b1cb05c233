"""The weight file of FASHN VTON: loaded strictly, anything else refused by name; and its benchmark."""

import json
import math
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from config.errors import WeightsMissingError
from config.settings import settings
from tests.support import fashn_vton
from tests.support.fashn_vton import SHAPES, TINY
from worker import weights
from worker.contract import Host
from worker.fashn_vton.engine import WEIGHTS, FashnVtonEngine
from worker.fashn_vton.files import check, load_network
from worker.fashn_vton.network import Sizes
from worker.lab import fashn_bench

LENGTH_BYTES = 8
"""Bytes of a safetensors file before its header: the header's length."""


@pytest.fixture
def tiny_file(tmp_path) -> Path:
    file = tmp_path / "model.safetensors"
    save_file(fashn_vton.state_dict(), file)
    return file


def sparse_file(file: Path, shapes: dict[str, list[int]]) -> Path:
    """Write a safetensors file of bfloat16 zeros that takes no space on the disk."""
    header, end = {}, 0
    for key, shape in shapes.items():
        start, end = end, end + math.prod(shape) * torch.bfloat16.itemsize
        header[key] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    with file.open("wb") as opened:
        opened.write(len(text).to_bytes(LENGTH_BYTES, "little") + text)
        opened.truncate(LENGTH_BYTES + len(text) + end)
    return file


def test_the_published_shapes_load_strictly_in_the_type_of_the_file(tmp_path):
    network = load_network(sparse_file(tmp_path / "model.safetensors", SHAPES["full"]))
    state = network.state_dict()
    assert sum(value.numel() for value in state.values()) == SHAPES["parameters"]
    assert {value.dtype for value in state.values()} == {torch.bfloat16}
    assert not any(value.is_meta for value in state.values())


def test_the_values_of_the_file_are_those_of_the_network(tiny_file):
    loaded, written = load_network(tiny_file, TINY).state_dict(), fashn_vton.state_dict()
    assert loaded.keys() == written.keys()
    assert all(torch.equal(loaded[key], written[key]) for key in written)


def test_a_truncated_file_is_refused(tiny_file):
    with tiny_file.open("r+b") as opened:
        opened.truncate(tiny_file.stat().st_size // 2)
    with pytest.raises(WeightsMissingError, match="damaged, truncated"):
        load_network(tiny_file, TINY)


def test_renamed_tensors_are_refused(tmp_path):
    state = fashn_vton.state_dict()
    state["renamed"] = state.pop("y_embedder.weight")
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(WeightsMissingError, match=r"1 missing: y_embedder\.weight; 1 unexpected: renamed"):
        load_network(tmp_path / "model.safetensors", TINY)


def test_another_networks_shapes_are_refused(tiny_file):
    with pytest.raises(WeightsMissingError, match="another network's tensors"):
        load_network(tiny_file)


@pytest.mark.parametrize("name", ["model.safetensors", "model.pth"])
def test_a_pickle_is_refused_whatever_its_name(tmp_path, name):
    ran = tmp_path / "ran"

    class Payload:
        def __reduce__(self):
            return (Path.touch, (ran,))

    (tmp_path / name).write_bytes(pickle.dumps({"state_dict": Payload()}))
    with pytest.raises(WeightsMissingError, match="cannot be used"):
        load_network(tmp_path / name, TINY)
    assert not ran.exists()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(WeightsMissingError, match="it is missing"):
        load_network(tmp_path / "model.safetensors", TINY)


def test_only_the_published_shapes_are_installed(tmp_path, tiny_file):
    check(sparse_file(tmp_path / "full.safetensors", SHAPES["full"]))
    with pytest.raises(WeightsMissingError, match="another network's tensors"):
        weights.add(tiny_file, tmp_path / "models", name=WEIGHTS, trust=lambda *_: True)
    assert weights.status(tmp_path / "models", [WEIGHTS])[0].state == "missing"


@pytest.fixture
def installed(tmp_path, monkeypatch) -> Path:
    """The tiny weights as the installed file."""
    monkeypatch.setenv("TRYON_DATA_DIR", str(tmp_path))
    settings.cache_clear()
    yield fashn_vton.write(tmp_path / "models")
    monkeypatch.undo()
    settings.cache_clear()


def test_the_engine_is_available_with_its_file_and_names_the_command_without(installed):
    engine, host = FashnVtonEngine(TINY), Host(installed.parent, "cpu", 1)
    assert engine.available()
    assert engine.digests() == {WEIGHTS: weights.digest_of(installed)}
    assert engine.load(host).dtype == torch.float32
    installed.write_bytes(installed.read_bytes()[:-1])
    with pytest.raises(WeightsMissingError, match="tryon weights fetch fashn-vton"):
        engine.available()
    installed.unlink()
    assert not engine.available()
    with pytest.raises(WeightsMissingError, match="tryon weights fetch fashn-vton"):
        engine.load(host)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_benchmark_draws_and_extrapolates_from_the_measured_step(dtype):
    measured = fashn_bench.measure("cpu", dtype, 2, TINY)
    assert measured.picture_s["balanced"] == pytest.approx(30 * measured.step_s)
    assert measured.tflops == pytest.approx(measured.step_tflop / measured.step_s)
    assert measured.dtype == str(dtype).removeprefix("torch.")


def test_the_counted_work_of_a_step_is_that_of_the_sizes():
    """Per item: 2 · tokens · weights for the linear layers, 4 · tokens² · hidden for each attention."""
    sizes = Sizes()
    tokens, hidden = math.prod(sizes.grid), sizes.hidden_size
    both = 2 * tokens
    attention = (sizes.patch_mixer_depth * tokens**2 + 24 * both**2) * 4 * hidden
    layers = 8 * 2 * tokens * 12 * hidden**2 * 2 + (16 * both + 4 * tokens) * 12 * hidden**2 * 2
    assert fashn_bench.step_tflop(sizes) == pytest.approx(2 * (attention + layers) / 1e12, rel=0.01)


def test_the_counted_time_of_a_picture_is_its_work_by_the_assumed_speed_of_the_card():
    rows = {row["card"]: row for row in fashn_bench.counted(TINY)}
    assert rows.keys() == fashn_bench.CARDS.keys()
    seconds = rows["A100"]["picture_s"]
    assert seconds["balanced"] == pytest.approx(30 * fashn_bench.step_tflop(TINY) / (0.5 * 312))
    assert seconds["quality"] == pytest.approx(2.5 * seconds["fast"])
    assert rows["A100"]["price_share"]["fast"] == pytest.approx(seconds["fast"] / 3600)
