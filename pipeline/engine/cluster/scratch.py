"""A folder for the sockets, logs and spilled objects of a local Ray, gone when the job is done."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.logs import event

_PREFIX = "mmp-ray-"
_YOUNG_SECONDS = 60.0
_logger = logging.getLogger(__name__)


@contextmanager
def folder() -> Iterator[Path]:
    """Makes a folder of this process's own, and removes it at the end.

    It lies in ``RAY_TMPDIR``, or in /tmp as Ray's does: the path of a socket in it may have 103
    bytes in all. After an unexpected error it stays until another job starts, for the logs in it;
    so does what a killed process has left (its lock is gone with it).

    Yields:
        The folder.
    """
    parent = Path(os.environ.get("RAY_TMPDIR", "/tmp"))
    _clear(parent)
    path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    with (path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield path
        except (PipelineError, KeyboardInterrupt, SystemExit):
            shutil.rmtree(path, ignore_errors=True)
            raise
        except BaseException:
            event(_logger, "ray_logs_kept", folder=path)
            raise
        else:
            shutil.rmtree(path, ignore_errors=True)


def _clear(parent: Path) -> None:
    for path in parent.glob(f"{_PREFIX}*"):
        try:
            if time.time() - path.stat().st_mtime < _YOUNG_SECONDS:
                continue  # perhaps just made, and not locked yet
            with (path / "lock").open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
        except OSError:
            continue  # in use, or another user's
