"""Decoding in a process of its own, one beside each worker, for as long as that lives."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline.errors import InputError
from pipeline.isolation import Guard
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.modalities.decoding.watch import CHECKS, Care, Watch
from pipeline.sample import PART, Field, Sample, Tally
from pipeline.shards.planning.plan import Part
from pipeline.shards.reading.reader import read_part

Request = Callable[[Decoder, Watch, Care], Any]


def decode_here(
    part: Part, decoder: Decoder, watch: Watch | None = None, care: Care | None = None
) -> pa.Table:
    """Reads and decodes a part in this process: a row for every sample, good or bad.

    Args:
        part: Which.
        decoder: How.
        watch: Told of every step.
        care: What earlier attempts have shown.
    """
    tally = Tally()
    items = read_part(part, decoder.limits, tally)
    return decoder.decode(items, part.to_json(), watch, care, tally)


def decode_isolated(part: Part, decoder: Decoder) -> pa.Table:
    """As :func:`decode_here`, in the child of this worker.

    A sample whose decoding ends the child, or takes more time or memory than ``decoder.limits`` allow, is tried again
    alone, and is then a bad row with the reason ``decoder_crashed``, ``decoder_timeout`` or ``decoder_memory``.

    Raises:
        InputError: The shard is not there, or reading it ends the child again and again; or what came back is of
            another part, as from a child that a sample has taken over.
    """
    # A copy of this process would inherit an object store's client without the threads that it needs.
    table = isolated(_Decoding(part), decoder, part)
    # The sink goes by what the rows say of their part: identity, attempt, and with them the names of files.
    if (
        not isinstance(table, pa.Table)
        or not table.schema.equals(decoder.schema)
        or table[PART].unique().to_pylist() not in ([], [part.to_json()])
    ):
        end_child()
        raise InputError(
            "the process that decodes it has sent other rows than those of this part",
            where=part.url,
            fix="look at the shard before it is read again: it may have been made to do this",
        )
    return table


def isolated(request: Request, decoder: Decoder, part: Part) -> Any:
    """Does something with a part in the child of this worker.

    Args:
        request: What to do; picklable. It tells its watch of every step, and leaves alone what ``care`` says.
        decoder: How samples are decoded, and what that may take.
        part: Where it reads.

    Raises:
        InputError: The shard is not there, or reading it ends the child again and again.
    """
    return _guard_for(decoder)(request, detail=part.url)


def show(decoder: Decoder, modality: str, data: memoryview, field: str) -> str | bytes:
    """What a person reads, sees or hears of a member; see :meth:`pipeline.modalities.base.Codec.show`.

    Raises:
        SampleError: The member cannot be used, or ends its decoder.
    """
    if not decoder.limits.isolate:
        return decoder.codecs[modality].show(data, field)
    shown: str | bytes = _guard_for(decoder)(_Member(modality, bytes(data), field))
    return shown


def decode_alone(decoder: Decoder, fields: Mapping[str, bytes]) -> pa.Table:
    """Decodes one sample that lies in no shard.

    Args:
        decoder: How.
        fields: Extension -> bytes.

    Returns:
        One row, as :meth:`pipeline.modalities.decoding.decoder.Decoder.decode` makes it; a bad one has its ``error``.
    """
    request = _Alone(dict(fields))
    if not decoder.limits.isolate:
        return request(decoder)
    table: pa.Table = _guard_for(decoder)(request)
    return table


def harmless(decoder: Decoder, samples: Sequence[Sample]) -> list[Sample]:
    """Those of some samples that can be decoded in this process, whatever comes of it: they do not end it."""
    if not decoder.limits.isolate:
        return list(samples)
    fields = [{name: bytes(f.data) for name, f in each.fields.items()} for each in samples]
    harmed: set[int] = _guard_for(decoder)(_Trial(fields))
    return [sample for index, sample in enumerate(samples) if index not in harmed]


@dataclass(frozen=True)
class _Decoding:
    part: Part

    def __call__(self, decoder: Decoder, watch: Watch, care: Care) -> pa.Table:
        return decode_here(self.part, decoder, watch, care)


@dataclass(frozen=True)
class _Member:
    modality: str
    data: bytes
    field: str

    def __call__(self, decoder: Decoder, watch: Watch, care: Care) -> str | bytes:
        watch.begins(self.modality, 0, 0)
        for verdict in care.condemned.get(0, ()):
            raise verdict.error(self.field)
        return decoder.codecs[self.modality].show(memoryview(self.data), self.field)


@dataclass(frozen=True)
class _Alone:
    fields: dict[str, bytes]

    def __call__(
        self, decoder: Decoder, watch: Watch | None = None, care: Care | None = None
    ) -> pa.Table:
        fields = {name: Field(memoryview(d), 0, len(d)) for name, d in self.fields.items()}
        return decoder.decode([Sample("", "", 0, fields)], "", watch, care)


@dataclass(frozen=True)
class _Trial:
    fields: list[dict[str, bytes]]

    def __call__(self, decoder: Decoder, watch: Watch, care: Care) -> set[int]:
        """Decodes all; the indexes of those that ended the process before."""
        samples = (
            Sample(
                str(index), "", index, {n: Field(memoryview(d), 0, len(d)) for n, d in each.items()}
            )
            for index, each in enumerate(self.fields)
        )
        decoder.decode(samples, "", watch, care)
        return set(care.condemned)


@dataclass(frozen=True)
class _Work:
    """What the child does."""

    decoder: Decoder

    def __call__(self, request: Request, watch: Watch, care: Care) -> Any:
        return request(self.decoder, watch, care)


@dataclass
class _Running:
    """The guard of this process, and what it was made for."""

    guard: Guard
    decoder: bytes
    process: int


_running: _Running | None = None


def end_child() -> None:
    """Ends the process that decodes for this one, if there is one; the next part starts another."""
    global _running
    if _running is not None and _running.process == os.getpid():
        _running.guard.close()
    _running = None


def _guard_for(decoder: Decoder) -> Guard:
    """The guard for a decoder, a new one where the last was for another."""
    global _running
    described = pickle.dumps(decoder)
    if _running is not None and _running.process == os.getpid():
        if _running.decoder == described:
            return _running.guard
        end_child()
    guard = Guard(_Work(decoder), (CHECKS, *decoder.codecs), decoder.limits)
    _running = _Running(guard, described, os.getpid())
    return guard
