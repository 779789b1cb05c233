"""Checkpoints are loaded with exactly the expected tensors, and no code in them runs."""

import os
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch

from config.errors import WeightsMissingError
from worker.weights.checkpoint import load_state_dict, shapes

EXPECTED = {"a.weight": (2, 3), "a.bias": [2], "n": ()}


def tensors(**changes: Any) -> dict[str, Any]:
    state: dict[str, Any] = {key: torch.full(tuple(shape), 0.5) for key, shape in EXPECTED.items()}
    for key, value in changes.items():
        state[key.replace("__", ".")] = value
    return state


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "net.pth"


@pytest.fixture
def lightning(monkeypatch: pytest.MonkeyPatch) -> type:
    """The class under which PyTorch Lightning stores the state of its callback."""
    cls = type("ModelCheckpoint", (), {"__module__": "pytorch_lightning.callbacks.model_checkpoint"})
    for name in ("pytorch_lightning", "pytorch_lightning.callbacks", cls.__module__):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules[cls.__module__].ModelCheckpoint = cls  # type: ignore[attr-defined]
    return cls


@pytest.mark.parametrize("zipped", [True, False], ids=["current format", "format before 1.6"])
@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("prefix", ["model.", ""])
def test_loads_the_expected_tensors(path: Path, zipped: bool, wrapped: bool, prefix: str) -> None:
    state = {prefix + key: value for key, value in tensors().items()}
    document = {"state_dict": state, "epoch": 3} if wrapped else state
    torch.save(document, path, _use_new_zipfile_serialization=zipped)
    loaded = load_state_dict(path, EXPECTED, prefix="model.")
    assert {key: tuple(value.shape) for key, value in loaded.items()} == {
        key: tuple(shape) for key, shape in EXPECTED.items()
    }
    assert all(torch.equal(value, torch.full_like(value, 0.5)) for value in loaded.values())


def test_loads_a_checkpoint_of_lightning_without_lightning(path: Path, lightning: type) -> None:
    state = {f"model.{key}": value for key, value in tensors().items()}
    callbacks = {lightning: {"monitor": "val_iou", "best_model_score": torch.tensor(0.9)}}
    torch.save({"state_dict": state, "callbacks": callbacks}, path)
    del sys.modules[lightning.__module__]
    assert load_state_dict(path, EXPECTED, prefix="model.").keys() == EXPECTED.keys()


def test_shapes_are_those_of_the_network() -> None:
    assert shapes(torch.nn.BatchNorm1d(3)) == {
        **dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (3,)),
        "num_batches_tracked": (),
    }


class MaliciousObject:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("zipped", [True, False])
def test_runs_no_code(path: Path, tmp_path: Path, zipped: bool) -> None:
    torch.save(tensors(n=MaliciousObject(tmp_path / "folder")), path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsMissingError, match=r"contains code or objects other than tensors.*mkdir"):
        load_state_dict(path, EXPECTED)
    assert not (tmp_path / "folder").exists()


def test_instantiates_no_module(path: Path) -> None:
    torch.save(torch.nn.Linear(3, 2), path)
    with pytest.raises(WeightsMissingError, match=r"other than tensors.*Linear"):
        load_state_dict(path, EXPECTED)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({**tensors(), "b": torch.zeros(1)}, "1 unexpected: b"),
        ({"a.weight": torch.zeros(2, 3)}, r"2 missing: a\.bias, n"),
        (tensors(a__bias=torch.zeros(3)), r"1 of another shape: a\.bias \(3,\) instead of \(2,\)"),
        (
            {f"other.{key}": value for key, value in tensors().items()},
            r"3 missing: .*; 3 unexpected",
        ),
        (tensors(n=1.0), "no state dict of tensors"),
        ([1, 2], "no state dict of tensors"),
        ({}, "3 missing"),
    ],
)
def test_reports_how_another_network_differs(path: Path, document: Any, message: str) -> None:
    torch.save(document, path)
    with pytest.raises(WeightsMissingError, match=message):
        load_state_dict(path, EXPECTED, prefix="model.")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_reports_a_truncated_file(path: Path, zipped: bool, share: float) -> None:
    torch.save(tensors(), path, _use_new_zipfile_serialization=zipped)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    # A truncated name (`collectio`) looks like the name of a forbidden class.
    with pytest.raises(
        WeightsMissingError, match=r"damaged, truncated or not|other than tensors.* collectio\W"
    ):
        load_state_dict(path, EXPECTED)


@pytest.mark.parametrize("data", [b"<html>Sign in</html>", b"\x80\x02K\x01.", bytes(5000), b"PK\x03\x04"])
def test_reports_a_file_that_is_no_checkpoint(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(WeightsMissingError, match=r"cannot be used: it is damaged, truncated or not"):
        load_state_dict(path, EXPECTED)


def test_detects_an_altered_tensor_in_the_current_format(path: Path) -> None:
    state = tensors(a__weight=torch.full((2, 3), 123456.0))
    torch.save(state, path)
    stored = state["a.weight"].numpy().tobytes()
    data = path.read_bytes()
    assert stored in data
    path.write_bytes(data.replace(stored, stored[:-1] + b"\x00"))
    with pytest.raises(WeightsMissingError, match="damaged"):
        load_state_dict(path, EXPECTED)


def test_reports_the_command_that_replaces_the_file(tmp_path: Path) -> None:
    with pytest.raises(
        WeightsMissingError, match=r"it is missing.*`tryon weights fetch viton-hd-seg --force`"
    ) as caught:
        load_state_dict(tmp_path / "seg_final.pth", EXPECTED)
    assert caught.value.input == "viton-hd-seg"
