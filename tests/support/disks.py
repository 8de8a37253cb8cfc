"""Disks that are small or read-only, where this process may mount one."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[Path]:
    """A disk in memory that holds so much; the test is skipped where none can be mounted."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(folder)]
    if not can_run(mount):
        pytest.skip("mounting a small disk needs root")
    try:
        yield folder
    finally:
        can_run(["umount", "--lazy", str(folder)])


def remount(folder: Path, how: str) -> None:
    """Makes a mounted disk read-only (``ro``) or writable (``rw``)."""
    assert can_run(["mount", "-o", f"remount,{how}", str(folder)])


def can_run(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def fill(file: Path, leave_bytes: int) -> None:
    """Writes a file until its disk has only so much left."""
    status = os.statvfs(file.parent)
    free = status.f_bavail * status.f_frsize
    file.write_bytes(b"x" * max(0, free - leave_bytes))
