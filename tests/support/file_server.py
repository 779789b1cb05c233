"""An HTTP server of files that breaks off, refuses, redirects or forgets as a test asks."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@dataclass
class Served:
    """A file and how it is served.

    Attributes:
        data: what it holds.
        breaks: after how many bytes each of the first answers breaks off.
        statuses: what the first answers are instead.
        ranges: whether the server knows ranges.
        etag: what tells this version of the file from others; none where it is empty.
        location: where it redirects to.
    """

    data: bytes = b""
    breaks: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    ranges: bool = True
    etag: str = '"1"'
    location: str = ""
    content_type: str = "application/octet-stream"


class FileServer:
    """The files by path, and what was asked: (path, Range header)."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.files: dict[str, Served] = {}
        self.asked: list[tuple[str, str | None]] = []


@contextmanager
def file_server() -> Iterator[FileServer]:
    """A running server without files."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            asked_range = self.headers["Range"]
            served.asked.append((path, asked_range))
            file = served.files.get(path)
            if file is None or file.statuses:
                self.send_error(404 if file is None else file.statuses.pop(0))
                return
            if file.location:
                self.send_response(302)
                self.send_header("Location", file.location)
                self.end_headers()
                return
            start = 0
            same = self.headers["If-Range"] in (None, file.etag)
            if asked_range and file.ranges and same:
                start = int(asked_range.removeprefix("bytes=").removesuffix("-"))
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
    served = FileServer(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield served
    server.shutdown()
    server.server_close()
    thread.join()
