"""Repeated keys against sets."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.shards.planning import keys
from pipeline.shards.planning.keys import across_shards, across_splits, holds, key_hash

shards_of = st.lists(st.sets(st.integers(0, 30)), max_size=4)


def hashed(names: set[int]) -> np.ndarray:
    return np.unique(np.array([key_hash(str(name)) for name in names], dtype=np.uint64))


@pytest.mark.parametrize("range_keys", [1, 7, 1 << 20])
def test_repeats_are_those_that_sets_find(range_keys: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "RANGE_KEYS", range_keys)

    @settings(max_examples=40)
    @given(splits=st.fixed_dictionaries(dict.fromkeys(("train", "val", "test"), shards_of)))
    def check(splits: dict[str, list[set[int]]]) -> None:
        found = {
            name: across_shards([hashed(each) for each in shards])
            for name, shards in splits.items()
        }
        for name, shards in splits.items():
            again = {k for k in range(31) if sum(k in each for each in shards) > 1}
            assert found[name].count == len(again)
            assert set(found[name].hashes) <= {key_hash(str(k)) for k in again}
            assert len(found[name].hashes) == min(len(again), keys.EXAMPLES)
        pairs = across_splits({n: [hashed(each) for each in s] for n, s in splits.items()})
        for pair in itertools.combinations(splits, 2):
            first, second = (set().union(*splits[name]) for name in pair)
            shared = first & second
            assert (pair in pairs) == bool(shared)
            if shared:
                assert pairs[pair].count == len(shared)
                assert set(pairs[pair].hashes) <= {key_hash(str(k)) for k in shared}

    check()


def test_a_shard_is_asked_for_a_key() -> None:
    shard = hashed({1, 2, 3})
    assert all(holds(shard, key_hash(str(k))) for k in (1, 2, 3))
    assert not holds(shard, key_hash("4"))
    assert not holds(np.empty(0, np.uint64), key_hash("4"))


def test_a_million_keys_need_little_beside_their_hashes() -> None:
    import tracemalloc

    rng = np.random.default_rng(0)
    shards = [np.unique(rng.integers(0, 2**63, 100_000).astype(np.uint64)) for _ in range(10)]
    tracemalloc.start()
    across_shards(shards)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 8 * sum(map(len, shards)), "within one range: a copy, its sort, and masks"
