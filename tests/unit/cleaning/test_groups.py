"""Pairs and groups, against loops over all pairs."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cleaning import groups
from pipeline.cleaning.groups import Groups, equal_pairs, first_of_equals

SIZES = st.integers(1, 40)


@settings(max_examples=200)
@given(count=SIZES, seed=st.integers(0, 10_000), rounds=st.integers(0, 4))
def test_groups_are_the_connected_components(count: int, seed: int, rounds: int) -> None:
    chance = np.random.default_rng(seed)
    found = Groups(count)
    first = list(range(count))
    for _ in range(rounds):
        left, right = chance.integers(0, count, (2, chance.integers(0, count + 1)))
        found.join(left, right)
        for a, b in zip(left, right, strict=True):
            low, high = sorted((first[a], first[b]))
            first = [low if each == high else each for each in first]
    assert found.firsts().tolist() == first


@given(st.lists(st.integers(0, 6), max_size=40))
def test_pairs_of_equal_keys(keys: list[int]) -> None:
    pairs = [
        pair
        for left, right in equal_pairs(np.array(keys, dtype=np.uint64))
        for pair in zip(left.tolist(), right.tolist(), strict=True)
    ]
    wanted = {(a, b) for a, b in itertools.combinations(range(len(keys)), 2) if keys[a] == keys[b]}
    assert set(pairs) == wanted
    assert len(pairs) == len(wanted)


def test_a_key_that_many_have_costs_a_multiple_of_their_number() -> None:
    count = 3 * groups.WINDOW
    pairs = list(equal_pairs(np.zeros(count, dtype=np.uint64)))
    assert len(pairs) == groups.WINDOW
    found = Groups(count)
    for left, right in pairs:
        found.join(left, right)
    assert not found.firsts().any()


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=40))
def test_first_of_equals(keys: list[tuple[int, int]]) -> None:
    rows = np.array(keys, dtype=np.uint64).reshape(-1, 2)
    assert first_of_equals(rows).tolist() == [keys.index(key) for key in keys]
    assert first_of_equals(rows[:, 0]).tolist() == [
        [one for one, _ in keys].index(one) for one, _ in keys
    ]
