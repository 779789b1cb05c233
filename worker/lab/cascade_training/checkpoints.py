"""What a run leaves on disk: the network as the cascade loads it, and the state that it goes on from."""

import os
from pathlib import Path
from typing import Any

import torch

from config.errors import InputValidationError

STATE = "state.pth"


def save(document: Any, file: Path) -> None:
    """Write tensors and plain values in one step: the file is the old one or the new one, never half."""
    partial = file.with_name(f".{file.name}.partial")
    with partial.open("wb") as written:
        torch.save(document, written)
        written.flush()
        os.fsync(written.fileno())
    os.replace(partial, file)


def load_state(run: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Return the state that the run goes on from.

    Args:
        run: the run's folder.
        options: what must be as it was, by name.

    Raises InputValidationError when there is no state, it cannot be read, or the options differ.
    """
    file = run / STATE
    if not file.is_file():
        raise InputValidationError(f"{run} holds no {STATE} to go on from.", input=str(run))
    try:
        state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        then: dict[str, Any] = state["options"]
    except (MemoryError, OSError):
        raise
    except Exception as error:  # whatever a parser stumbles on in a damaged file
        raise InputValidationError(
            f"{file} cannot be read ({error}): start again in another folder.", input=str(file)
        ) from error
    differing = [
        f"{name} was {then.get(name)}, not {value}"
        for name, value in options.items()
        if then.get(name) != value
    ]
    if differing:
        raise InputValidationError(
            f"{run} cannot go on otherwise than it began: {'; '.join(differing)}.", input=str(run)
        )
    return state
