"""A proxy that gives an unencrypted server an encrypted port, as the servers of an operator have."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_SSL_REQUEST = bytes((0, 0, 0, 8, 4, 210, 22, 47))
"""With this a client of PostgreSQL asks for TLS; the server answers S."""


@contextmanager
def tls_proxy(port: int, certificate: Path, *, postgres: bool = False) -> Iterator[int]:
    """A port of the loopback that speaks TLS for the server at `port`; the certificate's key is beside it."""
    proxy = _Proxy(port, certificate, postgres)
    proxy.start(proxy.accept)
    try:
        yield proxy.listener.getsockname()[1]
    finally:
        proxy.stop()


class _Proxy:
    def __init__(self, port: int, certificate: Path, postgres: bool) -> None:
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.load_cert_chain(certificate, certificate.with_suffix(".key"))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port, self.postgres = port, postgres
        self.threads: list[threading.Thread] = []
        self.sockets: list[socket.socket] = [self.listener]

    def start(self, function: Callable[..., None], *arguments: socket.socket) -> None:
        self.threads.append(threading.Thread(target=function, args=arguments, daemon=True))
        self.threads[-1].start()

    def accept(self) -> None:
        with suppress(OSError):  # the listener is closed
            while True:
                client, _ = self.listener.accept()
                self.sockets.append(client)
                self.start(self.serve, client)

    def serve(self, client: socket.socket) -> None:
        with suppress(OSError):  # either side may leave, and a client may refuse the certificate
            if self.postgres:
                assert client.recv(len(_SSL_REQUEST)) == _SSL_REQUEST
                client.sendall(b"S")
            encrypted = self.context.wrap_socket(client, server_side=True)
            server = socket.create_connection(("127.0.0.1", self.port))
            self.sockets += [encrypted, server]
            self.start(self.copy, server, encrypted)
            self.copy(encrypted, server)

    def copy(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def stop(self) -> None:
        for end in self.sockets:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        for thread in self.threads:
            thread.join(5)
