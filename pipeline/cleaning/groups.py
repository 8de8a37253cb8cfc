"""Pairs -> groups, and the pairs that are worth comparing, in a few numbers for each sample."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

WINDOW = (
    256  # samples of one bucket that a sample is compared with, those nearest in order, at most
)


class Groups:
    """Samples that were joined, directly or through others. The first of a group stands for it.

    Args:
        count: Samples, numbered 0 to ``count - 1``.

    Source: Galler and Fischer 1964, the forest of disjoint sets, for many pairs at once; the root with the smaller
    number stays a root, so that no cycle can come up.
    """

    def __init__(self, count: int) -> None:
        self._parent = np.arange(count, dtype=np.int64)

    def join(self, left: np.ndarray, right: np.ndarray) -> None:
        """Joins pairs of samples, (P,) integers each."""
        roots, partners = self.first(left), self.first(right)
        while True:
            differ = roots != partners
            roots, partners = roots[differ], partners[differ]
            if not len(roots):
                return
            # Where several pairs hang one root somewhere, one of them stays, and the others come round again.
            self._parent[np.maximum(roots, partners)] = np.minimum(roots, partners)
            roots, partners = self.first(roots), self.first(partners)

    def first(self, samples: np.ndarray) -> np.ndarray:
        """The first sample of the group that each of these is in."""
        above: np.ndarray = self._parent[samples]
        while True:
            root = self._parent[above]
            if np.array_equal(root, above):
                break
            above = root
        self._parent[samples] = above  # the next way is short
        return above

    def firsts(self) -> np.ndarray:
        """(count,) int64: for every sample the first of its group, itself where it is that."""
        return self.first(np.arange(len(self._parent)))


def equal_pairs(keys: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of places that hold the same key.

    Places of one key are compared with the ``WINDOW`` that follow them, so that one key that very many have, such as
    that of an empty text, costs a multiple of their number and not its square.

    Args:
        keys: (N,) of any unsigned type.

    Yields:
        Two arrays of as many places, (P,) int64, P < N; the smaller place of a pair comes first.
    """
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    at = np.flatnonzero(ordered[1:] == ordered[:-1])
    step = 1
    while len(at) and step <= WINDOW:
        yield order[at], order[at + step]
        step += 1
        at = at[at + step < len(ordered)]
        at = at[ordered[at + step] == ordered[at]]


def first_of_equals(keys: np.ndarray) -> np.ndarray:
    """For each place the first that holds the same key, (N,) int64.

    Args:
        keys: (N,) uint64, or (N, 2) uint64 whose rows are keys of 128 bits.
    """
    columns = keys if keys.ndim > 1 else keys[:, None]
    order = np.lexsort(columns.T)
    same = np.zeros(len(order), dtype=bool)
    if len(order):
        same[1:] = (columns[order[1:]] == columns[order[:-1]]).all(axis=1)
    # The start of each run of equal keys: sorting is stable, so it is the first in order too.
    starts = np.maximum.accumulate(np.where(same, 0, np.arange(len(order))))
    first = np.empty(len(order), dtype=np.int64)
    first[order] = order[starts]
    return first
