"""Folders that preprocess wrote, as input of other jobs: found, checked, and cut into parts."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import runs, storage
from pipeline.config import Patterns
from pipeline.errors import BadDataError, ConfigError, in_words
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.decoding.decoded import SUFFIX, open_parquet, read_decoded, read_rows
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.models.noted import modalities_as_noted
from pipeline.sample import LABEL, MODALITIES
from pipeline.shards.planning.plan import Part
from pipeline.sinks.folder import COMMIT, IDENTITY, MANIFEST
from pipeline.sinks.provenance import identity_digest
from pipeline.sinks.snapshots.manifest import Manifest

KIND, VERSION = "preprocess", 1  # of the identity, by which a folder is known
TOKENIZER = "_tokenizer.json"  # beside the identity, which has its digest
PART_BYTES = 32 << 20  # of decoded values
READERS = 8  # footers read at a time
SPECIAL = re.compile(r"[*?\[{]")  # a pattern, not a folder


@dataclass(frozen=True)
class DecodedFolder:
    """What preprocess wrote.

    Attributes:
        url: The folder.
        identity: What its rows depend on.
        manifest: Its files.
    """

    url: str
    identity: Mapping[str, Any]
    manifest: Manifest

    @property
    def tokenizer(self) -> str | None:
        """The tokenizer's JSON, None where there is no text."""
        try:
            return storage.read_bytes(storage.join(self.url, COMMIT, TOKENIZER)).decode()
        except FileNotFoundError:
            return None

    def as_written(self, modalities: ModalitiesConfig) -> dict[str, Any]:
        """What rows of some modalities depend on, by the settings that there were when the folder was written."""
        return modalities_as_noted(modalities, modalities.decoding(), self.identity["modalities"])

    def check(self, where: str, metadata: Sequence[str] = (), **wanted: Any) -> None:
        """Compares settings with those that the rows were made with.

        Args:
            where: The setting that names the folder.
            metadata: Fields that must be among its columns.
            wanted: Other settings of the identity, those that matter. Of its modalities, only those that are wanted do.

        Raises:
            ConfigError: One differs; names it.
        """
        identity = {name: self.identity[name] for name in wanted}
        if "modalities" in wanted:
            shared = identity["modalities"].keys() & wanted["modalities"].keys()
            identity["modalities"] = {name: identity["modalities"][name] for name in shared}
        differences = [
            f"no input.metadata={name}"
            for name in metadata
            if name not in self.identity["metadata"]
        ]
        differences += runs.differences(identity, wanted)
        if differences:
            raise ConfigError(
                f"the folder was preprocessed with other settings: {differences[0]}",
                where=f"{where}={self.url}",
                fix="restore the setting, preprocess again, or give the shards instead",
            )

    def parts(self) -> list[Part]:
        """Ranges of rows of its files, of whole row groups and about 32 MiB.

        Raises:
            BadDataError: A file is not what the manifest says.
        """
        files = self.manifest.files
        counted: dict[str, int] = {}
        parts: list[Part] = []
        with ThreadPoolExecutor(READERS) as pool:
            footers = pool.map(self._footer, [file.name for file in files])
            for file, footer in zip(files, footers, strict=True):
                rows = [(part.shard, part.rows) for part in file.parts]
                if footer.num_rows != sum(count for _, count in rows):
                    url = storage.join(self.url, file.name)
                    raise _damaged(url, "it has other rows than the manifest says")
                parts += self._file_parts(file.name, footer, list(_stretches(rows, counted)))
        return parts

    def _footer(self, name: str) -> pq.FileMetaData:
        try:
            return open_parquet(storage.join(self.url, name)).metadata
        except pa.ArrowInvalid as error:
            raise _damaged(storage.join(self.url, name), in_words(error)) from None

    def _file_parts(
        self, name: str, footer: pq.FileMetaData, stretches: Sequence[tuple[int, int]]
    ) -> Iterator[Part]:
        words = f"{runs.fingerprint(dict(self.identity))}:{name}:{footer.num_rows}"
        fingerprint = blake2b(words.encode(), digest_size=12).hexdigest()
        url = storage.join(self.url, name)
        cuts = _cuts(footer, {row for row, ordinal in stretches if ordinal})
        for index, (start, end) in enumerate(itertools.pairwise(cuts)):
            begin, ordinal = max(stretch for stretch in stretches if stretch[0] <= start)
            yield Part(
                shard=name,
                url=url,
                fingerprint=fingerprint,
                index=index,
                start=start,
                end=end,
                first_ordinal=ordinal + start - begin,
            )


def find_folder(pattern: str) -> DecodedFolder | None:
    """The folder that preprocess wrote at a location; None where something else is there.

    Raises:
        ConfigError: Preprocess has not ended there, or was another version.
    """
    if SPECIAL.search(pattern) or not storage.can_list(pattern):
        return None
    identity = _json(storage.join(pattern, COMMIT, IDENTITY))
    if identity is None or identity.get("kind") != KIND:
        return None
    manifest = _json(storage.join(pattern, MANIFEST))
    # While a folder is replaced, readers see rows of other settings than the identity tells of.
    ended = manifest is not None and manifest["fingerprint"] == identity_digest(identity)
    if manifest is None or not ended or identity.get("version") != VERSION:
        what = "of another version wrote" if ended else "has not ended in"
        raise ConfigError(
            f"preprocess {what} this folder",
            where=pattern,
            fix="run preprocess to its end, into another folder if the version differs",
        )
    return DecodedFolder(pattern, identity, Manifest.from_values(manifest))


