"""An S3 server that misbehaves as told: requests pass through it on their way to the real one."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

Wanted = Callable[[str, str], bool]  # (method, path) -> whether a fault is meant for it

PASSED_ON = ("content-length", "transfer-encoding", "connection", "date", "server")


@dataclass
class Fault:
    """What happens to the next requests that are wanted.

    Attributes:
        wanted: Which.
        status: Answered instead of passing the request on; 0 passes it on and answers nothing.
        times: To how many.
        code: The word in the answer.
    """

    wanted: Wanted
    status: int
    times: int = 1
    code: str = ""


@dataclass
class FaultyStore:
    """The server.

    Attributes:
        faults: What is still to happen.
        ignored: Headers, in small letters, that are as good as not sent.
        seen: (method, path) of every request.
    """

    endpoint: str
    faults: list[Fault] = field(default_factory=list)
    ignored: tuple[str, ...] = ()
    seen: list[tuple[str, str]] = field(default_factory=list)

    def take(self, method: str, path: str) -> Fault | None:
        self.seen.append((method, path))
        for fault in list(self.faults):  # what is wanted may itself send requests
            if fault.times and fault.wanted(method, path):
                fault.times -= 1
                return fault
        return None


@contextmanager
def faulty_store(behind: str) -> Iterator[FaultyStore]:
    """Starts one.

    Args:
        behind: Endpoint of the real server.
    """
    real = urlsplit(behind)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            fault = store.take(self.command, self.path)
            if fault is not None and fault.status:
                text = f"<Error><Code>{fault.code or fault.status}</Code></Error>".encode()
                self.send_response(fault.status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(text)
                return
            connection = http.client.HTTPConnection(real.hostname or "", real.port, timeout=60)
            headers = {
                name: value
                for name, value in self.headers.items()
                if name.lower() not in store.ignored
            }
            connection.request(self.command, self.path, body, headers)
            response = connection.getresponse()
            content = response.read()
            connection.close()
            if fault is not None:  # it was done, and nobody is told
                self.close_connection = True
                self.connection.close()
                return
            self.send_response(response.status)
            for name, value in response.getheaders():
                if name.lower() not in PASSED_ON:
                    self.send_header(name, value)
            size = response.getheader("Content-Length") if self.command == "HEAD" else None
            self.send_header("Content-Length", size or str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    store = FaultyStore(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        server.server_close()
