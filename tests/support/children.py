"""Processes that a process has started."""

from pathlib import Path


def children(pid: int) -> list[int]:
    """Processes that a process has started, by any of its threads."""
    files = Path(f"/proc/{pid}/task").glob("*/children")
    return sorted(int(child) for file in files for child in file.read_text().split())
