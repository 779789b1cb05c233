"""The geometric engine: bends a garment onto a person by thin-plate splines and pastes it back."""

from worker.geometric.engine import TryOn, try_on
from worker.geometric.paste import paste_back

__all__ = ["TryOn", "paste_back", "try_on"]
