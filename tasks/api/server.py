"""Runs the web application under uvicorn."""

import logging
import os
import socket

import uvicorn

from config.endpoints import is_loopback
from config.settings import ConfigurationError
from db import keys
from tasks.api.app import create_app
from tasks.api.protocol import TimedProtocol

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 2000
"""Connections at once; a further client is told to come back (503)."""

BACKLOG = 1024
"""Connections that wait to be accepted."""

SHUTDOWN_S = 5
"""Time that open requests get after the signal to stop, seconds; event streams end with it."""


class AddressError(ConfigurationError):
    """The server cannot listen on its address."""


def run(host: str, port: int) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises AddressError when the address cannot be used, and ConfigurationError when it can be reached from
    other machines and no API key was made.
    """
    local = is_loopback(host)
    if not local and all(key["revoked_at"] for key in keys.all_keys()):
        raise ConfigurationError(
            f"{host} can be reached from other machines, and there is no API key: make one with "
            "`tryon keys add TENANT`, or serve on 127.0.0.1."
        )
    listener = _listen(host, port)
    address = f"http://{host}:{listener.getsockname()[1]}"
    config = uvicorn.Config(
        create_app(keys_required=not local),
        http=TimedProtocol,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=SHUTDOWN_S,
    )
    log.info("Serving on %s", address)
    print(f"The page: {address}/", flush=True)
    uvicorn.Server(config).run([listener])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise AddressError(f"Cannot listen on {host} port {port}: {os.strerror(error.errno or 0)}") from error
