"""Sidecar indexes: where the members of a shard lie, in a file beside it, so that planning need not scan it.

Source: the format v1.2 of ``wds2idx``, NVIDIA DALI: a line ``v1.2 SAMPLES``, then one line a sample, with
``EXTENSION OFFSET SIZE NAME`` of each of its members, all separated by spaces.
"""

from __future__ import annotations

import logging
import re
import shutil
import tempfile
from collections.abc import Iterator

from pipeline import storage
from pipeline.errors import ConfigError, PipelineError, ShardError
from pipeline.logs import event
from pipeline.shards.packed.source import is_packed
from pipeline.shards.planning.cuts import Cuts, SampleStart, cut
from pipeline.shards.planning.patterns import Shard
from pipeline.shards.tar.grouping import Group, group_members, split_name
from pipeline.shards.tar.header import BLOCK
from pipeline.shards.tar.members import Damage, Member
from pipeline.shards.tar.scanner import scan
from pipeline.shards.tar.strays import stray_kind

logger = logging.getLogger(__name__)

VERSION = "v1.2"
_CHUNK_BYTES = 1 << 20
_SPOOLED_BYTES = 16 << 20
_TAIL_BYTES = 1 << 20  # behind the last member; more than that is no end marker


class _NotUsable(Exception):
    """Why an index does not tell what is in its shard."""


def index_url(shard_url: str) -> str | None:
    """Where the index of a shard would lie: ``.idx`` in the place of ``.tar``; None where it can have none."""
    return f"{shard_url[:-4]}.idx" if shard_url.endswith(".tar") else None


def indexed_cuts(shard: Shard, source: storage.ByteSource, part_bytes: int) -> Cuts | None:
    """The cuts that scanning the shard would give, from its index.

    The index has to account for every byte of the shard, and what lies at the cuts is looked at; where it does not
    hold, that is logged.

    Args:
        shard: Which.
        source: The shard, open.
        part_bytes: As for :func:`pipeline.shards.planning.cuts.cut`.

    Returns:
        None where there is no index that can be relied on.
    """
    url = index_url(shard.url)
    try:
        info = None if url is None else storage.file_info(url)
        if info is None:
            return None
        if _older(info.version, shard.version):
            raise _NotUsable("it is older than the shard")
        index = storage.open_source(info.url, read_ahead=True)
        try:
            cuts = cut(_samples(index, source), part_bytes)
        finally:
            index.close()
        _check_cuts(cuts, source)
    except (_NotUsable, PipelineError) as error:
        event(logger, "index_not_used", shard=shard.name, cause=error)
        return None
    return cuts


def write_index(shard_url: str, url: str) -> int:
    """Writes the index of a shard.

    Args:
        shard_url: The shard.
        url: Where the index goes; see :func:`index_url`.

    Returns:
        How many samples it lists. Members without extension, links and the like are left out.

    Raises:
        ShardError: The shard is damaged, or has a name that the format cannot hold.
        ConfigError: The shard is compressed: what an index says would be of no use.
        InputError: The shard is not there or cannot be reached.
        SinkError: The index cannot be written.
    """
    if is_packed(shard_url):
        raise ConfigError(
            "a compressed shard can have no index",
            where=storage.without_query(shard_url),
            fix="unpack it, or leave lint.write_index off",
        )
    source = storage.open_source(shard_url)
    try:
        with tempfile.SpooledTemporaryFile(max_size=_SPOOLED_BYTES) as body:
            count = 0
            for group in group_members(scan(source)):
                line = _line(group, shard_url)
                if line:
                    body.write(line)
                    count += 1
            body.seek(0)
            with storage.create(url) as file:
                file.write(f"{VERSION} {count}\n".encode())
                shutil.copyfileobj(body, file)
    finally:
        source.close()
    return count


def _line(group: Group | Damage, shard_url: str) -> bytes:
    if isinstance(group, Damage):
        raise ShardError(
            f"no index of a damaged shard: {group.detail}",
            reason=group.reason,
            offset=group.offset,
            where=shard_url,
            fix="rebuild the shard",
        )
    words = []
    for _, member in group.members:
        _, _, base = member.name.rpartition("/")
        stem, dot, extension = base.partition(".")
        if member.special or not stem or not (dot and extension):
            continue
        if re.search(r"\s", member.name):
            raise ShardError(
                f"no index can hold a name with a blank: {member.name!r}"[:200],
                reason="bad_key",
                offset=member.header,
                where=shard_url,
                fix="rename the sample, or do without an index",
            )
        words += [extension, str(member.offset), str(member.size), member.name]
    return " ".join(words).encode("utf-8", "surrogateescape") + b"\n" if words else b""


