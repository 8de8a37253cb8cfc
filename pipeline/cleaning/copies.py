"""Copies among millions of samples: the same bytes, or nearly the same in every modality."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline import pulse
from pipeline.cleaning.content import row_hashes
from pipeline.cleaning.groups import Groups, equal_pairs, first_of_equals
from pipeline.modalities.facets import Comparison

TRAIN = 0  # the number of the training split, whose samples may leak from others
PAIRS_AT_A_TIME = 1 << 15  # compared together: 64 MB where they are sounds
ROWS_AT_A_TIME = 1 << 16
TELLING = 0.9  # of the values of the modality that has most: one that has so many is searched by


Compare = Callable[[np.ndarray], Comparison]  # (N, W) uint8 -> which of them are alike


@dataclass(frozen=True)
class Same:
    """Signatures that are alike only where they are equal.

    Attributes:
        rows: (N, W) uint8.
    """

    rows: np.ndarray

    def tables(self) -> Iterator[np.ndarray]:
        """One, of hashes of the rows."""
        yield row_hashes(self.rows)

    def alike(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Whether they are equal: (P,) places each -> (P,) bool."""
        same: np.ndarray = (self.rows[left] == self.rows[right]).all(axis=1)
        return same


@dataclass(frozen=True)
class Signatures:
    """What is known of N samples, in the order in which the first of several copies is kept.

    Attributes:
        content: (N, 2) uint64, 128 bits of each sample's bytes.
        split: (N,) uint8, ``TRAIN`` or another number; copies are looked for within a split.
        rows: Modality -> (N, W) uint8; empty where only the bytes are compared.
        present: Modality -> (N,) bool, True where a sample has the modality.
    """

    content: np.ndarray
    split: np.ndarray
    rows: Mapping[str, np.ndarray]
    present: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Copies:
    """What was found.

    Attributes:
        first: (N,) int64, the first sample of the split that has this content; the sample itself where it is that.
        same: (N,) bool, whether that sample is the same byte for byte.
        leak: (N,) int64, for samples of the training split one of another split with this content; -1 where none.
    """

    first: np.ndarray
    same: np.ndarray
    leak: np.ndarray


def find_copies(signatures: Signatures, comparisons: Mapping[str, Compare] | None = None) -> Copies:
    """Finds copies within each split, and samples of the training split that other splits have too.

    Near copies join groups, of which the first sample is kept: a copy of a copy belongs to them, however far it is
    from the first. Leaks are copies of a sample of another split themselves. Samples that lack other modalities are
    never near copies of each other.

    Args:
        signatures: Of all samples.
        comparisons: Modality -> how its signatures are compared; None compares the bytes only.
    """
    count = len(signatures.content)
    split = signatures.split
    groups = Groups(count)
    leak = np.full(count, count, dtype=np.int64)
    everyone = np.arange(count)
    same = first_of_equals(signatures.content)
    held = np.flatnonzero(split != TRAIN)
    np.minimum.at(leak, same[held], held)
    leak = np.where(split == TRAIN, leak[same], count)
    twin = first_of_equals(np.column_stack([signatures.content, split.astype(np.uint64)]))
    groups.join(everyone, twin)
    if comparisons is not None:
        for names, places in _by_modalities(signatures.present, count):
            _join_near(signatures, comparisons, names, places, groups, leak)
    first = groups.firsts()
    return Copies(first, twin == twin[first], np.where(leak == count, -1, leak))


def _by_modalities(
    present: Mapping[str, np.ndarray], count: int
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Samples that have the same modalities: their names, and the samples' places."""
    having = np.zeros(count, dtype=np.uint64)
    for bit, flags in enumerate(present.values()):
        having |= flags.astype(np.uint64) << np.uint64(bit)
    for combination in np.unique(having[having > 0]):
        names = [name for bit, name in enumerate(present) if int(combination) >> bit & 1]
        yield names, np.flatnonzero(having == combination)


def _join_near(
    signatures: Signatures,
    comparisons: Mapping[str, Compare],
    names: Sequence[str],
    places: np.ndarray,
    groups: Groups,
    leak: np.ndarray,
) -> None:
    """Joins near copies among samples with the same modalities, and notes the leaks."""
    hashes = {name: _hashes(signatures.rows[name], places) for name in names}
    split = signatures.split[places]
    # Of samples that are equal in all signatures, one is compared with others.
    equal = first_of_equals(np.column_stack([*hashes.values(), split.astype(np.uint64)]))
    groups.join(places, places[equal])
    chosen = np.flatnonzero(equal == np.arange(len(places)))
    distinct = places[chosen]
    values = {name: len(np.unique(values[chosen])) for name, values in hashes.items()}
    telling = next(name for name in names if values[name] >= TELLING * max(values.values()))
    del hashes
    kinds = {name: comparisons[name](signatures.rows[name][distinct]) for name in names}
    order = [telling, *(name for name in names if name != telling)]
    for firsts, seconds in _candidates(kinds[telling]):
        mine, theirs = distinct[firsts], distinct[seconds]
        within = signatures.split[mine] == signatures.split[theirs]
        across = (signatures.split[mine] == TRAIN) != (signatures.split[theirs] == TRAIN)
        new = across | (within & (groups.first(mine) != groups.first(theirs)))
        firsts, seconds = firsts[new], seconds[new]
        for name in order:
            good = kinds[name].alike(firsts, seconds)
            firsts, seconds = firsts[good], seconds[good]
        _note(signatures.split, distinct[firsts], distinct[seconds], groups, leak)
    leak[places] = np.minimum(leak[places], leak[places[equal]])


def _note(
    split: np.ndarray, left: np.ndarray, right: np.ndarray, groups: Groups, leak: np.ndarray
) -> None:
    """Joins pairs of one split; of pairs of two, notes for the training sample the other."""
    within = split[left] == split[right]
    groups.join(left[within], right[within])
    for mine, theirs in ((left, right), (right, left)):
        across = (split[mine] == TRAIN) & (split[theirs] != TRAIN)
        np.minimum.at(leak, mine[across], theirs[across])


def _candidates(comparison: Comparison) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of places that are worth comparing, some thousands at a time."""
    for keys in comparison.tables():
        for firsts, seconds in equal_pairs(keys):
            for start in range(0, len(firsts), PAIRS_AT_A_TIME):
                stretch = slice(start, start + PAIRS_AT_A_TIME)
                yield firsts[stretch], seconds[stretch]
                pulse.beat()


def _hashes(rows: np.ndarray, places: np.ndarray) -> np.ndarray:
    hashes = np.empty(len(places), dtype=np.uint64)
    for start in range(0, len(places), ROWS_AT_A_TIME):
        stretch = slice(start, start + ROWS_AT_A_TIME)
        hashes[stretch] = row_hashes(rows[places[stretch]])
    return hashes
