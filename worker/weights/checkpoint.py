"""Loads a network's weights from a file that others made: never runs its code, and takes no other shapes."""

import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from config.errors import WeightsMissingError
from worker import weights

_SHOWN = 3  # keys that a message names of each kind of difference
_CODE = "it holds code or objects besides tensors, which are never run or made"
_DAMAGED = "it is damaged, truncated or no PyTorch checkpoint"


class _Inert:
    """Stands for a class that a file only names: it is never made or called."""


# PyTorch Lightning files its callbacks' states under their classes, beside the network's.
_LIGHTNING: tuple[tuple[type, str], ...] = (
    (_Inert, "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint"),
)


def load_state_dict(
    path: Path, expected_shapes: Mapping[str, Sequence[int]], *, prefix: str = ""
) -> dict[str, torch.Tensor]:
    """Return the state dict of a checkpoint, on the CPU, with exactly the expected keys and shapes.

    Args:
        path: a safetensors file, or one that `torch.save` wrote: a state dict, or a dict that has one as
            ``state_dict``, as PyTorch Lightning writes it.
        expected_shapes: key -> shape of every tensor that the network has.
        prefix: what the file may put before every key, such as ``model.``; taken off.

    Raises WeightsMissingError, which says what is wrong and the command that mends it, when the file is
    absent, damaged, truncated, holds code or objects besides tensors, or another network's weights.
    """
    document = _read(path)
    found = document.get("state_dict", document) if isinstance(document, Mapping) else document
    if not isinstance(found, Mapping) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise _wrong(path, "it holds no state dict of tensors")
    tensors = dict(found)
    if prefix and tensors and all(key.startswith(prefix) for key in tensors):
        tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
    if differences := _differences(tensors, expected_shapes):
        raise _wrong(
            path, f"it is another network's ({len(expected_shapes)} tensors expected; {differences})"
        )
    return tensors


def shapes(network: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the network's state-dict keys and shapes, as `load_state_dict` expects them."""
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


def _read(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if zipfile.is_zipfile(path):
            _check_sums(path)
        with torch.serialization.safe_globals(list(_LIGHTNING)):
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise _wrong(path, "it is not there") from error
    except (MemoryError, OSError):
        raise
    except pickle.UnpicklingError as error:
        code = "unsupported global" in str(error).lower()
        raise _wrong(path, _CODE if code else _DAMAGED, error) from error
    except Exception as error:  # whatever a parser stumbles on in bytes that anyone may have made
        raise _wrong(path, _DAMAGED, error) from error


def _check_sums(path: Path) -> None:
    """Compare the checksums that `torch.save` puts into its archive: `torch.load` does not."""
    with zipfile.ZipFile(path) as archive:
        if bad := archive.testzip():
            raise zipfile.BadZipFile(f"the checksum of its part {bad} is wrong")


def _differences(tensors: Mapping[Any, torch.Tensor], expected: Mapping[str, Sequence[int]]) -> str:
    """Return in words how the tensors differ from what is expected; empty where they do not."""
    kinds = {
        "missing": [key for key in expected if key not in tensors],
        "unexpected": [str(key) for key in tensors if key not in expected],
        "of another shape": [
            f"{key} {tuple(tensors[key].shape)} instead of {tuple(shape)}"
            for key, shape in expected.items()
            if key in tensors and tuple(tensors[key].shape) != tuple(shape)
        ],
    }
    return "; ".join(
        f"{len(keys)} {kind}: {', '.join(keys[:_SHOWN])}{', …' * (len(keys) > _SHOWN)}"
        for kind, keys in kinds.items()
        if keys
    )


def _brief(error: Exception) -> str:
    """Return the sentence that says what was found; torch's own errors add advice to trust the file."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "unsupported global" in line.lower()]
    return (telling or lines or [type(error).__name__])[0].split(". ")[0].rstrip(".")[:200]


def _wrong(path: Path, reason: str, error: Exception | None = None) -> WeightsMissingError:
    if error:
        reason = f"{reason} ({_brief(error)})"
    name = next((name for name, weight in weights.catalogue().items() if weight.file == path.name), None)
    mend = f"`tryon weights fetch {name} --anew`" if name else "the right file"
    return WeightsMissingError(
        f"The model file {path} cannot be used: {reason}. Replace it with {mend}.", input=name or path.name
    )
