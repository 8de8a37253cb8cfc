"""Signatures of the samples of a part, made on a worker and kept in RUN/signatures for the next run.

RUN/signatures/DIGEST/PART.arrow is an Arrow IPC file with a row for every sample that can be used. DIGEST stands for
the settings that signatures depend on, and a part's name for its content.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa

from pipeline import __version__, runs, storage
from pipeline.cleaning import CleaningConfig
from pipeline.cleaning.content import HASH_BYTES, content_hash
from pipeline.cleaning.copies import Compare, Same
from pipeline.config import Config
from pipeline.engine.decoding.isolated import isolated
from pipeline.engine.executors.workplace import Workplace
from pipeline.engine.observe.progress import Progress
from pipeline.errors import Absent, SampleError
from pipeline.modalities.base import Codec
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.modalities.decoding.watch import CHECKS, Care, Unwatched, Watch
from pipeline.modalities.facets import Likeness
from pipeline.sample import KEY, ORDINAL, Fault, Sample
from pipeline.shards.planning.plan import Part
from pipeline.shards.reading.reader import read_part

FOLDER, SUFFIX = "signatures", ".arrow"
VERSION = 2  # of the signatures and of which samples have one; another one makes them anew
CONTENT = "content"
READERS = 8  # files read at a time


@dataclass(frozen=True)
class Signer:
    """Signs the samples of a part; picklable.

    Attributes:
        decoder: Codecs, and what makes a sample one that can be used.
        folder: Where the files lie.
        near: Whether modalities are signed one by one too, for which they are decoded.
        likenesses: Modality -> how its near copies are found; None where only the same bytes are copies.
    """

    decoder: Decoder
    folder: str
    near: bool
    likenesses: Mapping[str, Likeness | None]

    @classmethod
    def build(cls, config: Config, decoder: Decoder) -> Signer:
        """The signer of a run.

        Args:
            config: The whole configuration.
            decoder: Of the job that will read the samples.
        """
        near, target = config.cleaning.near, decoder.target
        settings = config.modalities.model_dump(mode="json", exclude_none=True)
        identity = {
            "version": [VERSION, __version__],
            "near": near,
            # The bytes alone depend on no setting but which of them are looked at.
            "modalities": settings | {"limits": config.limits.model_dump(mode="json")}
            if near
            else {name: settings[name]["fields"] for name in settings},
            "verify": config.input.verify if near else None,
            "target": [target and target.identity, target and target.accepted],
            "target_optional": decoder.target_optional,
            "metadata": list(decoder.metadata),
        }
        folder = storage.join(config.run, FOLDER, runs.fingerprint(identity))
        likenesses = {
            name: section.likeness() for name, section in config.modalities.by_name().items()
        }
        return cls(decoder, folder, near, likenesses)

    @property
    def widths(self) -> dict[str, int]:
        """Modality -> bytes of its signature; empty where the bytes alone are compared."""
        return {name: _num_bytes(likeness) for name, likeness in self._compared.items()}

    def comparisons(self, cleaning: CleaningConfig) -> dict[str, Compare]:
        """Modality -> how its signatures are compared, as near as the settings say."""
        return {
            name: Same
            if likeness is None
            else partial(likeness.compare, nearness=getattr(cleaning, likeness.setting))
            for name, likeness in self._compared.items()
        }

    @property
    def _compared(self) -> dict[str, Likeness | None]:
        return {name: self.likenesses[name] for name in self.decoder.codecs} if self.near else {}

    @property
    def schema(self) -> pa.Schema:
        """Columns of a file."""
        columns = [(KEY, pa.string()), (ORDINAL, pa.int64()), (CONTENT, pa.binary(HASH_BYTES))]
        return pa.schema(columns + [(name, pa.binary(size)) for name, size in self.widths.items()])

    def location(self, part: Part) -> str:
        """The file of a part."""
        return storage.join(self.folder, part.id + SUFFIX)

    def __call__(self, part: Part) -> int:
        """Signs a part's samples, writes their file, and returns how many there are."""
        signing = _Signing(part, self._compared, self.schema)
        if self.near and self.decoder.limits.isolate:
            table = isolated(signing, self.decoder, part)
        else:
            table = signing(self.decoder, Unwatched(), Care())
        with (
            storage.create(self.location(part)) as file,
            pa.ipc.new_file(file, table.schema) as writer,
        ):
            writer.write_table(table)
        num_samples: int = table.num_rows
        return num_samples


