"""The files of a local folder tree: one set of rules for links and hidden names, wherever a tree is listed.

Links to files and folders are followed, as a shell and ``glob.glob`` follow them; a link to a folder that it lies in
ends there. Hidden files and folders are left out unless they are asked for.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

from pipeline.logs import event

logger = logging.getLogger(__name__)

DEEPEST = 1 << 10  # folders inside one another


def walk_files(
    folder: str, *, depth: int = DEEPEST, hidden: bool = True, dangling: bool = False
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """The files of a folder tree, in no order.

    Args:
        folder: Where it begins.
        depth: Folders below it that are entered; 0 lists its own files.
        hidden: Whether names that begin with a dot are listed and entered.
        dangling: Whether links that lead nowhere are listed too; where not, that is logged.

    Yields:
        The path below the folder, with slashes, and the entry.

    Raises:
        OSError: A folder cannot be listed; one that is gone has no files.
    """
    yield from _walk(folder or ".", "", depth, hidden, dangling, ())


def _walk(
    folder: str,
    prefix: str,
    depth: int,
    hidden: bool,
    dangling: bool,
    above: tuple[tuple[int, int], ...],
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    try:
        status = os.stat(folder)
        place = status.st_dev, status.st_ino
        if place in above:
            return
        entries = os.scandir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    with entries:
        for entry in entries:
            if entry.name.startswith(".") and not hidden:
                continue
            if entry.is_symlink() and not os.path.exists(entry.path):
                if dangling:
                    yield prefix + entry.name, entry
                else:
                    event(logger, "link_leads_nowhere", path=entry.path)
            elif entry.is_file():
                yield prefix + entry.name, entry
            elif depth and entry.is_dir():
                inside = f"{prefix}{entry.name}/"
                yield from _walk(entry.path, inside, depth - 1, hidden, dangling, (*above, place))


def is_hidden(path: str) -> bool:
    """Whether a part of a path below some folder begins with a dot."""
    return path.startswith(".") or "/." in path
