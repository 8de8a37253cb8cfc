"""Lines that libmpg123 writes to stderr are caught: it has one for every odd frame, of good files too."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator

_STDERR = 2
_OF_THE_DECODER = re.compile(rb"\s*\Z|\[?(src/)?libmpg123/|(Note|Warning): ")
_lock = threading.Lock()


@contextlib.contextmanager
def decoder_lines_caught() -> Iterator[None]:
    """Catches what libmpg123 writes to file descriptor 2; all else that comes there meanwhile is passed on.

    Its errors are raised by libsndfile, or seen in the number of samples. One thread of a process at a time.
    """
    with _lock:
        try:
            original = os.dup(_STDERR)
        except OSError:  # there is no stderr
            yield
            return
        lines = _file()
        _flush()
        os.dup2(lines, _STDERR)
        try:
            yield
        finally:
            _flush()
            os.dup2(original, _STDERR)
            os.close(original)
            _pass_on(lines)
            os.close(lines)


def _file() -> int:
    if sys.platform == "linux":
        return os.memfd_create("decoder")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _flush() -> None:
    if sys.stderr is not None:
        sys.stderr.flush()


def _pass_on(file: int) -> None:
    size = os.lseek(file, 0, os.SEEK_CUR)
    lines = os.pread(file, size, 0).splitlines(keepends=True) if size else []
    foreign = b"".join(line for line in lines if not _OF_THE_DECODER.match(line))
    if foreign:
        os.write(_STDERR, foreign)
