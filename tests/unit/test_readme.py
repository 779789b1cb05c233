"""The README names every setting and every error that there is."""

from pathlib import Path

import pytest

from config.errors import ERRORS
from config.settings import Settings

README = (Path(__file__).parents[2] / "README.md").read_text()


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_in_the_table(name):
    assert f"`TRYON_{name.upper()}`" in README


@pytest.mark.parametrize(("name", "error"), ERRORS.items())
def test_every_error_is_in_the_table_with_its_kind(name, error):
    row = next(line for line in README.splitlines() if line.startswith(f"| `{name}` |"))
    assert row.endswith("| yes |" if error.retryable else "| no |")
