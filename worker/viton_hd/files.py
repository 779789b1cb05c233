"""Where the cascade's weights are: the published files, or the user's own."""

from collections.abc import Mapping
from pathlib import Path

from config.errors import WeightsMissingError
from worker import weights

NAMES = ("viton-hd-seg", "viton-hd-gmm", "viton-hd-alias")
"""The published files in the weights catalogue: segmentation, geometric matching, ALIAS."""


def files(models_dir: Path, own: Path | None) -> tuple[Path, Path, Path]:
    """Return the weights of the three networks.

    Args:
        models_dir: the models folder, where the published files lie once they are fetched.
        own: a folder that holds files of the published names; None for the published ones.

    Raises WeightsMissingError, which says the command that mends it, when one is not there or is not the
    published one.
    """
    if own is None:
        segmenter, matcher, generator = (weights.path(name, models_dir) for name in NAMES)
        return segmenter, matcher, generator
    segmenter, matcher, generator = (own / weights.catalogue()[name].file for name in NAMES)
    for file in (segmenter, matcher, generator):
        if not file.is_file():
            raise WeightsMissingError(
                f"TRYON_VITON_HD_WEIGHTS={own} must hold {file.name}, which is not there. Train it with "
                "`tryon cascade train`, or leave the setting out and fetch the published ones with `tryon "
                "weights fetch viton-hd`.",
                input=str(own),
            )
    return segmenter, matcher, generator


def digests(models_dir: Path, own: Path | None) -> Mapping[str, str]:
    """Return the sha256 of the three files, by their names in the catalogue. Raises like `files`."""
    if own is None:
        return {name: weights.sha256(name, models_dir) for name in NAMES}
    return {name: weights.digest_of(file) for name, file in zip(NAMES, files(models_dir, own), strict=True)}


def available(models_dir: Path, own: Path | None) -> bool:
    """Whether the files are all there, the published ones with the right hashes."""
    if own is not None:
        return True  # asked for: what is missing there is an error, not a reason for another engine
    found = {status.name: status.state for status in weights.status(models_dir, NAMES)}
    if "damaged" in found.values():
        files(models_dir, own)  # raises: a user who fetched them expects them to be used
    return all(state == "present" for state in found.values())
