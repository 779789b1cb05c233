"""The files of a training run: the network as the cascade loads it, and the state to resume from."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import Tensor

from config.errors import InputValidationError

STATE = "state.pth"
"""The file of a run's folder with the state to resume from."""


class NetworkStates(TypedDict):
    """Everything that the next step depends on.

    Attributes:
        networks: "generator", "judge" (the discriminator) -> state dict.
        optimisers: the same names -> state of the optimiser.
    """

    networks: dict[str, dict[str, Tensor]]
    optimisers: dict[str, dict[str, Any]]


class TrainingState(NetworkStates):
    """The content of STATE.

    Attributes:
        step: steps that are done.
        options: the options that a run cannot change.
    """

    step: int
    options: dict[str, Any]


def save(document: Mapping[str, Any], file: Path) -> None:
    """Write tensors and plain values atomically: the file is the old one or the new one, never a part."""
    partial = file.with_name(f".{file.name}.partial")
    with partial.open("wb") as stream:
        torch.save(document, stream)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(partial, file)


def load_state(run: Path, options: Mapping[str, Any]) -> TrainingState:
    """Return the state to resume from.

    Args:
        run: the run's folder.
        options: the options that must be those of the state, by name.

    Raises InputValidationError when there is no state, it cannot be read, or the options differ.
    """
    file = run / STATE
    if not file.is_file():
        raise InputValidationError(f"{run} contains no {STATE} to resume from.", input=str(run))
    try:
        state: TrainingState = torch.load(file, map_location="cpu", weights_only=True)
        saved_options = state["options"]
    except (MemoryError, OSError):
        raise
    except Exception as error:  # parsers raise many kinds of errors for a damaged file
        raise InputValidationError(
            f"{file} cannot be read ({error}): start again in another folder.", input=str(file)
        ) from error
    differences = [
        f"{name} was {saved_options.get(name)}, not {value}"
        for name, value in options.items()
        if saved_options.get(name) != value
    ]
    if differences:
        raise InputValidationError(
            f"{run} cannot be resumed with other options: {'; '.join(differences)}.", input=str(run)
        )
    return state
