"""Repeat-factor sampling against its equations."""

from __future__ import annotations

import json
import math
import pickle

import numpy as np
import pyarrow as pa

from pipeline.objectives.sampling import Repeats, repeat_factors

SHARES = {"common": 0.9, "rare": 0.09, "rarest": 0.01}


def samples(labels: list[str]) -> pa.Table:
    keys = [f"{i:05}" for i in range(len(labels))]
    return pa.table({"key": keys, "shard": ["a.tar"] * len(labels), "label": labels})


def test_factors_are_the_equation() -> None:
    factors = repeat_factors(SHARES, 0.3)
    assert factors == {
        "common": 1.0,
        "rare": math.sqrt(0.3 / 0.09),
        "rarest": math.sqrt(0.3 / 0.01),
    }
    assert repeat_factors({"absent": 0.0}, 0.3) == {"absent": 1.0}


def test_the_mean_of_many_is_the_factor_and_all_are_its_neighbours() -> None:
    factors = repeat_factors(SHARES, 0.3)
    repeats = Repeats(factors, lambda text: [text], seed=7)
    for name, factor in factors.items():
        counts = repeats(samples([name] * 4000), 0)
        assert set(counts.tolist()) <= {math.floor(factor), math.ceil(factor)}
        assert abs(counts.mean() - factor) < 0.03


def test_of_several_classes_the_rarest_counts() -> None:
    repeats = Repeats({"common": 1.0, "rare": 3.0}, json.loads, seed=0)
    texts = ['["common", "rare"]', '["common"]', "[]", '["unknown"]']
    assert repeats(samples(texts), 0).tolist() == [3, 1, 1, 1]


def test_chance_follows_seed_epoch_and_key_and_not_the_part() -> None:
    repeats = Repeats({"rare": 1.5}, _itself, seed=7)
    table = samples(["rare"] * 200)
    first = repeats(table, 0)
    pieces = [repeats(table.slice(start, 50), 0) for start in range(0, 200, 50)]
    assert np.array_equal(first, np.concatenate(pieces))
    assert np.array_equal(first, pickle.loads(pickle.dumps(repeats))(table, 0))
    assert not np.array_equal(first, repeats(table, 1))
    assert not np.array_equal(first, Repeats({"rare": 1.5}, _itself, seed=8)(table, 0))


def _itself(text: str) -> list[str]:
    return [text]