def split_input(patterns: Patterns) -> tuple[list[DecodedFolder], list[str]]:
    """Tells preprocessed folders from patterns of shards."""
    folders: list[DecodedFolder] = []
    shards: list[str] = []
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        folder = find_folder(pattern)
        if folder is None:
            shards.append(pattern)
        else:
            folders.append(folder)
    return folders, shards


def tokenizer_digest(tokenizer: str | None) -> str:
    """What a folder's identity says of the tokenizer."""
    return runs.fingerprint([tokenizer])


def is_decoded(part: Part) -> bool:
    """Whether a part is rows of a preprocessed folder rather than a range of a shard."""
    return part.url.endswith(SUFFIX)


def read_decoded_part(part: Part, decoder: Decoder) -> pa.Table:
    """The rows of a decoded part, as decoding them again would give them.

    Raises:
        BadDataError: The file is damaged.
    """
    try:
        return read_decoded(
            part.url, part.start, part.end or 0, part.first_ordinal, part.to_json(), decoder
        )
    except (pa.ArrowInvalid, OSError) as error:  # OSError is how Arrow tells of bad compression
        raise _damaged(part.url, in_words(error)) from None


def limit_rows(parts: Sequence[Part], max_rows: int) -> list[Part]:
    """The first parts that hold ``max_rows`` rows together, the last of them cut."""
    first: list[Part] = []
    for part in parts:
        if max_rows > 0:
            end = min(part.end or 0, part.start + max_rows)
            first.append(replace(part, end=end))
            max_rows -= end - part.start
    return first


def num_rows(parts: Sequence[Part]) -> int:
    """Rows of decoded parts."""
    return sum((part.end or 0) - part.start for part in parts)


def read_modalities(part: Part) -> list[list[str]]:
    """The modalities that each of a decoded part's rows has."""
    rows = read_rows(part.url, part.start, part.end or 0, [MODALITIES])
    return rows[MODALITIES].to_pylist()  # type: ignore[no-any-return]


def read_labels(part: Part) -> list[str]:
    """The labels of a decoded part's rows that have one; none where preprocess was not told of labels."""
    rows = read_rows(part.url, part.start, part.end or 0, [LABEL])
    if LABEL not in rows.column_names:
        return []
    labels: list[str] = rows[LABEL].drop_null().to_pylist()
    return labels


def _damaged(url: str, why: str) -> BadDataError:
    return BadDataError(
        f"the preprocessed folder is damaged: {why.splitlines()[0][:200]}",
        where=url,
        fix="preprocess again into an empty folder, or give the shards instead",
    )


def _stretches(
    rows: Sequence[tuple[str, int]], counted: dict[str, int]
) -> Iterator[tuple[int, int]]:
    """Where the rows of one shard begin in a file, as (row, ordinal).

    Args:
        rows: (shard, rows) of the parts of preprocess, in the order of the file.
        counted: Shard -> rows of it in the files before; goes on with this file's.
    """
    row = 0
    last = None
    for shard, count in rows:
        if shard != last:
            yield row, counted.get(shard, 0)
        counted[shard] = counted.get(shard, 0) + count
        row, last = row + count, shard


def _cuts(footer: pq.FileMetaData, needed: set[int]) -> list[int]:
    """Rows at which the parts of a file begin, where row groups do, and the end of the last.

    Args:
        footer: Of the file.
        needed: Rows that begin a part in any case: inside one, the rows of another shard are counted from 0.
    """
    fixed = _fixed_bytes(footer.schema.to_arrow_schema())
    cuts = {0, *needed}
    row = size = 0
    for index in range(footer.num_row_groups):
        group = footer.row_group(index)
        num_bytes = _group_bytes(group, fixed)
        if row in needed or size + num_bytes > PART_BYTES:
            cuts.add(row)
            size = 0
        row += group.num_rows
        size += num_bytes
    return sorted({*cuts, row})


def _fixed_bytes(schema: pa.Schema) -> dict[str, int]:
    """Column -> bytes of one value in memory, of the columns whose values all have one size."""
    return {
        field.name: field.type.list_size * field.type.value_type.bit_width // 8
        for field in schema
        if pa.types.is_fixed_size_list(field.type)
    }


def _group_bytes(group: pq.RowGroupMetaData, fixed: Mapping[str, int]) -> int:
    """About what a row group takes in memory; in the file, small numbers are packed."""
    columns = (group.column(index) for index in range(group.num_columns))
    variable = sum(
        column.total_uncompressed_size
        for column in columns
        if column.path_in_schema.partition(".")[0] not in fixed
    )
    return int(group.num_rows * sum(fixed.values()) + variable)


def _json(url: str) -> dict[str, Any] | None:
    try:
        content: dict[str, Any] = json.loads(storage.read_bytes(url))
    except (FileNotFoundError, NotADirectoryError):
        return None
    return content
