"""Decoding parts in a process of its own, one beside each worker, for as long as that lives."""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass

import pyarrow as pa

from pipeline import storage
from pipeline.isolation import Guard
from pipeline.modalities.decode import Decoder
from pipeline.modalities.watch import CHECKS, Care, Watch
from pipeline.shards.plan import Part
from pipeline.shards.reader import read_part


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
    return decoder.decode(read_part(part, decoder.limits), part.to_json(), watch, care)


def decode_isolated(part: Part, decoder: Decoder) -> pa.Table:
    """As :func:`decode_here`, in the child of this worker.

    A sample whose decoding ends the child, or takes more time or memory than ``decoder.limits`` allow, is tried again
    alone, and is then a bad row with the reason ``decoder_crashed``, ``decoder_timeout`` or ``decoder_memory``.

    Raises:
        InputError: The shard is not there, or reading it ends the child again and again.
    """
    table: pa.Table = _guard_for(part, decoder)(part, detail=part.url)
    return table


@dataclass(frozen=True)
class _DecodePart:
    decoder: Decoder

    def __call__(self, part: Part, watch: Watch, care: Care) -> pa.Table:
        return decode_here(part, self.decoder, watch, care)


@dataclass
class _Running:
    """The guard of this process, and what it was made for."""

    guard: Guard
    decoder: bytes
    local: bool
    process: int


_running: _Running | None = None


def _guard_for(part: Part, decoder: Decoder) -> Guard:
    """The guard for a decoder, a new one where the last was for another."""
    global _running
    described = pickle.dumps(decoder)
    local = storage.is_local(part.url)
    if _running is not None and _running.process == os.getpid():
        if _running.decoder == described and (local or not _running.local):
            return _running.guard
        _running.guard.close()
    # A copy of this process would inherit an object store's client without the threads that it needs.
    guard = Guard(_DecodePart(decoder), (CHECKS, *decoder.codecs), decoder.limits, fresh=not local)
    _running = _Running(guard, described, local, os.getpid())
    return guard
