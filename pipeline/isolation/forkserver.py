"""Where children come from: a process that has imported what they need, and makes a copy of itself for each.

A copy of the process that asks would inherit the threads of Ray and of clients half-way, and a new program imports for
most of a second. The server has one thread and nothing open, so that its copies are as good as new programs.

    process that asks            fork server              child
      start(descriptors)  ──▸  fork  ─────────────────▸  child.main(descriptors)
      ended(pid)          ──▸  waitpid                   ends with the server
      (its end)           ──▸  ends

Nothing but the end of the process that asks ends it, and that ends the children, whatever they are at.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from pipeline.isolation import child

SERVER_NAME, CHILD_NAME = "fork server", "decoding"  # as top and ps -o comm show them
_LENGTH = 4  # bytes of a message's length
_MOST_DESCRIPTORS = 16
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
_ERRORS = 2  # the last of the standard files

# A copy has only the thread that copies: another, which pyarrow's other allocator begins with, could hold a lock.
_NO_OTHER_THREAD = {"JE_ARROW_MALLOC_CONF": "background_thread:false"}
PROGRAM = f"import sys; from {__name__} import main; main(int(sys.argv[1]))"


class ServerEnded(Exception):
    """The fork server has ended, and its children with it."""


class ForkServer:
    """A fork server as the process that has started it sees it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair()
        path = os.pathsep.join(folder or os.getcwd() for folder in sys.path)
        with theirs, _without_interrupts():
            self._process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**os.environ, **child.ONE_THREAD, **_NO_OTHER_THREAD, "PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
            )

    def start(self, modules: Sequence[str], descriptors: Sequence[int]) -> int:
        """Starts a child; its process.

        Args:
            modules: What the server imports first, if it has not yet; all children have it then.
            descriptors: Open files for :func:`pipeline.isolation.child.main`.

        Raises:
            ServerEnded: There is no server any more.
            OSError: The machine has no room for another process.
        """
        return int(self._ask({"start": list(modules)}, descriptors))

    def code_of(self, pid: int) -> int | None:
        """How a child has ended, as ``subprocess`` has it; None while it runs. A code is told once.

        Raises:
            ServerEnded: There is no server any more.
        """
        code = self._ask({"code_of": pid})
        return None if code is None else int(code)

    def close(self) -> None:
        """Ends the server and its children."""
        self._socket.close()
        self._process.wait()

    def forget(self) -> None:
        """Gives back what a copy of the process that has started it holds; the server goes on for that one."""
        self._socket.close()
        self._process.returncode = 0  # not a child of this process: there is nothing to wait for

    def _ask(self, message: object, descriptors: Sequence[int] = ()) -> Any:
        try:
            with self._lock, self._whole():
                _send(self._socket, message, descriptors)
                answer, _ = _receive(self._socket)
        except (EOFError, OSError) as error:
            raise ServerEnded from error
        if "errno" in answer:
            raise OSError(answer["errno"], os.strerror(answer["errno"]))
        return answer["value"]

    @contextlib.contextmanager
    def _whole(self) -> Iterator[None]:
        """Ends the server where Ctrl-C comes before an answer, which would be taken for that to the next question."""
        try:
            yield
        except BaseException:
            self._socket.close()
            raise


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Ctrl-C is kept for later: a program that is started here begins with it blocked."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Ours:
    """The server of this process, which is started when it is first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._server: ForkServer | None = None

    def get(self, ended: ForkServer | None = None) -> ForkServer:
        """The server; another than the one that has ended."""
        with self._lock:
            if self._server is not None and self._server is ended:
                self._server.close()
                self._server = None
            if self._server is None:
                self._server = ForkServer()
            return self._server

    def forget(self) -> None:
        """In a copy of this process: the server is that of the one that was copied, and so is who holds the lock."""
        self._lock = threading.Lock()
        if self._server is not None:
            self._server.forget()
            self._server = None


_ours = _Ours()
os.register_at_fork(after_in_child=_ours.forget)


def start_child(modules: Sequence[str], descriptors: Sequence[int]) -> tuple[ForkServer, int]:
    """Starts a child, by a new server where the last has ended: which one, and the child's process."""
    server = _ours.get()
    try:
        return server, server.start(modules, descriptors)
    except ServerEnded:
        server = _ours.get(server)
        return server, server.start(modules, descriptors)


def _send(to: socket.socket, message: object, descriptors: Sequence[int] = ()) -> None:
    body = json.dumps(message).encode()
    head = len(body).to_bytes(_LENGTH, "big")
    socket.send_fds(to, [head], descriptors)
    to.sendall(body)


def _receive(by: socket.socket) -> tuple[Any, list[int]]:
    """A message, and the open files that came with it.

    Raises:
        EOFError: The other end is closed.
    """
    head, descriptors, _, _ = socket.recv_fds(by, _LENGTH, _MOST_DESCRIPTORS, socket.MSG_WAITALL)
    size = int.from_bytes(head, "big")
    body = by.recv(size, socket.MSG_WAITALL)
    if len(head) < _LENGTH or len(body) < size:
        raise EOFError
    return json.loads(body), descriptors


def main(descriptor: int) -> None:
    """The server's program.

    Args:
        descriptor: Of the socket to the process that has started it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is asked, and ends this process
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    # What a child is given must not lie where its outputs go.
    while os.open(os.devnull, os.O_RDWR) <= _ERRORS:
        pass
    server = os.getpid()
    _prctl(_PR_SET_NAME, SERVER_NAME.encode())
    descriptors = _serve(socket.socket(fileno=descriptor))
    if server != os.getpid():
        die_with_parent(server)
        _prctl(_PR_SET_NAME, CHILD_NAME.encode())
        child.main(descriptors)
    os._exit(0)  # nothing of it outlives it, and the end of an interpreter takes its time


def _serve(ours: socket.socket) -> list[int]:
    """Answers until the other end is closed; returns in every child as well, with the open files that are its own."""
    while True:
        try:
            message, descriptors = _receive(ours)
        except (EOFError, OSError):
            return []
        answer: dict[str, object] = {}
        try:
            value = _start(message["start"]) if "start" in message else _code_of(message["code_of"])
            if value == 0 and "start" in message:
                ours.close()
                return descriptors
            answer["value"] = value
        except OSError as error:
            answer["errno"] = error.errno
        for each in descriptors:
            os.close(each)
        _send(ours, answer)


def _start(modules: Sequence[str]) -> int:
    """Makes a copy of this process: the copy, or 0 where this is it."""
    for name in modules:
        if name not in sys.modules:
            with contextlib.suppress(Exception):  # the child meets it again, and tells of it
                importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a collection in a child would otherwise write to all of what is shared
    return os.fork()


def _code_of(pid: int) -> int | None:
    """How a child has ended; None while it runs."""
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def die_with_parent(parent: int) -> None:
    """Asks the kernel to end this process with its parent, and does so if that is gone already."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def _prctl(option: int, value: int | bytes) -> None:
    """Asks something of the kernel, where it is Linux."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).prctl(option, value)
