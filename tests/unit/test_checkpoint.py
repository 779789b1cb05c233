"""Checkpoints are loaded with exactly the expected tensors, and nothing in them is ever run."""

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
    """The class under which PyTorch Lightning files its callback's state."""
    cls = type("ModelCheckpoint", (), {"__module__": "pytorch_lightning.callbacks.model_checkpoint"})
    for name in ("pytorch_lightning", "pytorch_lightning.callbacks", cls.__module__):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules[cls.__module__].ModelCheckpoint = cls  # type: ignore[attr-defined]
    return cls


@pytest.mark.parametrize("zipped", [True, False], ids=["today's format", "the format before 1.6"])
@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("prefix", ["model.", ""])
def test_loads_what_is_expected(path: Path, zipped: bool, wrapped: bool, prefix: str) -> None:
    state = {prefix + key: value for key, value in tensors().items()}
    document = {"state_dict": state, "epoch": 3} if wrapped else state
    torch.save(document, path, _use_new_zipfile_serialization=zipped)
    loaded = load_state_dict(path, EXPECTED, prefix="model.")
    assert {key: tuple(value.shape) for key, value in loaded.items()} == {
        key: tuple(shape) for key, shape in EXPECTED.items()
    }
    assert all(torch.equal(value, torch.full_like(value, 0.5)) for value in loaded.values())


def test_loads_what_lightning_wrote_without_lightning(path: Path, lightning: type) -> None:
    state = {f"model.{key}": value for key, value in tensors().items()}
    callbacks = {lightning: {"monitor": "val_iou", "best_model_score": torch.tensor(0.9)}}
    torch.save({"state_dict": state, "callbacks": callbacks}, path)
    del sys.modules[lightning.__module__]
    assert load_state_dict(path, EXPECTED, prefix="model.").keys() == EXPECTED.keys()


def test_expects_what_a_network_has() -> None:
    assert shapes(torch.nn.BatchNorm1d(3)) == {
        **dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (3,)),
        "num_batches_tracked": (),
    }


class Trap:
    def __init__(self, touched: Path) -> None:
        self.touched = touched

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.touched),)


@pytest.mark.parametrize("zipped", [True, False])
def test_never_runs_code(path: Path, tmp_path: Path, zipped: bool) -> None:
    torch.save(tensors(n=Trap(tmp_path / "touched")), path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsMissingError, match=r"holds code or objects besides tensors.*mkdir"):
        load_state_dict(path, EXPECTED)
    assert not (tmp_path / "touched").exists()


def test_never_makes_a_module(path: Path) -> None:
    torch.save(torch.nn.Linear(3, 2), path)
    with pytest.raises(WeightsMissingError, match=r"besides tensors.*Linear"):
        load_state_dict(path, EXPECTED)


@pytest.mark.parametrize(
    ("document", "says"),
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
def test_says_how_another_network_differs(path: Path, document: Any, says: str) -> None:
    torch.save(document, path)
    with pytest.raises(WeightsMissingError, match=says):
        load_state_dict(path, EXPECTED, prefix="model.")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_names_a_truncated_file(path: Path, zipped: bool, share: float) -> None:
    torch.save(tensors(), path, _use_new_zipfile_serialization=zipped)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    # A name that is cut short (`collectio`) looks like that of a class that is not allowed.
    with pytest.raises(WeightsMissingError, match=r"damaged, truncated or no|besides tensors.* collectio\W"):
        load_state_dict(path, EXPECTED)


@pytest.mark.parametrize("data", [b"<html>Sign in</html>", b"\x80\x02K\x01.", bytes(5000), b"PK\x03\x04"])
def test_names_a_file_that_is_no_checkpoint(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(WeightsMissingError, match=r"cannot be used: it is damaged, truncated or no"):
        load_state_dict(path, EXPECTED)


def test_an_altered_tensor_in_todays_format_is_noticed(path: Path) -> None:
    state = tensors(a__weight=torch.full((2, 3), 123456.0))
    torch.save(state, path)
    packed = state["a.weight"].numpy().tobytes()
    data = path.read_bytes()
    assert packed in data
    path.write_bytes(data.replace(packed, packed[:-1] + b"\x00"))
    with pytest.raises(WeightsMissingError, match="damaged"):
        load_state_dict(path, EXPECTED)


def test_says_which_command_mends_it(tmp_path: Path) -> None:
    with pytest.raises(
        WeightsMissingError, match=r"not there.*`tryon weights fetch viton-hd-seg --anew`"
    ) as caught:
        load_state_dict(tmp_path / "seg_final.pth", EXPECTED)
    assert caught.value.input == "viton-hd-seg"
