"""Locations: paths and URLs, and what a listing says of the file at one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.safe_text.redaction import without_credentials

ARROW_SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss")
WEB_SCHEMES = ("https", "http")
HUB_SCHEMES = ("hf",)
REMOTE_SCHEMES = (*ARROW_SCHEMES, *WEB_SCHEMES, *HUB_SCHEMES)


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A file as a listing shows it: location, size in bytes, and a version that changes with its content.

    The version is the modification time in ns since 1970 where the store tells one, else the store's own tag.
    """

    url: str
    size: int
    version: str


def scheme_of(url: str) -> str:
    """The scheme in front of ``://``; ``file`` for a plain path.

    Raises:
        ConfigError: A scheme that is not supported.
    """
    scheme, separator, _ = url.partition("://")
    if not separator or scheme == "file":
        return "file"
    if scheme in REMOTE_SCHEMES:
        return scheme
    raise ConfigError(
        f"locations of the kind {scheme}:// are not supported",
        where=without_query(url),
        fix=f"use a path, file://, {', '.join(name + '://' for name in REMOTE_SCHEMES)}",
    )


def is_local(url: str) -> bool:
    """Whether ``url`` is a path of this machine.

    Raises:
        ConfigError: A scheme that is not supported.
    """
    return scheme_of(url) == "file"


def can_list(url: str) -> bool:
    """Whether the files of a folder can be asked for, as they cannot of a web server."""
    return scheme_of(url) not in WEB_SCHEMES


def check_writable(url: str) -> None:
    """Checks that files can be written where ``url`` is.

    Raises:
        ConfigError: Its kind of location is only ever read.
    """
    if scheme_of(url) in (*WEB_SCHEMES, *HUB_SCHEMES):
        raise ConfigError(
            f"nothing can be written to {scheme_of(url)}:// locations",
            where=without_query(url),
            fix="choose a folder or an object store for run and outputs",
        )


def local_path(url: str) -> Path:
    """The path of a local location."""
    return Path(url.removeprefix("file://"))


def join(url: str, *names: str) -> str:
    """Appends path components to a location."""
    return "/".join([url.rstrip("/") if url != "/" else "", *names])


def without_query(url: str) -> str:
    """A location as it may be compared and noted: without the query of a web address, which can carry a signature,
    and without a password."""
    shown = without_credentials(url)
    return shown.partition("?")[0] if url.startswith(("https://", "http://")) else shown
