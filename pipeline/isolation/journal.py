"""What the child is at, in memory that outlives it."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from pipeline import pulse
from pipeline.isolation.arena import Arena, shared_memory

_ENTRY = struct.Struct("<qqqq")  # steps so far, index of the modality, first and last ordinal
_STEPS = struct.Struct("<q")
_MOVES = struct.Struct("<q")  # behind the entry: beats of the child, see pipeline.pulse
_BYTES = _ENTRY.size + _MOVES.size
_RESTING = -1
_LARGEST_GROUP = 1 << 20  # of samples that are decoded together


class Entry(NamedTuple):
    """What was being done.

    Attributes:
        steps: Steps so far; a number that no longer grows is a hang.
        modality: Which, or None where nothing was being decoded.
        first: Ordinal of the first sample of the group.
        last: Of the last.
    """

    steps: int
    modality: str | None
    first: int
    last: int


class Journal:
    """One entry, written over and over.

    Args:
        names: Modalities, in the same order on both sides.
        file: Descriptor of the memory; new memory where None.
    """

    def __init__(self, names: Sequence[str], file: int | None = None) -> None:
        self.names = tuple(names)
        self.file = shared_memory(_BYTES) if file is None else file
        self._map = mmap.mmap(self.file, _BYTES)
        self.rest()

    def read(self) -> Entry:
        """The entry as it is now."""
        return self.entry(_ENTRY.unpack_from(self._map))

    def entry(self, values: Any) -> Entry:
        """Steps, index of the modality, first and last ordinal as an entry; nothing is decoded where they are none.

        Both come from a process that strangers' data may have taken over.
        """
        try:
            steps, index, first, last = map(int, values)
        except (TypeError, ValueError, OverflowError):
            return Entry(0, None, 0, 0)
        sound = 0 <= index < len(self.names) and 0 <= first <= last < first + _LARGEST_GROUP
        return Entry(steps, self.names[index], first, last) if sound else Entry(steps, None, 0, 0)

    def values(self) -> list[int]:
        """The entry as :meth:`entry` takes it."""
        return list(_ENTRY.unpack_from(self._map))

    def write(self, steps: int, modality: str, first: int, last: int) -> None:
        """Replaces the entry."""
        _ENTRY.pack_into(self._map, 0, steps, self.names.index(modality), first, last)

    def step(self, steps: int) -> None:
        """Replaces the number of steps."""
        _STEPS.pack_into(self._map, 0, steps)

    def rest(self) -> None:
        """Says that nothing is being decoded."""
        _ENTRY.pack_into(self._map, 0, 0, _RESTING, 0, 0)

    def moved(self) -> None:
        """Says that something was done, be it decoding, reading or downloading."""
        _MOVES.pack_into(self._map, _ENTRY.size, self.moves() + 1)

    def moves(self) -> int:
        """How often it was said."""
        moves: int = _MOVES.unpack_from(self._map, _ENTRY.size)[0]
        return moves

    def close(self) -> None:
        """Gives the memory back."""
        self._map.close()
        os.close(self.file)


class JournalWatch:
    """A :class:`pipeline.modalities.decoding.watch.Watch` that writes the journal, with room in an arena.

    Args:
        journal: What is written.
        arena: Where decoded values go; None for memory of this process.
    """

    def __init__(self, journal: Journal, arena: Arena | None) -> None:
        self._journal = journal
        self._arena = arena
        self._steps = 0

    def begins(self, modality: str, first: int, last: int) -> None:
        """See :class:`pipeline.modalities.decoding.watch.Watch`."""
        self._steps += 1
        self._journal.write(self._steps, modality, first, last)
        pulse.beat()

    def ticks(self) -> None:
        """See :class:`pipeline.modalities.decoding.watch.Watch`."""
        self._steps += 1
        self._journal.step(self._steps)
        pulse.beat()

    def rests(self) -> None:
        """See :class:`pipeline.modalities.decoding.watch.Watch`."""
        self._journal.rest()

    def room(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
        """See :class:`pipeline.modalities.decoding.watch.Watch`."""
        return np.empty(shape, dtype) if self._arena is None else self._arena.room(shape, dtype)
