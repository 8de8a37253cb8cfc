"""Logging for all jobs: standard library, to stderr, an event word and key=value pairs."""

from __future__ import annotations

import logging
import sys


def set_up(level: int = logging.INFO) -> None:
    """Sends this package's and the jobs' log lines to stderr; safe to call twice."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
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


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value)
    return repr(text) if " " in text else text
