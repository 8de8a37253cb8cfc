"""A web server of one folder for tests: range requests, and connections that break when a test says so."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit


@dataclass
class WebFolder:
    """The folder, and how its server behaves.

    Attributes:
        url: Address of the folder.
        ranges: Whether range requests are answered as such; otherwise the whole file is sent.
        broken: Numbers of the GET requests, counted from 0, that break off halfway.
        statuses: Number of a GET request -> the status it is answered with instead.
        requests: ``(path, bytes sent)`` of every GET request so far.
    """

    folder: Path
    url: str = ""
    ranges: bool = True
    broken: set[int] = field(default_factory=set)
    statuses: dict[int, int] = field(default_factory=dict)
    requests: list[tuple[str, int]] = field(default_factory=list)


@contextlib.contextmanager
def serve(folder: Path, certificate: tuple[Path, Path] | None = None) -> Iterator[WebFolder]:
    """Serves a folder on this machine; with a certificate and its key over https."""
    web = WebFolder(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(web))
    scheme = "http"
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "https"
    web.url = f"{scheme}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(web: WebFolder) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = (
            True  # or each answer waits 40 ms for the client's acknowledgement
        )

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            path = web.folder / unquote(urlsplit(self.path).path).lstrip("/")
            number = len(web.requests)
            if body:
                web.requests.append((path.name, 0))
            status = web.statuses.get(number) if body else None
            if status is not None or not path.is_file():
                self.send_response(status or 404)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            data = path.read_bytes()
            wanted = self.headers.get("Range")
            if wanted and web.ranges:
                first, last = wanted.removeprefix("bytes=").split("-")
                start, end = int(first), min(int(last) + 1, len(data))
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
                data = data[start:end]
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("ETag", f'"{path.stat().st_mtime_ns}"')
            self.end_headers()
            if not body:
                return
            if number in web.broken:
                data = data[: len(data) // 2]
                self.close_connection = True
            with contextlib.suppress(ConnectionError):  # a client may have read enough
                self.wfile.write(data)
            web.requests[number] = (path.name, len(data))

        def log_message(self, *arguments: object) -> None:
            pass

    return Handler
