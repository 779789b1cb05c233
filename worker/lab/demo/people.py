"""The demonstration's person: a public-domain photograph that an installed package ships."""

from importlib.resources import files


def astronaut() -> bytes:
    """Return Eileen Collins's NASA portrait (public domain) as a PNG file; scikit-image ships it."""
    return files("skimage").joinpath("data", "astronaut.png").read_bytes()
