"""An HTTP file server for tests that breaks connections, refuses, redirects or ignores ranges on request."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit


@dataclass
class ServedFile:
    """A file and how it is served.

    Attributes:
        data: its content.
        breaks: number of bytes after which each of the first responses breaks the connection.
        statuses: status codes that the first requests get instead of the file.
        ranges: whether the server supports range requests.
        etag: the ETag header; none if it is empty.
        location: the URL of a redirect, instead of the file.
    """

    data: bytes = b""
    breaks: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    ranges: bool = True
    etag: str = '"1"'
    location: str = ""
    content_type: str = "application/octet-stream"


class FileServer:
    """The files by path, and the requests so far: (path, Range header)."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.files: dict[str, ServedFile] = {}
        self.requests: list[tuple[str, str | None]] = []


@contextmanager
def file_server(certificate: Path | None = None) -> Iterator[FileServer]:
    """A running server without files; it speaks TLS with a certificate, whose key is beside it (.key)."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            range_header = self.headers["Range"]
            state.requests.append((path, range_header))
            file = state.files.get(path)
            if file is None or file.statuses:
                self.send_error(404 if file is None else file.statuses.pop(0))
                return
            if file.location:
                self.send_response(302)
                self.send_header("Location", file.location)
                self.end_headers()
                return
            start = 0
            same_version = self.headers["If-Range"] in (None, file.etag)
            if range_header and file.ranges and same_version:
                start = int(range_header.removeprefix("bytes=").removesuffix("-"))
                if start >= len(file.data):
                    self.send_error(416)
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(file.data) - 1}/{len(file.data)}")
            else:
                self.send_response(200)
            rest = file.data[start:]
            self.send_header("Content-Type", file.content_type)
            self.send_header("Content-Length", str(len(rest)))
            if file.etag:
                self.send_header("ETag", file.etag)
            self.end_headers()
            self.wfile.write(rest[: file.breaks.pop(0)] if file.breaks else rest)
            self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state = FileServer(server.server_address[1])
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, certificate.with_suffix(".key"))
        server.socket = context.wrap_socket(server.socket, server_side=True)
        state.url = state.url.replace("http:", "https:")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield state
    server.shutdown()
    server.server_close()
    thread.join()