@dataclass(frozen=True)
class _Signing:
    """Signs a part where its samples are decoded."""

    part: Part
    likenesses: Mapping[str, Likeness | None]
    schema: pa.Schema

    def __call__(self, decoder: Decoder, watch: Watch, care: Care) -> pa.Table:
        rows: dict[int, dict[str, object]] = {}
        for item in read_part(self.part, decoder.limits):
            if isinstance(item, Fault):
                if item.amends:  # what came behind the sample has shown that it is not whole
                    rows.pop(item.ordinal, None)
            elif item.ordinal not in care.condemned:
                row = self._row(item, decoder, watch)
                if row is not None:
                    rows[item.ordinal] = row
            watch.rests()
        return pa.Table.from_pylist(list(rows.values()), schema=self.schema)

    def _row(self, sample: Sample, decoder: Decoder, watch: Watch) -> dict[str, object] | None:
        """None for a sample that decoding will refuse, which is no copy of any other."""
        members = {}
        for name, fields in decoder.fields.items():
            field = next((field for field in fields if field in sample.fields), None)
            if field is not None:
                members[name] = (sample.fields[field].data, field)
        near = {}
        try:
            watch.begins(CHECKS, sample.ordinal, sample.ordinal)
            decoder.check(sample)
            for name, likeness in self.likenesses.items():
                if name in members:
                    watch.begins(name, sample.ordinal, sample.ordinal)
                    with contextlib.suppress(Absent):
                        near[name] = _sign(likeness, decoder.codecs[name], name, *members[name])
        except SampleError:
            return None
        content = content_hash({name: data for name, (data, _) in members.items()})
        return {KEY: sample.key, ORDINAL: sample.ordinal, CONTENT: content, **near}


def _num_bytes(likeness: Likeness | None) -> int:
    return HASH_BYTES if likeness is None else likeness.num_bytes


def _sign(
    likeness: Likeness | None, codec: Codec, name: str, data: memoryview, field: str
) -> bytes:
    if likeness is None:
        codec.decode(data, field)  # what it refuses is no copy of any other
        return content_hash({name: data})
    return likeness.sign(codec, data, field).tobytes()


def sign_parts(signer: Signer, parts: Sequence[Part], workplace: Workplace) -> None:
    """Has the parts signed that have no file of signatures yet."""
    names = {info.url.rpartition("/")[2] for info in storage.list_files(signer.folder)}
    todo = [part for part in parts if part.id + SUFFIX not in names]
    if not todo:
        return
    with Progress("cleaning", len(todo), "parts") as progress:
        for samples in workplace.executor(len(todo)).each(signer, todo, "cleaning"):
            progress.advance(1, samples)


@dataclass(frozen=True)
class Signed:
    """The signatures of some parts, as arrays; sample for sample in the order of the parts.

    Attributes:
        starts: (P + 1,) int64, where each part's samples begin.
        ordinals: (N,) int64, of each sample in its shard.
        content: (N, 2) uint64.
        rows: Modality -> (N, W) uint8; zeros where it is missing.
        present: Modality -> (N,) bool.
    """

    starts: np.ndarray
    ordinals: np.ndarray
    content: np.ndarray
    rows: Mapping[str, np.ndarray]
    present: Mapping[str, np.ndarray]


def load(signer: Signer, parts: Sequence[Part]) -> Signed:
    """Reads the signatures of parts: 24 bytes a sample, and with near copies up to 424."""
    columns: dict[str, list[np.ndarray]] = {name: [] for name in (ORDINAL, CONTENT, *signer.widths)}
    present: dict[str, list[np.ndarray]] = {name: [] for name in signer.widths}
    counts = [0]
    for table in _tables(signer, parts):
        counts.append(table.num_rows)
        columns[ORDINAL].append(table[ORDINAL].to_numpy().copy())  # a view would keep the file
        columns[CONTENT].append(_bytes(table[CONTENT], HASH_BYTES))
        for name, width in signer.widths.items():
            columns[name].append(_bytes(table[name], width))
            present[name].append(table[name].is_valid().to_numpy())
    # One column after the other, so that only one is there twice.
    joined = {name: _joined(columns, name) for name in list(columns)}
    return Signed(
        starts=np.cumsum(counts),
        ordinals=joined[ORDINAL],
        content=joined[CONTENT].view(np.uint64),
        rows={name: joined[name] for name in signer.widths},
        present={name: np.concatenate(flags) for name, flags in present.items()},
    )


def read_keys(signer: Signer, part: Part, samples: np.ndarray) -> pa.ChunkedArray:
    """The keys of some of a part's samples, numbered as they were signed."""
    return _read(signer, part)[KEY].take(pa.array(samples))


def _tables(signer: Signer, parts: Sequence[Part]) -> Iterator[pa.Table]:
    with ThreadPoolExecutor(READERS) as pool:
        for start in range(0, len(parts), READERS):
            yield from pool.map(lambda part: _read(signer, part), parts[start : start + READERS])


def _read(signer: Signer, part: Part) -> pa.Table:
    return pa.ipc.open_file(pa.BufferReader(storage.read_bytes(signer.location(part)))).read_all()


def _bytes(column: pa.ChunkedArray, width: int) -> np.ndarray:
    """A column of (N,) values of ``width`` bytes -> (N, width) uint8 of its own, zeros where null."""
    rows = np.zeros((len(column), width), dtype=np.uint8)
    start = 0
    for chunk in column.chunks:
        if not len(chunk):
            continue
        stored = np.frombuffer(
            chunk.buffers()[1], np.uint8, count=len(chunk) * width, offset=chunk.offset * width
        )
        valid = chunk.is_valid().to_numpy(zero_copy_only=False)
        rows[start : start + len(chunk)][valid] = stored.reshape(-1, width)[valid]
        start += len(chunk)
    return rows


def _joined(columns: dict[str, list[np.ndarray]], name: str) -> np.ndarray:
    pieces = columns.pop(name)
    joined: np.ndarray = np.concatenate(pieces)
    return joined
