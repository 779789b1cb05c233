"""Licences that must be accepted once before a model file under them is installed."""

import json
import os
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

from config.errors import WeightsMissingError
from worker.weights.entries import Licence, Weight, join_names

FILE = "accepted_licences.json"

Accept = Callable[[Licence, str], bool]
"""Called with a licence and the names of the files under it; returns whether the user accepts it."""


def refuse(_licence: Licence, _names: str) -> bool:
    """Accept no licence."""
    return False


def require(weights: Iterable[Weight], models_dir: Path, accept: Accept) -> None:
    """Make sure that the licences of these files are accepted, and record it in the models folder.

    Args:
        weights: the files that will be installed.
        models_dir: the models folder.
        accept: called for each licence that was not accepted before.

    Raises WeightsMissingError, with the terms and the flag that accepts them, when one is not accepted.
    """
    accepted = _accepted(models_dir)
    weights_by_licence: dict[Licence, list[Weight]] = {}
    for weight in weights:
        if weight.licence.notice and weight.licence.name not in accepted:
            weights_by_licence.setdefault(weight.licence, []).append(weight)
    for licence, covered in weights_by_licence.items():
        names = join_names(covered)
        if not accept(licence, names):
            raise WeightsMissingError(
                f"{names} may be used under {licence.name} only: {licence.notice} Accept it with the flag "
                "--accept-licence; nothing was fetched.",
                input=covered[0].name,
            )
        accepted[licence.name] = datetime.now(UTC).isoformat(timespec="seconds")
        models_dir.mkdir(parents=True, exist_ok=True)
        temporary = models_dir / f".{FILE}"
        temporary.write_text(json.dumps(accepted, indent=1) + "\n")
        os.replace(temporary, models_dir / FILE)


def _accepted(models_dir: Path) -> dict[str, str]:
    """Return the accepted licences: name -> time of acceptance."""
    try:
        accepted: dict[str, str] = json.loads((models_dir / FILE).read_text())
    except FileNotFoundError:
        return {}
    return accepted
