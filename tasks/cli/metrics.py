"""The command that serves metrics for Prometheus."""

import signal
import threading
from contextlib import suppress
from typing import Annotated

import typer

from config.logs import set_up_logging
from config.settings import ConfigurationError


def metrics(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0: any free one.")] = 9808,
    address: Annotated[
        str, typer.Option(help="Address to listen on. They are not encrypted and ask for no password.")
    ] = "127.0.0.1",
) -> None:
    """Serve metrics for Prometheus, read from the database at each scrape, until stopped."""
    try:
        from prometheus_client import start_http_server
    except ImportError as error:
        raise ConfigurationError(
            "Metrics need the package prometheus-client: pip install 'tryon-workers[monitor]'."
        ) from error
    from worker.queue.metrics import registry

    set_up_logging()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        server, thread = start_http_server(port, addr=address, registry=registry())
    except OSError as error:
        raise ConfigurationError(
            f"Metrics cannot be served on {address}:{port}: {error}. Choose another --port or --address."
        ) from error
    with suppress(KeyboardInterrupt):
        typer.echo(f"Metrics: http://{address}:{server.server_port}/metrics")
        threading.Event().wait()
    server.shutdown()
    server.server_close()
    thread.join()
