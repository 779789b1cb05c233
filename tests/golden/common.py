"""What golden pictures and golden stage outputs share: folders and settings."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from config.settings import settings

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
DATA_DIR = ROOT / ".tryon"
MODELS_DIR = DATA_DIR / "models"
PEOPLE_DIR = DATA_DIR / "people"


@contextmanager
def golden_settings() -> Iterator[None]:
    """Fix the settings that decide a picture, whatever the environment says; restore them afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("TRYON_")]:
            patch.delenv(name)
        patch.setenv("TRYON_DATA_DIR", str(DATA_DIR))
        patch.setenv("TRYON_DEVICE", "cpu")
        # Named, not `auto`: a missing package must give an error, not another picture.
        patch.setenv("TRYON_PARSER", "trained")
        patch.setenv("TRYON_CLOTH_MASK", "network")
        settings.cache_clear()
        yield
    settings.cache_clear()
