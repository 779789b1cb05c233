"""The demonstration's person: a photograph that is fetched, or one that an installed package contains."""

from importlib.resources import files
from pathlib import Path


def astronaut() -> bytes:
    """Return Eileen Collins's NASA portrait (public domain) as a PNG file, from scikit-image's data."""
    return files("skimage").joinpath("data", "astronaut.png").read_bytes()


def demonstration(data_dir: Path) -> Path | None:
    """Return the file of the demonstration's photograph, which `make people` fetches; None without it."""
    file = data_dir / "people" / "charles.jpg"
    return file if file.is_file() else None
