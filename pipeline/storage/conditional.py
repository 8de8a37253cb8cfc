"""Conditional writes: an object is made once, or replaced only while it is still the one that was read.

pyarrow's object stores send no conditions, obstore's do: ``If-None-Match: *`` and ``If-Match`` of S3 and Azure, and the
generations of Google Cloud Storage. No answer at all may mean that the write was done, so a write that is tried again
looks at what is there before it says that somebody else was faster.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pipeline.errors import ConfigError, SinkError
from pipeline.storage.location import scheme_of
from pipeline.storage.retry import retried

if TYPE_CHECKING:
    from obstore import PutMode, UpdateVersion
    from obstore.store import ObjectStore
    from typing_extensions import Buffer

_REQUEST_SECONDS = 120.0  # a request that takes longer is tried again


class Refused(Exception):
    """The object is there already, or is another than the one that was read."""


class Unsupported(ConfigError):
    """The store has no writes under a condition."""


def create_once(url: str, data: Buffer) -> bool:
    """Writes an object unless there is one of that name; the first writer wins.

    Args:
        url: Where.
        data: Its content, bytes-like.

    Returns:
        Whether what is there now is this content.

    Raises:
        SinkError: It cannot be written.
    """
    return _write(url, data, "create") is not None


def read_versioned(url: str) -> tuple[bytes, str]:
    """An object and its version, which :func:`replace_version` takes.

    Raises:
        FileNotFoundError: There is no such object.
        InputError: It cannot be read.
    """

    def read() -> tuple[bytes, str]:
        import obstore

        store, path = _store_and_path(url)
        with _plain_errors():
            response = obstore.get(store, path)
            return bytes(response.bytes()), _version(dict(response.meta))

    return retried(read, what="cannot be read", where=url)


def replace_version(url: str, data: bytes, version: str) -> str | None:
    """Replaces an object while it is still of the version that was read.

    Returns:
        The new version, None where another has replaced it first.

    Raises:
        SinkError: It cannot be written.
    """
    e_tag, _, generation = version.partition("\n")
    condition: UpdateVersion = {"e_tag": e_tag}
    if generation:
        condition["version"] = generation
    return _write(url, data, condition)


def _write(url: str, data: Buffer, condition: PutMode) -> str | None:
    """Writes under a condition; the new version, None where the condition does not hold."""
    tries = 0

    def write() -> str | None:
        import obstore

        nonlocal tries
        tries += 1
        store, path = _store_and_path(url)
        try:
            with _plain_errors():
                done = obstore.put(store, path, data, mode=condition, use_multipart=False)
                return _version(dict(done))
        except Refused as refused:
            if "409 Conflict" in str(refused.__cause__):  # somebody else's request is under way
                raise OSError("another write to it is under way") from refused
            if tries > 1:  # perhaps by the try before, whose answer was lost
                stored, version = read_versioned(url)
                return version if stored == bytes(data) else None
            return None

    return retried(write, what="cannot be written", where=url, kind=SinkError)


def _version(meta: Mapping[str, Any]) -> str:
    """ETag and generation of an object as one word."""
    return "\n".join(word for word in (meta.get("e_tag"), meta.get("version")) if word)


@contextmanager
def _plain_errors() -> Iterator[None]:
    """What obstore raises, as what the rest of the house expects: ``OSError`` is worth another try."""
    from obstore import exceptions as said

    try:
        yield
    except (said.AlreadyExistsError, said.PreconditionError) as error:
        raise Refused from error
    except (said.PermissionDeniedError, said.UnauthenticatedError) as error:
        raise PermissionError(_first_line(error)) from error
    except said.NotFoundError as error:
        raise FileNotFoundError(_first_line(error)) from error
    except said.NotSupportedError as error:
        raise Unsupported(_first_line(error)) from error
    except said.BaseError as error:
        line = _first_line(error)
        if "501 Not Implemented" in line or "<Code>NotImplemented" in line:
            raise Unsupported(line) from error
        raise OSError(line) from error


def _first_line(error: Exception) -> str:
    """What went wrong, without the structures of the library behind it."""
    return str(error).partition("\n\nDebug source:")[0]


def _store_and_path(url: str) -> tuple[ObjectStore, str]:
    scheme, _, address = url.partition("://")
    authority, _, path = address.partition("/")
    return _store(f"{scheme}://{authority}", os.getpid()), path


@functools.lru_cache(maxsize=64)
def _store(root: str, process: int) -> ObjectStore:
    """The bucket or container; one a process, since a fork does not take the connections' threads along."""
    from obstore.store import from_url

    scheme = scheme_of(root)
    open_store: Any = from_url  # whose options depend on the scheme
    options: dict[str, Any] = {}
    if scheme == "s3":
        options = _s3_options(root)
    elif scheme == "gcs":
        root = f"gs{root.removeprefix('gcs')}"
    once = {"max_retries": 0, "retry_timeout": timedelta(seconds=_REQUEST_SECONDS)}
    try:
        store: ObjectStore = open_store(
            root,
            client_options={"timeout": timedelta(seconds=_REQUEST_SECONDS), "allow_http": True},
            retry_config={**once, "backoff": _BACKOFF},
            **options,
        )
        return store
    except Exception as error:  # a ValueError, or one of the library's own
        raise ConfigError(
            f"the location cannot be used: {_first_line(error)}", where=root
        ) from error


_BACKOFF = {  # unused with no retries, and asked for all the same
    "base": 2,
    "init_backoff": timedelta(milliseconds=100),
    "max_backoff": timedelta(seconds=1),
}


def _s3_options(root: str) -> dict[str, Any]:
    """The bucket's region, and credentials from where boto3 finds them, should there be none in the environment."""
    from pyarrow import fs

    options: dict[str, Any] = {"region": fs.FileSystem.from_uri(root)[0].region}
    if "AWS_ACCESS_KEY_ID" not in os.environ:
        try:
            from obstore.auth.boto3 import Boto3CredentialProvider
        except ImportError:  # then those of the machine's or the container's role
            return options
        options["credential_provider"] = Boto3CredentialProvider()
    return options
