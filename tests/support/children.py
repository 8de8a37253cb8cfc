"""Processes that a process has started."""

from pathlib import Path


def children(pid: int) -> list[int]:
    """Processes that a process has started, by any of its threads or by its fork server, which does not count."""
    found = []
    for child in _started_by(pid):
        found += _started_by(child) if is_fork_server(child) else [child]
    return sorted(found)


def fork_servers(pid: int) -> list[int]:
    """Fork servers that a process has started."""
    return [child for child in _started_by(pid) if is_fork_server(child)]


def is_fork_server(pid: int) -> bool:
    """Whether it is one, or a copy that one has made of itself."""
    try:
        return b"isolation.forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _started_by(pid: int) -> list[int]:
    files = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for file in files for child in file.read_text().split()]
