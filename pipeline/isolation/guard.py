"""The process that lives: it hands out work, watches the clock, and finds the item that ends its child."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Pipe
from typing import Any, NamedTuple

import pyarrow as pa

from pipeline import pulse
from pipeline.errors import InputError
from pipeline.isolation import child
from pipeline.isolation.answer import UnreadableAnswer, decode, decode_error
from pipeline.isolation.arena import ARENA_BYTES, Arena, Arenas, shared_memory
from pipeline.isolation.forkserver import start_child
from pipeline.isolation.journal import Entry, Journal
from pipeline.isolation.running import SECONDS_BETWEEN_LOOKS, Child, Clock
from pipeline.limits import (
    DECODE_MEMORY_BYTES,
    DECODE_SECONDS,
    ON_BAD_FIELD,
    Limits,
    moved_by,
)
from pipeline.modalities.decoding.watch import Care, Verdict, Watch

NUM_ARENAS = 3  # results that may be in use at a time; more of them are copied
DEATHS_AT_REST = 3  # of children that were decoding nothing, before the input is given up

Work = Callable[[Any, Watch, Care], Any]


# No limit is behind a crash; a sample can only do without the field.
_SETTINGS = {
    "decoder_crashed": ON_BAD_FIELD,
    "decoder_memory": DECODE_MEMORY_BYTES,
    "decoder_timeout": DECODE_SECONDS,
}


class Death(NamedTuple):
    """How a child ended.

    Attributes:
        reason: A word of the vocabulary of reasons.
        detail: What happened, in words.
        entry: What it was at.
    """

    reason: str
    detail: str
    entry: Entry

    @property
    def verdict(self) -> Verdict:
        """Of the sample that it was at, with the setting that would let it through."""
        modality = self.entry.modality or ""
        return Verdict(modality, self.reason, self.detail, _SETTINGS[self.reason])


class Interrupted(Exception):
    """Another thread has ended the work that a guard was at, which is not to be tried again."""


class _Died(Exception):
    def __init__(self, death: Death) -> None:
        super().__init__(death.detail)
        self.death = death


class Guard:
    """Does work in a child process, and replaces the child when it dies.

    Args:
        work: ``(request, watch, care) -> result``; requests and work must be picklable.
        names: What ``watch.begins`` is told of, in any order.
        limits: How long one step may take, and how much memory.
        modules: What all children of this process may import before they are told the work.

    Attributes:
        interrupted: Whether another thread has ended it.
    """

    def __init__(
        self, work: Work, names: Sequence[str], limits: Limits, modules: Sequence[str] = ()
    ) -> None:
        self.interrupted = False
        self._work = work
        self._limits = limits
        self._modules = modules
        self._journal = Journal(names)
        self._arenas = Arenas([Arena(shared_memory(ARENA_BYTES)) for _ in range(NUM_ARENAS)])
        self._child: Child | None = None

    def __call__(self, request: object, detail: str = "") -> Any:
        """Does the work on a request, without the items that end its process.

        Args:
            request: For ``work``.
            detail: What it is, for an error.

        Raises:
            InputError: The child died again and again, and not while it was decoding.
            Interrupted: Another thread has ended it.
            Exception: What ``work`` raised.
        """
        care, at_rest = Care(), 0
        while True:
            try:
                return self._attempt(request, care)
            except _Died as died:
                self.stop()
                if self.interrupted:
                    raise Interrupted from None
                death = died.death
                if death.entry.modality is not None:
                    care = learn(care, death)
                    continue
                at_rest += 1
                if at_rest == DEATHS_AT_REST:
                    raise InputError(
                        f"the process that reads it ended {at_rest} times: {death.detail}",
                        where=detail,
                        fix="check that the shard is whole and that the machine has memory to spare",
                    ) from None
            except BaseException:
                self.stop()  # what it is at is of no use any more
                raise

    def interrupt(self) -> None:
        """Ends what the guard is at, from another thread; it is of no use any more."""
        self.interrupted = True
        running = self._child
        if running is not None:
            running.kill()

    def stop(self) -> None:
        """Ends the child, if there is one."""
        if self._child is not None:
            self._child.end()
            self._child = None

    def close(self) -> None:
        """Ends the child and gives the memory back."""
        self.stop()
        self._journal.close()
        for arena in self._arenas.all:
            arena.close()

    def _attempt(self, request: object, care: Care) -> Any:
        if self._child is None:
            self._child = self._start()
        if self.interrupted:
            raise Interrupted
        index = self._arenas.take()
        borrowed = False
        try:
            head = self._ask(self._child, (request, index, care))
            if head.get("word") == child.DONE:
                arena = None if index is None else self._arenas.lend(index)
                borrowed = arena is not None
                return decode(head["value"], self._buffers(self._child, head["places"], arena))
        except (EOFError, ConnectionResetError):
            how = f"the decoder's process {self._child.wait()}"
            raise _Died(Death("decoder_crashed", how, self._journal.read())) from None
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            detail = f"the decoder's process sent what is no answer: {error}"[:300]
            raise _Died(Death("decoder_crashed", detail, self._journal.read())) from None
        finally:
            if index is not None and not borrowed:
                self._arenas.give_back(index)
        if head.get("word") == child.OUT_OF_MEMORY:
            limit = self._limits.decode_memory_bytes
            detail = moved_by("decoding it needs more memory", DECODE_MEMORY_BYTES, limit)
            raise _Died(Death("decoder_memory", detail, self._journal.entry(head.get("entry"))))
        failure = decode_error(head.get("error"))
        failure.add_note(str(head.get("trace")))
        raise failure

    def _buffers(self, running: Child, places: Any, arena: pa.Buffer | None) -> list[pa.Buffer]:
        """The buffers of an answer: in the arena, or behind it in the pipe."""
        buffers = []
        for place in places:
            if place is None:
                buffers.append(pa.py_buffer(running.receive()))
                continue
            offset, size = map(int, place)
            if arena is None or min(offset, size) < 0 or offset + size > arena.size:
                raise UnreadableAnswer("a place outside the memory we share")
            buffers.append(arena.slice(offset, size))
        return buffers

    def _ask(self, running: Child, message: object) -> dict[str, Any]:
        """Sends a message and waits for its answer.

        Raises:
            _Died: It takes too long.
            EOFError: The child has ended.
            ValueError: The answer is none.
        """
        connection = running.connection
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # recv tells of its end
            connection.send(message)
        clock = Clock(running.pid, self._limits.decode_seconds)
        moves = self._journal.moves()
        while not connection.poll(SECONDS_BETWEEN_LOOKS):
            if moves != (moves := self._journal.moves()):
                pulse.beat()
            entry = self._journal.read()
            if clock.is_over(entry):
                limit = self._limits.decode_seconds
                detail = moved_by("decoding it takes longer", DECODE_SECONDS, limit)
                raise _Died(Death("decoder_timeout", detail, entry))
        head = json.loads(running.receive())
        if not isinstance(head, dict):
            raise UnreadableAnswer("no JSON object")
        return head

    def _start(self) -> Child:
        self._journal.rest()
        ours, theirs = Pipe()
        arenas = [arena.file for arena in self._arenas.all]
        with theirs, outputs() as (output, errors):
            descriptors = [theirs.fileno(), self._journal.file, output, errors, *arenas]
            running = Child(ours, *start_child(self._modules, descriptors))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # _ask() tells of its end
            ours.send(child.Surroundings.here())
            ours.send((self._work, self._journal.names, self._limits.decode_memory_bytes))
        return running


@contextlib.contextmanager
def outputs() -> Iterator[tuple[int, int]]:
    """This process's output and errors, or nowhere where they are closed."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        yield _open_or(1, nowhere), _open_or(2, nowhere)
    finally:
        os.close(nowhere)


def _open_or(file: int, other: int) -> int:
    try:
        os.fstat(file)
    except OSError:
        return other
    return file


def learn(care: Care, death: Death) -> Care:
    """What the next attempt does differently: one sample at a time, or without the one that ended two attempts."""
    entry = death.entry
    if entry.modality is None:
        return care
    if entry.first == entry.last and entry.first in care.suspects:
        before = care.condemned.get(entry.first, ())
        return Care(care.suspects, {**care.condemned, entry.first: (*before, death.verdict)})
    return Care(care.suspects | frozenset(range(entry.first, entry.last + 1)), care.condemned)
