"""Converts an ultralytics checkpoint to the format that the system loads: safetensors and a YAML layout."""

import pickle
from pathlib import Path

import torch
import yaml
from safetensors.torch import save_file

from config.errors import WeightsMissingError
from worker.parsing.classes import TITLES
from worker.parsing.quiet import ultralytics

_LAYOUT_KEYS = ("backbone", "head", "scales", "scale")


def convert(checkpoint: Path, target: Path) -> Path:
    """Write `target` (.safetensors, half precision) and its layout (.yaml); return `target`.

    The checkpoint is a pickle: loading it RUNS THE CODE IN IT. Call this only for a file that you made or
    whose author you trust. The system itself never loads such a file.

    Raises WeightsMissingError when the file is not a checkpoint of the parser's classes.
    """
    ultralytics()
    try:
        document = torch.load(checkpoint, map_location="cpu", weights_only=False)
    except (OSError, pickle.UnpicklingError, EOFError, RuntimeError) as error:
        raise WeightsMissingError(
            f"{checkpoint} cannot be read as an ultralytics checkpoint: {error}", input=str(checkpoint)
        ) from error
    model = (document.get("ema") or document.get("model")) if isinstance(document, dict) else None
    names = list(getattr(model, "names", {}).values())
    if model is None or names != TITLES:
        raise WeightsMissingError(
            f"{checkpoint} is not a parser: its classes are {names}, not {TITLES}. Train one with `tryon "
            "parser train`.",
            input=str(checkpoint),
        )
    layout = {key: model.yaml[key] for key in _LAYOUT_KEYS if key in model.yaml}
    target.with_suffix(".yaml").write_text(
        "# The parser's network, in ultralytics' model format, and its classes.\n"
        + yaml.safe_dump({"nc": len(names), "names": dict(enumerate(names))} | layout, sort_keys=False)
    )
    state = {
        name: value.half().contiguous() if value.is_floating_point() else value.contiguous()
        for name, value in model.state_dict().items()
    }
    save_file(state, target)
    target.chmod(0o644)  # safetensors creates files that only their owner can read
    return target
