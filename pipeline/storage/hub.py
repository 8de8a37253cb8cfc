"""Files of the Hugging Face Hub, through its fsspec file system."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, TYPE_CHECKING

from pipeline.errors import ConfigError, in_words
from pipeline.storage.base import RangeFile
from pipeline.storage.location import FileInfo, check_writable
from pipeline.storage.retry import WORTH_RETRYING

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


class HubStore:
    """The repositories of the hub, as ``hf://datasets/OWNER/NAME[@REVISION]/PATH``; read only."""

    def __init__(self) -> None:
        try:
            import huggingface_hub  # noqa: F401 - fsspec imports it by the scheme's name
        except ImportError:
            raise ConfigError(
                "hf:// locations need a package that is not installed",
                where="huggingface_hub",
                fix="install the extra: pip install 'multimodal-pipeline[hf]'",
            ) from None
        import fsspec

        self._filesystem: AbstractFileSystem = fsspec.filesystem("hf")

    def info(self, url: str) -> FileInfo | None:
        with _plain_errors(url):
            try:
                entry = self._filesystem.info(_path(url))
            except FileNotFoundError:
                return None
        return FileInfo(url, int(entry["size"]), _version(entry)) if _is_file(entry) else None

    def exists(self, url: str) -> bool:
        with _plain_errors(url):
            return bool(self._filesystem.exists(_path(url)))

    def files(self, folder: str, *, recursive: bool) -> Iterable[FileInfo]:
        path = _path(folder).rstrip("/")
        with _plain_errors(folder):
            try:
                if recursive:
                    listed = list(self._filesystem.find(path, detail=True).values())
                else:
                    listed = self._filesystem.ls(path, detail=True)
            except FileNotFoundError:
                return
        for entry in filter(_is_file, listed):
            yield FileInfo("hf://" + entry["name"].lstrip("/"), int(entry["size"]), _version(entry))

    def open(self, url: str) -> RangeFile:
        info = self.info(url)
        if info is None:
            raise FileNotFoundError(url)
        return _HubFile(self._filesystem, url, info.size)

    def read(self, url: str) -> bytes:
        with _plain_errors(url):
            return bytes(self._filesystem.cat_file(_path(url)))

    def write(self, url: str, data: IO[bytes]) -> None:
        check_writable(url)

    def copy(self, url: str, name: str) -> None:
        check_writable(name)

    def remove(self, url: str) -> None:
        check_writable(url)


class _HubFile:
    ranged = True

    def __init__(self, filesystem: AbstractFileSystem, url: str, size: int) -> None:
        self._filesystem, self._url, self.size = filesystem, url, size

    def read_range(self, start: int, length: int) -> bytes:
        with _plain_errors(self._url):
            data: bytes = self._filesystem.cat_file(
                _path(self._url), start, start + length, cache_type="none", size=self.size
            )
        return data

    def close(self) -> None:
        """A range is a request of its own: nothing is held."""


@contextlib.contextmanager
def _plain_errors(url: str) -> Iterator[None]:
    """Turns the hub's errors into ``OSError``, and tells what is refused from what broke on the way."""
    from huggingface_hub import errors

    try:
        yield
    except FileNotFoundError:
        raise
    # Its own errors, and those of the HTTP client it uses, whichever that is.
    except (errors.HfHubHTTPError, errors.HTTPError) as error:  # type: ignore[attr-defined]
        status = getattr(getattr(error, "response", None), "status_code", None)
        message = f"{type(error).__name__}: {in_words(error)}"
        final = status is not None and 400 <= status < 500 and status not in WORTH_RETRYING
        raise (PermissionError if final else OSError)(message) from error
    except (ValueError, NotImplementedError) as error:
        raise ConfigError(
            f"not a location of the hub: {in_words(error)}",
            where=url,
            fix="write hf://datasets/OWNER/NAME/PATH",
        ) from error


def _path(url: str) -> str:
    return url.removeprefix("hf://")


def _is_file(entry: Mapping[str, object]) -> bool:
    return bool(entry["type"] == "file")


def _version(entry: Mapping[str, object]) -> str:
    """The digest of the content, by whichever of its names the hub gives it."""
    large = entry.get("lfs")
    digest = large.get("sha256") if isinstance(large, dict) else getattr(large, "sha256", "")
    return str(digest or entry.get("xet_hash") or entry.get("blob_id") or "")