def _samples(index: storage.ByteSource, source: storage.ByteSource) -> Iterator[SampleStart]:
    """The samples of the shard, each with where it begins, as scanning would tell them."""
    position = 0  # everything before is accounted for
    last: SampleStart | None = None
    for name, offset, size in _entries(index):
        end = offset + -(-size // BLOCK) * BLOCK
        if offset % BLOCK or offset < position + BLOCK or offset + size > source.size:
            raise _NotUsable(f"the place of {name!r} is not in the shard")
        header = offset - BLOCK
        if header != position:  # a long name or a folder, or something that the index leaves out
            header = _header_of(name, offset, size, source, position)
        position = end
        key, extension = split_name(name)
        if stray_kind(name) is not None:
            continue
        if not extension:
            raise _NotUsable(f"{name!r} has no extension")
        if last is not None and key == last.key:
            last = last._replace(fields=(*last.fields, extension))
            continue
        if last is not None:
            yield last
        last = SampleStart(header, key, (extension,))
    if last is not None:
        yield last
    if source.size - position > _TAIL_BYTES or any(
        isinstance(item, Member) and stray_kind(item.name) is None
        for item in scan(source, position)
    ):
        raise _NotUsable("it ends before the shard does")


def _header_of(name: str, offset: int, size: int, source: storage.ByteSource, start: int) -> int:
    """Offset of the first header of a member that something lies before: no other sample's member."""
    end = offset + -(-size // BLOCK) * BLOCK
    items = [
        item
        for item in scan(source, start, end)
        if not (isinstance(item, Member) and item.offset != offset and stray_kind(item.name))
    ]
    if len(items) != 1 or not isinstance(items[0], Member) or items[0].special:
        raise _NotUsable(f"there is more before {name!r} than it says")
    if (items[0].name, items[0].offset, items[0].size) != (name, offset, size):
        raise _NotUsable(f"there is something else in the place of {name!r}")
    return items[0].header


def _check_cuts(cuts: Cuts, source: storage.ByteSource) -> None:
    for (start, _), key in zip(cuts.starts[1:], cuts.keys[1:], strict=True):
        item = next(scan(source, start), None)
        if not isinstance(item, Member) or (item.header, split_name(item.name)[0]) != (
            start,
            key,
        ):
            raise _NotUsable(f"{key!r} is not where it says")


def _entries(index: storage.ByteSource) -> Iterator[tuple[str, int, int]]:
    """Name, offset and size of each member."""
    lines = _lines(index)
    version, _, number = next(lines, b"").partition(b" ")
    if version != VERSION.encode() or not _is_number(number.strip()):
        raise _NotUsable(f"it does not begin with {VERSION} and a number")
    count = 0
    for line in lines:
        words = line.split(b" ")
        if len(words) % 4 or not all(map(_is_number, words[1::4] + words[2::4])):
            raise _NotUsable(f"line {count + 2} cannot be read")
        for place in range(0, len(words), 4):
            _, offset, size, name = words[place : place + 4]
            yield name.decode("utf-8", "surrogateescape"), int(offset), int(size)
        count += 1
    if count != int(number):
        raise _NotUsable(f"it has {count} lines, not {int(number)}")


def _lines(index: storage.ByteSource) -> Iterator[bytes]:
    partial, offset = b"", 0
    while chunk := bytes(index.read(offset, _CHUNK_BYTES)):
        offset += len(chunk)
        *lines, partial = (partial + chunk).split(b"\n")
        yield from lines
    if partial:
        yield partial


def _is_number(word: bytes) -> bool:
    return word.isdigit() and len(word) < 20


def _older(version: str, than: str) -> bool:
    """Whether a modification time is before another; where a store tells none, nothing is known."""
    return version.isdigit() and than.isdigit() and int(version) < int(than)
