"""The demonstration's person: a public-domain photograph that an installed package contains."""

from importlib.resources import files


def astronaut() -> bytes:
    """Return Eileen Collins's NASA portrait (public domain) as a PNG file, from scikit-image's data."""
    return files("skimage").joinpath("data", "astronaut.png").read_bytes()
