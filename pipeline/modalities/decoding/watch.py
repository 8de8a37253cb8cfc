"""What decoding tells a supervisor while it works, and what the supervisor has found out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, overload

import numpy as np

from pipeline import pulse
from pipeline.errors import SampleError
from pipeline.modalities.base import Item

CHECKS = ""  # stands for label and metadata where a modality is named


class Verdict(NamedTuple):
    """Why a sample is not decoded again.

    Attributes:
        modality: What was being decoded, or ``CHECKS``.
        reason: A word of the vocabulary of reasons.
        detail: What happened, in words.
        setting: Dotted path of the setting that would let it through.
    """

    modality: str
    reason: str
    detail: str
    setting: str

    def error(self, field: str) -> SampleError:
        """The fault of the sample, in a field of it."""
        return SampleError(self.detail, reason=self.reason, field=field, setting=self.setting)


@dataclass(frozen=True)
class Care:
    """What earlier attempts at a part have shown.

    Attributes:
        suspects: Ordinals of samples that are decoded one at a time: one of them has ended an attempt.
        condemned: Ordinal -> what of the sample is not decoded, and why.
    """

    suspects: frozenset[int] = frozenset()
    condemned: Mapping[int, tuple[Verdict, ...]] = field(default_factory=dict)


class Watch(Protocol):
    """Told of every step, so that a supervisor in another process knows what a hang or a crash was about."""

    def begins(self, modality: str, first: int, last: int) -> None:
        """Samples with the ordinals ``first`` to ``last`` are now decoded together.

        Args:
            modality: Which of their modalities, or ``CHECKS``.
            first: Ordinal of the first.
            last: Ordinal of the last.
        """

    def ticks(self) -> None:
        """One more of them is begun."""

    def rests(self) -> None:
        """Nothing is being decoded."""

    def room(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
        """Room for decoded values, not initialised."""


class Unwatched:
    """A watch that nobody reads, in the process that does all the work."""

    def begins(self, modality: str, first: int, last: int) -> None:
        """Beats."""
        pulse.beat()

    def ticks(self) -> None:
        """Beats."""
        pulse.beat()

    def rests(self) -> None:
        """Passes."""

    def room(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
        """Memory of this process."""
        return np.empty(shape, dtype=dtype)


class Ticking(Sequence[Item]):
    """Items that tell the watch when each is begun.

    Args:
        items: The members of a group.
        watch: Who is told.
    """

    def __init__(self, items: Sequence[Item], watch: Watch) -> None:
        self._items = items
        self._watch = watch

    def __iter__(self) -> Iterator[Item]:
        for item in self._items:
            self._watch.ticks()
            yield item
        self._watch.ticks()  # what a codec does with all of them together is a step of its own

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> Item: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Item]: ...

    def __getitem__(self, index: int | slice) -> Item | Sequence[Item]:
        self._watch.ticks()
        return self._items[index]
