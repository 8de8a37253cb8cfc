"""Files wherever they lie: listing, range reads, and publication of whole files only.

A location is a local path, a ``file://`` URL, an ``s3://``, ``gs://`` or ``abfs://`` URL (through pyarrow), or an
``https://``, ``http://`` or ``hf://`` URL (through fsspec; to be read only).
"""

from __future__ import annotations

from pipeline.storage.ahead import read_ahead
from pipeline.storage.files import (
    exists,
    file_info,
    file_infos,
    list_files,
    open_source,
    read_bytes,
)
from pipeline.storage.location import (
    REMOTE_SCHEMES,
    FileInfo,
    can_list,
    is_local,
    join,
    local_path,
    without_query,
)
from pipeline.storage.source import ByteSource
from pipeline.storage.tree import DEEPEST, walk_files
from pipeline.storage.versions import read_version, replace_if
from pipeline.storage.writing import (
    STAGING,
    NewFile,
    copy,
    create,
    remove,
    remove_all,
    remove_folder,
    write_bytes,
)

__all__ = [
    "DEEPEST",
    "REMOTE_SCHEMES",
    "STAGING",
    "ByteSource",
    "FileInfo",
    "NewFile",
    "can_list",
    "copy",
    "create",
    "exists",
    "file_info",
    "file_infos",
    "is_local",
    "join",
    "list_files",
    "local_path",
    "open_source",
    "read_ahead",
    "read_bytes",
    "read_version",
    "remove",
    "remove_all",
    "remove_folder",
    "replace_if",
    "walk_files",
    "without_query",
    "write_bytes",
]
