"""Which store a remote location is in, and the object stores that pyarrow speaks to."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable
from typing import IO, TYPE_CHECKING

from pipeline.errors import ConfigError, in_words
from pipeline.logs import event
from pipeline.storage.base import RangeFile, Store
from pipeline.storage.location import HUB_SCHEMES, WEB_SCHEMES, FileInfo, scheme_of

if TYPE_CHECKING:
    from pyarrow import NativeFile, fs

_COPY_BYTES = 8 << 20
_NAMELESS = frozenset({"", ".", ".."})  # parts of keys that the libraries refuse

logger = logging.getLogger(__name__)


def store_of(url: str) -> Store:
    """The store that a remote location is in.

    Raises:
        ConfigError: The scheme is not known, or needs a package that is not installed.
    """
    scheme = scheme_of(url)
    if scheme in WEB_SCHEMES:
        from pipeline.storage.web import WebStore

        return WebStore()
    if scheme in HUB_SCHEMES:
        from pipeline.storage.hub import HubStore

        return HubStore()
    authority = url.partition("://")[2].partition("/")[0]
    return _arrow_store(f"{scheme}://{authority}")


@functools.lru_cache(maxsize=64)
def _arrow_store(root: str) -> ArrowStore:
    return ArrowStore(root)


class ArrowStore:
    """A bucket or container of an object store.

    Args:
        root: Its URL, without a path.
    """

    def __init__(self, root: str) -> None:
        from pyarrow import fs

        try:
            self._filesystem, base = fs.FileSystem.from_uri(root)
        except ValueError as error:
            raise ConfigError(
                f"the location cannot be used: {in_words(error)}", where=root
            ) from error
        self._root = root
        self._base: str = base.rstrip("/")

    def info(self, url: str) -> FileInfo | None:
        entry = self._filesystem.get_file_info(self._path(url))
        return FileInfo(url, entry.size, _version(entry)) if entry.is_file else None

    def exists(self, url: str) -> bool:
        return bool(self._filesystem.get_file_info(self._path(url)).type.value)

    def files(self, folder: str, *, recursive: bool) -> Iterable[FileInfo]:
        from pyarrow import fs

        path = self._path(folder).rstrip("/")
        selector = fs.FileSelector(path, recursive=recursive, allow_not_found=True)
        prefix = f"{folder.rstrip('/')}/"
        unreadable: list[str] = []
        for entry in self._filesystem.get_file_info(selector):
            if entry.is_file:
                name = entry.path[len(path) + 1 :]
                if _NAMELESS.isdisjoint(name.split("/")):
                    yield FileInfo(prefix + name, entry.size, _version(entry))
                else:
                    unreadable.append(prefix + name)
        if unreadable:
            # Neither pyarrow nor obstore can ask for such a key; it is never taken for another.
            event(
                logger,
                "keys_passed_over",
                count=len(unreadable),
                first=unreadable[0],
                reason="a part of the key is empty, . or ..",
                remedy="copy the object to another key",
            )

    def open(self, url: str) -> RangeFile:
        return _ArrowFile(self._filesystem.open_input_file(self._path(url)))

    def read(self, url: str) -> bytes:
        # compression=None, here and below: or pyarrow unpacks and packs by the suffix, unasked.
        with self._filesystem.open_input_stream(self._path(url), compression=None) as stream:
            return bytes(stream.read())

    def write(self, url: str, data: IO[bytes]) -> None:
        with self._filesystem.open_output_stream(self._path(url), compression=None) as stream:
            while piece := data.read(_COPY_BYTES):
                stream.write(piece)

    def copy(self, url: str, name: str) -> None:
        self._filesystem.copy_file(self._path(url), self._path(name))

    def remove(self, url: str) -> None:
        self._filesystem.delete_file(self._path(url))

    def _path(self, url: str) -> str:
        return self._base + url.removeprefix(self._root)


class _ArrowFile:
    ranged = True

    def __init__(self, file: NativeFile) -> None:
        self._file = file
        self.size = int(file.size())

    def read_range(self, start: int, length: int) -> bytes:
        data: bytes = self._file.read_at(length, start)
        return data

    def close(self) -> None:
        self._file.close()


def _version(info: fs.FileInfo) -> str:
    changed: int | None = info.mtime_ns
    return "" if changed is None else str(changed)
