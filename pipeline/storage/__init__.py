"""Files wherever they lie: listing, range reads, and publication of whole files only.

A location is a local path, a ``file://`` URL, an ``s3://``, ``gs://`` or ``abfs://`` URL (through pyarrow), or an
``https://``, ``http://`` or ``hf://`` URL (through fsspec; to be read only).
"""

from __future__ import annotations

from pipeline.storage.files import (
    STAGING,
    create,
    exists,
    file_info,
    file_infos,
    link,
    list_files,
    open_source,
    read_bytes,
    remove,
    write_bytes,
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

__all__ = [
    "REMOTE_SCHEMES",
    "STAGING",
    "ByteSource",
    "FileInfo",
    "can_list",
    "create",
    "exists",
    "file_info",
    "file_infos",
    "is_local",
    "join",
    "link",
    "list_files",
    "local_path",
    "open_source",
    "read_bytes",
    "remove",
    "without_query",
    "write_bytes",
]
