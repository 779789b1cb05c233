"""The catalogue: every model file that the system can use, read from `worker/weights/catalogue.toml`."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from config.errors import WeightsMissingError

CATALOGUE = Path(__file__).with_name("catalogue.toml")


@dataclass(frozen=True)
class Source:
    """Where model files come from: a kind with a function in `sources`, and what that function needs."""

    name: str
    kind: str
    details: Mapping[str, Any]


@dataclass(frozen=True)
class Licence:
    """What a model file may be used for.

    Attributes:
        name: SPDX identifier, or the licence's name.
        notice: what must be accepted once before such a file is taken in; empty where nothing must be.
    """

    name: str
    notice: str = ""


@dataclass(frozen=True)
class Weight:
    """One model file.

    Attributes:
        name: what the code and the command line call it.
        purpose: what it does, in a few words.
        file: its name in the models folder.
        licence: what it may be used for.
        source: where it comes from.
        member: what it is called there.
        bytes, sha256: its size and hash; a file that differs is never loaded. None where they are not
            known beforehand: the first file that is taken in is recorded, and no other is loaded after.
        required: whether the system as it is installed needs it.
        group: files that are fetched by one name because none is of use without the others.
        check: "module:function" that raises unless the file holds what it should, for a file that no hash
            vouches for.
    """

    name: str
    purpose: str
    file: str
    licence: Licence
    source: Source
    member: str = ""
    bytes: int | None = None
    sha256: str | None = None
    required: bool = False
    group: str = ""
    check: str = ""


@lru_cache(maxsize=1)
def catalogue() -> dict[str, Weight]:
    """Return every model file that the system can use, by name."""
    document = tomllib.loads(CATALOGUE.read_text())
    sources = {
        name: Source(name, entry["kind"], {key: value for key, value in entry.items() if key != "kind"})
        for name, entry in document["sources"].items()
    }
    notices = document.get("licences", {})
    return {
        name: Weight(
            **{
                **entry,
                "name": name,
                "source": sources[entry["source"]],
                "licence": Licence(entry["licence"], notices.get(entry["licence"], "")),
            }
        )
        for name, entry in document["weights"].items()
    }


def entry(name: str) -> Weight:
    """Return the model file of this name. Raises WeightsMissingError where there is none."""
    try:
        return catalogue()[name]
    except KeyError:
        raise _unknown(name) from None


def chosen(names: Iterable[str]) -> list[Weight]:
    """Return the model files of these names and groups; those that are required if none is named.

    Raises WeightsMissingError for a name that is neither.
    """
    wanted: dict[str, Weight] = {}
    for name in names:
        found = [weight for weight in catalogue().values() if name in (weight.name, weight.group)]
        if not found:
            raise _unknown(name)
        wanted |= {weight.name: weight for weight in found}
    return list(wanted.values()) or [weight for weight in catalogue().values() if weight.required]


def listed(weights: Iterable[Weight]) -> str:
    """Return the names for a sentence."""
    return ", ".join(weight.name for weight in weights)


def _unknown(name: str) -> WeightsMissingError:
    groups = sorted({weight.group for weight in catalogue().values() if weight.group})
    message = f"No model file is called {name!r}; there are {listed(catalogue().values())}"
    return WeightsMissingError(
        message + (f", and the groups {', '.join(groups)}." if groups else "."), input=name
    )
