"""Loads the weights of a network from an untrusted file: no code in it runs, and every shape is checked."""

import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from config.errors import WeightsMissingError
from worker import weights

MAX_NAMED_KEYS = 3
"""Number of keys that an error message lists for each kind of difference."""

MAX_REASON_LENGTH = 200
"""Characters of a parser's own error that an error message quotes."""

_HAS_CODE = "it contains code or objects other than tensors, which are never loaded"
_DAMAGED = "it is damaged, truncated or not a PyTorch checkpoint"


class _Placeholder:
    """Stands for a class that a checkpoint names; it is never instantiated."""


# PyTorch Lightning stores the state of a callback under the callback's class, next to the state dict.
_LIGHTNING_CLASSES: tuple[tuple[type, str], ...] = (
    (_Placeholder, "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint"),
)


def load_state_dict(
    path: Path, expected_shapes: Mapping[str, Sequence[int]], *, prefix: str = ""
) -> dict[str, torch.Tensor]:
    """Return the state dict of a checkpoint, on the CPU, with exactly the expected keys and shapes.

    Args:
        path: a safetensors file, or a file written by `torch.save`: a state dict, or a dict that contains
            one as ``state_dict``, the layout of PyTorch Lightning.
        expected_shapes: key -> shape of every tensor of the network.
        prefix: a prefix that all keys in the file may have, such as ``model.``; it is removed.

    Raises WeightsMissingError, with the reason and the command that replaces the file, when the file is
    missing, damaged or truncated, contains code or objects other than tensors, or belongs to another network.
    """
    document = _read(path)
    state = document.get("state_dict", document) if isinstance(document, Mapping) else document
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise _unusable(path, "it contains no state dict of tensors")
    tensors = dict(state)
    if prefix and tensors and all(key.startswith(prefix) for key in tensors):
        tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
    if differences := _differences(tensors, expected_shapes):
        raise _unusable(
            path,
            f"it contains another network's tensors ({len(expected_shapes)} tensors expected; {differences})",
        )
    return tensors


def shapes(network: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the keys and shapes of the network's state dict, as `load_state_dict` expects them."""
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


def _read(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if zipfile.is_zipfile(path):
            _verify_checksums(path)
        with torch.serialization.safe_globals(list(_LIGHTNING_CLASSES)):
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise _unusable(path, "it is missing") from error
    except (MemoryError, OSError):
        raise
    except pickle.UnpicklingError as error:
        has_code = "unsupported global" in str(error).lower()
        raise _unusable(path, _HAS_CODE if has_code else _DAMAGED, error) from error
    except Exception as error:  # Any exception is possible: the bytes may come from anybody.
        raise _unusable(path, _DAMAGED, error) from error


def _verify_checksums(path: Path) -> None:
    """Compare the checksums in the archive that `torch.save` writes: `torch.load` does not compare them."""
    with zipfile.ZipFile(path) as archive:
        if damaged_member := archive.testzip():
            raise zipfile.BadZipFile(f"the checksum of its member {damaged_member} is wrong")


def _differences(tensors: Mapping[Any, torch.Tensor], expected: Mapping[str, Sequence[int]]) -> str:
    """Return a description of how the tensors differ from the expected ones; empty if they do not."""
    keys_by_kind = {
        "missing": [key for key in expected if key not in tensors],
        "unexpected": [str(key) for key in tensors if key not in expected],
        "of another shape": [
            f"{key} {tuple(tensors[key].shape)} instead of {tuple(shape)}"
            for key, shape in expected.items()
            if key in tensors and tuple(tensors[key].shape) != tuple(shape)
        ],
    }
    return "; ".join(
        f"{len(keys)} {kind}: {', '.join(keys[:MAX_NAMED_KEYS])}{', …' * (len(keys) > MAX_NAMED_KEYS)}"
        for kind, keys in keys_by_kind.items()
        if keys
    )


def _first_sentence(error: Exception) -> str:
    """Return the sentence that names the problem; PyTorch's errors also advise to trust the file."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    relevant = [line for line in lines if "unsupported global" in line.lower()]
    return (relevant or lines or [type(error).__name__])[0].split(". ")[0].rstrip(".")[:MAX_REASON_LENGTH]


def _unusable(path: Path, reason: str, error: Exception | None = None) -> WeightsMissingError:
    if error:
        reason = f"{reason} ({_first_sentence(error)})"
    name = next((name for name, weight in weights.catalogue().items() if weight.file == path.name), None)
    replacement = f"`tryon weights fetch {name} --force`" if name else "the right file"
    return WeightsMissingError(
        f"The model file {path} cannot be used: {reason}. Replace it with {replacement}.",
        input=name or path.name,
    )
