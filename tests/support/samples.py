"""The folders of real samples. They are not part of the project; tests that need them skip without them."""

from pathlib import Path

import pytest

SHARED = Path(__file__).parents[3] / "shared"
VITON = SHARED / "samples" / "viton_hd"
CCP = SHARED / "ccp"

needs_samples = pytest.mark.skipif(
    not VITON.is_dir(),
    reason="the VITON-HD samples (CC BY-NC 4.0, not part of this project) are not in ../shared",
)
needs_ccp = pytest.mark.skipif(
    not CCP.is_dir(), reason="the Clothing Co-Parsing photographs are not in ../shared"
)
