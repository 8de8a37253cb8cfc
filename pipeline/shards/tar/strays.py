"""Members of a tar that belong to no sample: what systems and editors leave beside files, and hidden files.

They are passed over and counted, wherever they lie: they neither make a sample nor part the members of one. The key of
a WebDataset sample is its name up to the first dot of the last component, so no sample can begin with a dot there.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

# Kind -> what it is; the words that lint shows.
KINDS: Mapping[str, str] = {
    "AppleDouble": "what macOS keeps beside a file (._NAME, __MACOSX/)",
    "system": "what a system keeps in a folder (Thumbs.db, desktop.ini, @eaDir/)",
    "backup": "what an editor keeps of a file (NAME~, #NAME#, NAME.bak)",
    "hidden": "hidden files (.NAME)",
}
_APPLE_FOLDERS = frozenset({"__MACOSX", ".AppleDouble"})
_SYSTEM_FOLDERS = frozenset(
    {
        "@eaDir",
        "#recycle",
        "$RECYCLE.BIN",
        "RECYCLER",
        "System Volume Information",
        "lost+found",
        "__pycache__",
        ".ipynb_checkpoints",
        ".git",
        ".svn",
        ".Spotlight-V100",
        ".Trashes",
        ".fseventsd",
        ".TemporaryItems",
        ".DocumentRevisions-V100",
    }
)
_SYSTEM_FILES = frozenset(
    {"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r", ".ds_store"}
)
_BACKUP_SUFFIXES = ("~", ".bak", ".swp", ".swo")
# What the names of files that belong to no sample end with, where they do not begin with a dot or lie in a folder.
_FIRST_LETTERS = frozenset(".~#")
LAST_LETTERS = frozenset("~#kpobiB\rRKPOI")


@functools.lru_cache(maxsize=256)
def _folder_kind(folder: str) -> str | None:
    names = folder.split("/")
    if not _APPLE_FOLDERS.isdisjoint(names):
        return "AppleDouble"
    return None if _SYSTEM_FOLDERS.isdisjoint(names) else "system"


def stray_kind(name: str) -> str | None:
    """What a member is that belongs to no sample, a word of ``KINDS``; None for one that does."""
    start = name.rfind("/") + 1
    kind = _folder_kind(name[: start - 1]) if start else None
    if kind is None and (name[start : start + 1] in _FIRST_LETTERS or name[-1:] in LAST_LETTERS):
        return _file_kind(name[start:])
    return kind


def _file_kind(base: str) -> str | None:
    if base.startswith("._"):
        return "AppleDouble"
    if base.lower() in _SYSTEM_FILES:
        return "system"
    if base.startswith("."):
        return "hidden"
    if base.lower().endswith(_BACKUP_SUFFIXES) or base.startswith("~$"):
        return "backup"
    return "backup" if len(base) > 1 and base[0] == base[-1] == "#" else None
