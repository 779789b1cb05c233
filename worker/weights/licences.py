"""Licences that must be accepted once before a model file under them is taken in."""

import json
import os
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

from config.errors import WeightsMissingError
from worker.weights.entries import Licence, Weight, listed

FILE = "accepted_licences.json"


def settle(weights: Iterable[Weight], models_dir: Path, ask: Callable[[Licence, str], bool]) -> None:
    """Have the licences of these files accepted, and record in the models folder that they were.

    Args:
        weights: the files that are to be taken in.
        models_dir: the models folder.
        ask: shown a licence and the names of the files under it; returns whether it is accepted.

    Raises WeightsMissingError, which shows the licence and the flag that accepts it, when one is not.
    """
    accepted = _accepted(models_dir)
    under: dict[Licence, list[Weight]] = {}
    for weight in weights:
        if weight.licence.notice and weight.licence.name not in accepted:
            under.setdefault(weight.licence, []).append(weight)
    for licence, files in under.items():
        if not ask(licence, listed(files)):
            raise WeightsMissingError(
                f"{listed(files)} may be used under {licence.name} only: {licence.notice} Accept it with "
                "the flag --accept-licence; nothing was fetched.",
                input=files[0].name,
            )
        accepted[licence.name] = datetime.now(UTC).isoformat(timespec="seconds")
        models_dir.mkdir(parents=True, exist_ok=True)
        written = models_dir / f".{FILE}"
        written.write_text(json.dumps(accepted, indent=1) + "\n")
        os.replace(written, models_dir / FILE)


def _accepted(models_dir: Path) -> dict[str, str]:
    """Return the accepted licences: name -> when."""
    try:
        found: dict[str, str] = json.loads((models_dir / FILE).read_text())
    except FileNotFoundError:
        return {}
    return found
