"""The models and settings that the golden tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.golden.common import golden_settings
from worker.stages.models import Models


@pytest.fixture(scope="module")
def models(models_dir: Path) -> Iterator[Models]:
    """The models of all stages, under the settings of the golden tests."""
    with golden_settings(), Models(models_dir) as loaded:
        yield loaded
