"""Files on web servers, through fsspec: range requests where the server answers them, the whole file where not."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import IO, TYPE_CHECKING

from pipeline.errors import ConfigError
from pipeline.storage.base import RangeFile
from pipeline.storage.location import FileInfo, check_writable, without_query
from pipeline.storage.retry import WORTH_RETRYING

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem
    from fsspec.spec import AbstractBufferedFile

_WHOLE_BYTES = 256 << 20  # kept of a file whose server does not answer range requests
_CONNECT_SECONDS = 30.0
_SILENT_SECONDS = 60.0  # a connection that says nothing for so long is broken


class WebStore:
    """Any web server; it can be read, not listed."""

    def __init__(self) -> None:
        import aiohttp
        import fsspec

        # Bytes as they are stored: a .tar.gz that the server calls an encoding is not unpacked on the way.
        self._filesystem: AbstractFileSystem = fsspec.filesystem(
            "https",
            headers={"Accept-Encoding": "identity"},
            client_kwargs={
                "auto_decompress": False,
                "trust_env": True,  # HTTPS_PROXY and the like
                "timeout": aiohttp.ClientTimeout(
                    total=None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENT_SECONDS
                ),
            },
        )

    def info(self, url: str) -> FileInfo | None:
        try:
            return self._info(url)
        except FileNotFoundError:
            return None

    def exists(self, url: str) -> bool:
        return self.info(url) is not None

    def files(self, folder: str, *, recursive: bool) -> Iterable[FileInfo]:
        raise ConfigError(
            "a web server does not say which files it has",
            where=without_query(folder),
            fix="name them: one address each, or with braces, as in shard-{000000..000099}.tar",
        )

    def open(self, url: str) -> RangeFile:
        return _WebFile(self._filesystem, url, self._info(url).size)

    def read(self, url: str) -> bytes:
        with _plain_errors(url):
            return bytes(self._filesystem.cat_file(url))

    def write(self, url: str, data: IO[bytes]) -> None:
        check_writable(url)

    def copy(self, url: str, name: str) -> None:
        check_writable(name)

    def remove(self, url: str) -> None:
        check_writable(url)

    def _info(self, url: str) -> FileInfo:
        with _plain_errors(url):
            entry = self._filesystem.info(url)
        if entry["size"] is None:
            raise ConfigError(
                "the server does not say how large the file is",
                where=without_query(url),
                fix="serve it with a Content-Length, or download it first",
            )
        tag = entry.get("ETag") or entry.get("Last-Modified") or ""
        return FileInfo(url, int(entry["size"]), tag)


class _WebFile:
    def __init__(self, filesystem: AbstractFileSystem, url: str, size: int) -> None:
        self._filesystem, self._url, self.size = filesystem, url, size
        self._whole: bytes | None = None
        self._file: AbstractBufferedFile | None = None
        self.ranged = False

    def read_range(self, start: int, length: int) -> bytes | memoryview:
        if self._whole is None:
            try:
                data = self._read(start, length)
                # fsspec cuts the first bytes from a whole file without a word, so they prove nothing.
                self.ranged = self.ranged or start > 0
                return data
            except (
                ValueError
            ):  # fsspec's word for a server that sends the whole file whatever is asked for
                self._whole = self._read_whole()
        return memoryview(self._whole)[start : start + length]

    def close(self) -> None:
        self._whole = self._file = None

    def _read(self, start: int, length: int) -> bytes:
        with _plain_errors(self._url):
            if self._file is None:
                self._file = self._filesystem.open(
                    self._url, "rb", size=self.size, cache_type="none"
                )
            self._file.seek(start)
            return bytes(self._file.read(length))

    def _read_whole(self) -> bytes:
        if self.size > _WHOLE_BYTES:
            raise ConfigError(
                "the server does not answer range requests, and the file is too large to hold",
                where=without_query(self._url),
                fix="use a server that does, or download the file first",
            )
        with _plain_errors(self._url):
            return bytes(self._filesystem.cat_file(self._url))


@contextlib.contextmanager
def _plain_errors(url: str) -> Iterator[None]:
    """Turns aiohttp's errors into ``OSError``, and tells what is missing or refused from what broke on the way."""
    import aiohttp

    try:
        yield
    except FileNotFoundError as error:
        # fsspec says so of every failure to learn a file's size; the cause knows better.
        if isinstance(error.__cause__, Exception):
            raise _plain(error.__cause__, url) from error
        raise
    except (aiohttp.ClientError, TimeoutError) as error:
        raise _plain(error, url) from error


def _plain(error: Exception, url: str) -> Exception:
    import aiohttp

    if isinstance(error, aiohttp.InvalidURL):
        return ConfigError("not a web address", where=without_query(url), fix="check the address")
    if isinstance(error, aiohttp.ClientResponseError):
        message = f"the server answered {error.status} {error.message}"
        if error.status in (404, 410):
            return FileNotFoundError(f"{message}: {without_query(url)}")
        final = 400 <= error.status < 500 and error.status not in WORTH_RETRYING
        return PermissionError(message) if final else OSError(message)
    return OSError(f"{type(error).__name__}: {error}")
