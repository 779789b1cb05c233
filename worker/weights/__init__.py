"""The model files: what there is, where each comes from, and whether the right one is in place."""

from worker.weights.entries import Licence, Source, Weight, catalogue, chosen
from worker.weights.fetching import Listener, add, fetch
from worker.weights.folder import WeightStatus, digest_of, path, sha256, status
from worker.weights.sources import FETCHERS

__all__ = (
    "FETCHERS",
    "Licence",
    "Listener",
    "Source",
    "Weight",
    "WeightStatus",
    "add",
    "catalogue",
    "chosen",
    "digest_of",
    "fetch",
    "path",
    "sha256",
    "status",
)
