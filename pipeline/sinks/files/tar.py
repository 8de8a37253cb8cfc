"""Samples in tar files that any WebDataset reader opens."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import IO, Any, ClassVar

import pyarrow as pa

from pipeline import storage
from pipeline.sample import KEY
from pipeline.shards.tar.grouping import split_name
from pipeline.sinks.files.base import damaged

MEMBERS = "members"
_MEMBER = pa.struct([("extension", pa.string()), ("content", pa.large_binary())])
SCHEMA = pa.schema([(KEY, pa.string()), (MEMBERS, pa.list_(_MEMBER))])
_MODE = 0o644


@dataclass(frozen=True)
class TarFiles:
    """Rows of ``key`` and ``members`` as samples; see :class:`pipeline.sinks.files.base.RowFiles`."""

    suffix: ClassVar[str] = ".tar"

    def write(self, file: Any, tables: Iterable[pa.Table]) -> None:
        """Writes samples one after the other; nothing of the machine, the user or the clock goes into the headers."""
        with tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT) as tar:
            for table in tables:
                for key, members in zip(table[KEY], table[MEMBERS], strict=True):
                    for member in members:
                        content = member["content"].as_buffer()
                        info = tarfile.TarInfo(f"{key.as_py()}.{member['extension'].as_py()}")
                        info.size, info.mode = content.size, _MODE
                        tar.addfile(info, io.BytesIO(content))

    def check(self, file: IO[bytes], rows: int) -> None:
        """Walks through the headers, and counts the samples."""
        try:
            with tarfile.open(fileobj=file) as tar:
                names = [split_name(member.name)[0] for member in tar]
        except tarfile.TarError as error:
            raise damaged(f"cannot be read: {error}") from error
        num_samples = sum(key != before for key, before in zip(names, [None, *names], strict=False))
        if num_samples != rows:
            raise damaged(f"has {num_samples} samples instead of {rows}")

    def read(self, url: str) -> pa.Table:
        """All samples."""
        file: Any = (
            storage.local_path(url).open("rb")
            if storage.is_local(url)
            else io.BytesIO(storage.read_bytes(url))
        )
        samples: list[tuple[str, dict[str, bytes]]] = []
        with file, tarfile.open(fileobj=file) as tar:
            for member in tar:
                key, extension = split_name(member.name)
                if not samples or samples[-1][0] != key:
                    samples.append((key, {}))
                content = tar.extractfile(member)
                samples[-1][1][extension] = content.read() if content else b""
        return samples_table(samples)


def samples_table(samples: Iterable[tuple[str, Mapping[str, bytes | memoryview]]]) -> pa.Table:
    """Samples as rows of ``SCHEMA``.

    Args:
        samples: Key, and extension -> content.
    """
    keys, members = [], []
    for key, contents in samples:
        keys.append(key)
        members.append(
            [{"extension": name, "content": bytes(content)} for name, content in contents.items()]
        )
    return pa.table({KEY: keys, MEMBERS: members}, schema=SCHEMA)
