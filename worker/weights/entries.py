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
    """A place that model files come from.

    Attributes:
        name: its name in the catalogue.
        kind: key of `worker.weights.sources.FETCHERS`.
        details: the parameters of that fetcher, such as a URL.
    """

    name: str
    kind: str
    details: Mapping[str, Any]


@dataclass(frozen=True)
class Licence:
    """The licence of a model file.

    Attributes:
        name: SPDX identifier, or the licence's name.
        notice: the terms that must be accepted once before such a file is installed; empty if none must be.
    """

    name: str
    notice: str = ""


@dataclass(frozen=True)
class Weight:
    """One model file.

    Attributes:
        name: its name in the code and on the command line.
        purpose: its purpose, in a few words.
        file: its file name in the models folder.
        licence: its licence.
        source: where it comes from.
        member: its name at the source.
        bytes, sha256: its size and hash; a file that differs is never loaded. None if they are not published:
            the user is asked, the hash of the file is recorded, and no other file is loaded later.
        required: whether the default configuration needs it.
        group: name of a set of files that are only useful together and are fetched together.
        check: "module:function" that raises unless the content is valid, for a file without a published hash.
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
        name: Source(name, table["kind"], {key: value for key, value in table.items() if key != "kind"})
        for name, table in document["sources"].items()
    }
    notices = document.get("licences", {})
    return {
        name: Weight(
            **{
                **table,
                "name": name,
                "source": sources[table["source"]],
                "licence": Licence(table["licence"], notices.get(table["licence"], "")),
            }
        )
        for name, table in document["weights"].items()
    }


def entry(name: str) -> Weight:
    """Return the model file of this name. Raises WeightsMissingError if the catalogue has none."""
    try:
        return catalogue()[name]
    except KeyError:
        raise _unknown(name) from None


def select(names: Iterable[str]) -> list[Weight]:
    """Return the model files of these names and groups; without names, the required files.

    Raises WeightsMissingError for a name that is neither a file nor a group.
    """
    selected: dict[str, Weight] = {}
    for name in names:
        matches = [weight for weight in catalogue().values() if name in (weight.name, weight.group)]
        if not matches:
            raise _unknown(name)
        selected |= {weight.name: weight for weight in matches}
    return list(selected.values()) or [weight for weight in catalogue().values() if weight.required]


def join_names(weights: Iterable[Weight]) -> str:
    """Return the names of the model files, separated by commas."""
    return ", ".join(weight.name for weight in weights)


def _unknown(name: str) -> WeightsMissingError:
    groups = sorted({weight.group for weight in catalogue().values() if weight.group})
    message = f"No model file is called {name!r}; there are {join_names(catalogue().values())}"
    return WeightsMissingError(
        message + (f", and the groups {', '.join(groups)}." if groups else "."), input=name
    )
