import hashlib
from collections import Counter
from fractions import Fraction

import pytest

from pipeline.errors import ConfigError
from pipeline.packing.split import split_of, stratified

THIRDS = {"train": 0.7, "val": 0.1, "test": 0.2}


def test_split_is_pinned():
    # These names must never change: a data set packed again elsewhere has the same splits.
    keys = ["000000", "000001", "cats/7", "数字", "a", "b", "c", "d"]
    got = [split_of(key, THIRDS, seed=3) for key in keys]
    assert got == ["train", "train", "test", "train", "train", "train", "train", "test"]


def test_split_is_the_interval_of_the_hash():
    for number in range(2000):
        key = f"k{number}"
        digest = hashlib.blake2b(f"9\0{key}".encode(), digest_size=8).hexdigest()
        point = Fraction(int(digest, 16), 16**16)
        want = "train" if point < Fraction(7, 10) else "val" if point < Fraction(8, 10) else "test"
        assert split_of(key, THIRDS, seed=9) == want


def test_shares_are_met():
    keys = [f"{number:06d}" for number in range(20_000)]
    got = [split_of(key, THIRDS) for key in keys]
    for name, share in THIRDS.items():
        assert abs(got.count(name) / len(keys) - share) < 0.01


def test_another_seed_is_another_split():
    keys = [str(number) for number in range(2000)]
    halves = {"a": 0.5, "b": 0.5}
    same = sum(split_of(key, halves, 0) == split_of(key, halves, 1) for key in keys)
    assert 900 < same < 1100


def test_a_share_of_zero_gets_nothing():
    shares = {"train": 1.0, "val": 0.0}
    assert {split_of(str(number), shares) for number in range(1000)} == {"train"}


@pytest.mark.parametrize(
    ("fractions", "word"),
    [({"train": 0.8}, "0.8"), ({"a": 1.2, "b": -0.2}, "1.2"), ({}, "0"), ({"a-b": 1.0}, "a-b")],
)
def test_unusable_shares(fractions, word):
    with pytest.raises(ConfigError, match=word):
        split_of("key", fractions)


def some_classes(counts):
    return {f"{name}/{i}": name for name, number in counts.items() for i in range(number)}


@pytest.mark.parametrize(
    "shares", [THIRDS, {"a": 0.5, "b": 0.5}, {"train": 0.8, "val": 0.1, "test": 0.1}]
)
def test_each_class_has_its_share_in_every_split(shares):
    classes = some_classes({"many": 997, "some": 30, "few": 4, "pair": 2, "one": 1})
    chosen = stratified(classes, shares, seed=5)
    assert chosen.keys() == classes.keys()
    for name, number in Counter(classes.values()).items():
        counts = Counter(split for key, split in chosen.items() if classes[key] == name)
        assert counts.total() == number
        for split, share in shares.items():
            assert abs(counts[split] - share * number) <= max(1, len(shares) - 1)
            assert counts[split] >= 1 or number < len(shares)
    again = dict(reversed(classes.items()))
    assert stratified(again, shares, seed=5) == chosen
    assert stratified(classes, shares, seed=6) != chosen


def test_more_samples_move_few_others_of_their_class():
    before = some_classes({"a": 200, "b": 100})
    after = before | some_classes({"a": 230})
    one, other = stratified(before, THIRDS), stratified(after, THIRDS)
    moved = [key for key in one if one[key] != other[key]]
    assert all(before[key] == "a" for key in moved)
    assert len(moved) <= 2 * 30


def test_a_share_of_nothing_gets_nothing():
    chosen = stratified(some_classes({"a": 7}), {"train": 1.0, "test": 0.0})
    assert set(chosen.values()) == {"train"}
