"""Decoding in processes of their own: one beside each worker of Ray, or one beside each decoding thread here."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline.errors import InputError
from pipeline.isolation import Guard, Guards
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.modalities.decoding.watch import CHECKS, Care, Watch
from pipeline.modalities.shown import Shown
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
    items = read_part(part, decoder.limits, tally, decoder.reads)
    return decoder.decode(items, part.to_json(), watch, care, tally)


def decode_isolated(part: Part, decoder: Decoder) -> pa.Table:
    """As :func:`decode_here`, in a child of this process.

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
    """Does something with a part in a child of this process.

    Args:
        request: What to do; picklable. It tells its watch of every step, and leaves alone what ``care`` says.
        decoder: How samples are decoded, and what that may take.
        part: Where it reads.

    Raises:
        InputError: The shard is not there, or reading it ends the child again and again.
    """
    with _lent_guard(decoder) as guard:
        return guard(request, detail=part.url)


def show(decoder: Decoder, modality: str, data: memoryview, field: str) -> Shown:
    """What a person reads, sees or hears of a member; see :meth:`pipeline.modalities.base.Codec.show`.

    Raises:
        SampleError: The member cannot be used, or ends its decoder.
    """
    if not decoder.limits.isolate:
        content = decoder.codecs[modality].show(data, field)
    else:
        with _lent_guard(decoder) as guard:
            content = guard(_Member(modality, bytes(data), field))
    return Shown(decoder.media[modality], content)


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
    with _lent_guard(decoder) as guard:
        table: pa.Table = guard(request)
    return table


def harmless(decoder: Decoder, samples: Sequence[Sample]) -> list[Sample]:
    """Those of some samples that can be decoded in this process, whatever comes of it: they do not end it."""
    if not decoder.limits.isolate:
        return list(samples)
    fields = [{name: bytes(f.data) for name, f in outline.fields.items()} for outline in samples]
    with _lent_guard(decoder) as guard:
        harmed: set[int] = guard(_Trial(fields))
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
                str(index),
                "",
                index,
                {n: Field(memoryview(d), 0, len(d)) for n, d in members.items()},
            )
            for index, members in enumerate(self.fields)
        )
        decoder.decode(samples, "", watch, care)
        return set(care.condemned)


@dataclass(frozen=True)
class _Work:
    """What the child does."""

    decoder: Decoder

    def __call__(self, request: Request, watch: Watch, care: Care) -> Any:
        return request(self.decoder, watch, care)


# By pyarrow, where it is installed, when the first array is made.
_IMPORTED_BY_PYARROW = "pandas"

_shared = Guards()
_thread = threading.local()


def end_child() -> None:
    """Ends the processes that decode for this one and are at rest; the next part starts another."""
    _guards_here().end_idle()


@contextmanager
def decoding_processes(number: int) -> Iterator[Guards]:
    """Guards for as many threads of this process, which call :func:`decode_by` with them.

    The threads have to live until the block ends; none of them decodes any more then. Other threads, and those of
    another block, are not touched by what becomes of these guards.
    """
    end_child()
    guards = Guards()
    guards.limit = number
    try:
        yield guards
    finally:
        guards.end_idle()
        end_child()


def decode_by(guards: Guards) -> None:
    """Has this thread decode by some guards from now on, rather than by the one that all other threads share."""
    _thread.guards = guards


def _lent_guard(decoder: Decoder) -> AbstractContextManager[Guard]:
    """A guard for a decoder, a new one where the last was for another."""

    guards = _guards_here()

    def make() -> Guard:
        names = (CHECKS, *decoder.codecs)
        return Guard(_Work(decoder), names, decoder.limits, _modules_of(decoder))

    return guards.lent(pickle.dumps(decoder), make)


def _modules_of(decoder: Decoder) -> list[str]:
    """What its work stands on, as codecs of this project say: what is somebody else's is imported in the child."""
    project = __name__.partition(".")[0]
    modules = {__name__, _IMPORTED_BY_PYARROW}
    for name, codec in decoder.codecs.items():
        module = type(codec).__module__
        if module.partition(".")[0] == project:
            modules |= {module, *codec.modules(decoder.fields[name])}
    return sorted(modules)


def _guards_here() -> Guards:
    guards: Guards = getattr(_thread, "guards", _shared)
    return guards
