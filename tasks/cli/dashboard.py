"""The command that runs the dashboard, Flower."""

import os
from typing import Annotated, Any

import typer

from config.endpoints import is_loopback
from config.settings import ConfigurationError

PASSWORDS = ("FLOWER_BASIC_AUTH", "FLOWER_AUTH")
"""Flower's variables that make it ask who is there."""


def dashboard(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the dashboard.")] = 5555,
    address: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Run the dashboard. Beyond this machine it needs FLOWER_BASIC_AUTH=user:password."""
    try:
        from flower import urls
    except ImportError as error:
        raise ConfigurationError(
            "The dashboard needs the package flower: pip install 'tryon-workers[monitor]'."
        ) from error
    from worker.app import app

    if not is_loopback(address) and not any(os.environ.get(name) for name in PASSWORDS):
        raise ConfigurationError(
            f"The dashboard can stop workers and does not listen on {address} without a password: set "
            "FLOWER_BASIC_AUTH=user:password."
        )
    # Flower serves them without the password that it asks for elsewhere; `tryon metrics` has what they show.
    urls.handlers[:] = [route for route in urls.handlers if not _serves(route, "/metrics")]
    app.start(["flower", f"--address={address}", f"--port={port}"])


def _serves(route: Any, path: str) -> bool:
    """Return whether one of Flower's routes, a tuple or a tornado URLSpec, is the one of this path."""
    return isinstance(route, tuple) and route[0] == path
