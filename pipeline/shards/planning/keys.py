"""Keys that more than one shard or split has, found among any number of keys in 8 bytes a key."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

RANGE_KEYS = (
    4 << 20
)  # keys compared at a time, which bounds the memory beyond the hashes themselves
EXAMPLES = 5


def key_hash(key: str) -> int:
    """64 bits of a key. Among 100 million keys, the chance that any two share a hash is 1 in 3,700."""
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "little")


@dataclass(frozen=True)
class Repeats:
    """Keys that come more than once.

    Attributes:
        count: How many distinct keys.
        hashes: The hashes of the first of them, at most ``EXAMPLES``.
    """

    count: int = 0
    hashes: tuple[int, ...] = ()

    def __add__(self, other: Repeats) -> Repeats:
        return Repeats(self.count + other.count, (self.hashes + other.hashes)[:EXAMPLES])


def across_shards(shards: Sequence[np.ndarray]) -> Repeats:
    """Keys that more than one of these shards has.

    Args:
        shards: For each shard the hashes of its distinct keys, (N,) uint64, ascending.
    """
    repeats = Repeats()
    for pieces in _ranges([shards]):
        merged = _sorted(pieces[0])
        repeats += _repeats(_distinct(merged[1:][merged[1:] == merged[:-1]]))
    return repeats


def across_splits(splits: Mapping[str, Sequence[np.ndarray]]) -> dict[tuple[str, str], Repeats]:
    """Keys that two splits share, for each pair of splits that share any.

    Args:
        splits: Split -> its shards, as in :func:`across_shards`.
    """
    repeats: dict[tuple[str, str], Repeats] = {}
    for pieces in _ranges(list(splits.values())):
        keys = {
            name: _distinct(_sorted(hashes)) for name, hashes in zip(splits, pieces, strict=True)
        }
        for pair in itertools.combinations(splits, 2):
            shared = _shared(*sorted((keys[name] for name in pair), key=len))
            if len(shared):
                repeats[pair] = repeats.get(pair, Repeats()) + _repeats(shared)
    return repeats


def holds(keys: np.ndarray, key: int) -> bool:
    """Whether a shard's ascending hashes contain one."""
    place = int(np.searchsorted(keys, np.uint64(key)))
    return place < len(keys) and int(keys[place]) == key


def _sorted(pieces: Sequence[np.ndarray]) -> np.ndarray:
    merged = np.concatenate(pieces)
    merged.sort()
    return merged


def _distinct(ordered: np.ndarray) -> np.ndarray:
    """The distinct values of an ascending array."""
    first = np.concatenate([np.ones(len(ordered[:1]), dtype=bool), ordered[1:] != ordered[:-1]])
    distinct: np.ndarray = ordered[first]
    return distinct


def _shared(few: np.ndarray, many: np.ndarray) -> np.ndarray:
    """The values that two ascending arrays share."""
    if not len(many):
        return few
    places = np.minimum(np.searchsorted(many, few), len(many) - 1)
    shared: np.ndarray = few[many[places] == few]
    return shared


def _repeats(hashes: np.ndarray) -> Repeats:
    return Repeats(len(hashes), tuple(hashes[:EXAMPLES].tolist()))


def _ranges(splits: Sequence[Sequence[np.ndarray]]) -> Iterator[list[list[np.ndarray]]]:
    """Cuts the space of hashes into ranges that hold about ``RANGE_KEYS`` keys, and each shard with it."""
    total = sum(len(keys) for shards in splits for keys in shards)
    steps = max(1, -(-total // RANGE_KEYS))
    bounds = np.array([(step << 64) // steps for step in range(1, steps)], dtype=np.uint64)
    cuts = [[np.searchsorted(keys, bounds) for keys in shards] for shards in splits]
    for step in range(steps):
        yield [
            [np.empty(0, np.uint64)]
            + [keys[_slice(cut, step)] for keys, cut in zip(shards, places, strict=True)]
            for shards, places in zip(splits, cuts, strict=True)
        ]


def _slice(cuts: np.ndarray, step: int) -> slice:
    return slice(int(cuts[step - 1]) if step else 0, int(cuts[step]) if step < len(cuts) else None)
