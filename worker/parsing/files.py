"""The files of the trained parser: shipped with the project, or the user's own."""

import hashlib
from pathlib import Path

from config.errors import WeightsMissingError
from worker import weights


def files(models_dir: Path, own: Path | None) -> tuple[Path, Path]:
    """Return the parser's weights (.safetensors) and layout (.yaml).

    Args:
        models_dir: the models folder, with a copy of the shipped files.
        own: the user's weights, with their layout beside them; None for the shipped files.

    Raises WeightsMissingError when a file is missing or has another content than the shipped one.
    """
    if own is None:
        return weights.path("parser", models_dir), weights.path("parser-layout", models_dir)
    pair = own, own.with_suffix(".yaml")
    for file in pair:
        if own.suffix != ".safetensors" or not file.is_file():
            raise WeightsMissingError(
                f"TRYON_PARSER_WEIGHTS={own} must be a .safetensors file with its .yaml beside it; "
                f"{file} is missing or is another kind of file. Convert a .pt file with "
                "`tryon parser convert`.",
                input=str(own),
            )
    return pair


def digest(own: Path) -> str:
    """Return one sha256 of the user's weights and layout. Raises WeightsMissingError like `files`."""
    both = hashlib.sha256()
    for file in files(own, own):
        both.update(weights.digest_of(file).encode())
    return both.hexdigest()
