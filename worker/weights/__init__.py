"""The model files: the catalogue, download and import, and the check of each file in the models folder."""

from worker.weights.entries import Licence, Source, Weight, catalogue, select
from worker.weights.fetching import add, fetch
from worker.weights.folder import WeightStatus, digest_of, path, sha256, status
from worker.weights.sources import FETCHERS, Listener

__all__ = (
    "FETCHERS",
    "Licence",
    "Listener",
    "Source",
    "Weight",
    "WeightStatus",
    "add",
    "catalogue",
    "digest_of",
    "fetch",
    "path",
    "select",
    "sha256",
    "status",
)
