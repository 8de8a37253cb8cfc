"""Logging for all jobs: standard library, to stderr, an event word and key=value pairs."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator

from pipeline.safe_text.printable import printable, printable_lines
from pipeline.safe_text.redaction import redact


class RedactedRecord(logging.LogRecord):
    """A line of a log, of any library in this process, without passwords and signatures."""

    def getMessage(self) -> str:
        """The message."""
        if self.exc_info and not self.exc_text:  # before a formatter writes the traceback itself
            self.exc_text = redact(logging.Formatter().formatException(self.exc_info))
        return redact(super().getMessage())


def set_up(level: int = logging.INFO) -> None:
    """Sends this package's and the jobs' log lines to stderr; safe to call twice."""
    logging.setLogRecordFactory(RedactedRecord)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    for name in ("pipeline", "jobs"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level)
        logger.propagate = False


def event(logger: logging.Logger, word: str, **fields: object) -> None:
    """Logs one line, ``word key=value ...``, at level INFO."""
    logger.info(
        "%s", " ".join([word, *(f"{name}={_text(value)}" for name, value in fields.items())])
    )


@contextlib.contextmanager
def without_library_noise() -> Iterator[None]:
    """Keeps C libraries from writing to the terminal: the MP3 decoder prints a line for every odd frame it gets over.

    Whatever the process writes to file descriptor 2 meanwhile is lost; errors are raised, not written, so they are not.
    """
    sys.stderr.flush()
    terminal = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
        os.close(nowhere)


class _Formatter(logging.Formatter):
    """Lines without what a terminal would obey, whatever was logged."""

    def format(self, record: logging.LogRecord) -> str:
        return printable_lines(super().format(record))


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    text = printable(str(value))
    return repr(text) if " " in text else text
