"""The weight files of the cascade: the published files, or the user's own."""

from collections.abc import Mapping
from pathlib import Path

from config.errors import WeightsMissingError
from worker import weights

NAMES = ("viton-hd-seg", "viton-hd-gmm", "viton-hd-alias")
"""The published files in the weights catalogue: segmentation, geometric matching, ALIAS."""


def weight_files(models_dir: Path, own_folder: Path | None) -> tuple[Path, Path, Path]:
    """Return the weight files of the three networks, in the order of NAMES.

    Args:
        models_dir: the folder of the published files.
        own_folder: a folder with the user's own files under the published names; None for the published
            files.

    Raises WeightsMissingError, with the command that fetches or trains it, when a file is missing or, for a
    published file, damaged.
    """
    if own_folder is None:
        segmenter, matcher, generator = (weights.path(name, models_dir) for name in NAMES)
        return segmenter, matcher, generator
    segmenter, matcher, generator = (own_folder / weights.catalogue()[name].file for name in NAMES)
    for file in (segmenter, matcher, generator):
        if not file.is_file():
            raise WeightsMissingError(
                f"TRYON_VITON_HD_WEIGHTS={own_folder} must contain {file.name}, which is missing. Train it "
                "with `tryon cascade train`, or leave the setting unset and fetch the published files with "
                "`tryon weights fetch viton-hd`.",
                input=str(own_folder),
            )
    return segmenter, matcher, generator


def digests(models_dir: Path, own_folder: Path | None) -> Mapping[str, str]:
    """Return the sha256 of the three files, by their names in the catalogue. Raises like `weight_files`."""
    if own_folder is None:
        return {name: weights.sha256(name, models_dir) for name in NAMES}
    own_files = weight_files(models_dir, own_folder)
    return {name: weights.digest_of(file) for name, file in zip(NAMES, own_files, strict=True)}


def available(models_dir: Path, own_folder: Path | None) -> bool:
    """Return whether `engine=auto` may choose the engine: all published files are there, with their hashes.

    With a folder of the user's own files it is always true: the user has requested them, so a missing file is
    an error and no reason to choose another engine.

    Raises WeightsMissingError when a published file is damaged: a user who fetched the files expects them to
    be used.
    """
    if own_folder is not None:
        return True
    states = {status.name: status.state for status in weights.status(models_dir, NAMES)}
    if "damaged" in states.values():
        weight_files(models_dir, own_folder)
    return all(state == "present" for state in states.values())
