"""The order of an epoch: of all samples once, the same for any number of workers, and from any position on."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.lanes import MemoryParts, values

from pipeline.modalities.chance import CHANCE
from pipeline.training.feed import LaneFeed
from pipeline.training.order import EpochOrder, Lanes, deal

SIZES = st.lists(st.integers(0, 30), min_size=1, max_size=9)


def batches(feeds: list[LaneFeed], epoch: int, start: int = 0) -> list[list[int]]:
    """The samples of each global batch, all workers' together."""
    shares = [[values(batch) for batch in feed.batches(epoch, start)] for feed in feeds]
    return [sorted(itertools.chain(*step)) for step in zip(*shares, strict=True)]


def by_hand(lanes: Lanes, sizes: list[int], epoch: int) -> list[int]:
    """Lane of each row of an epoch, by going round the lanes."""
    left = [sum(sizes[index] for index in parts) for parts in lanes.parts]
    turns: list[int] = []
    while any(left):
        for lane, rows in enumerate(left):
            if rows:
                turns.append(lane)
                left[lane] -= 1
    return turns


@settings(max_examples=30)
@given(SIZES, st.integers(1, 6), st.integers(1, 80), st.integers(4, 30), st.integers(0, 3))
def test_any_number_of_workers_sees_the_same_batches_and_every_sample_once(
    sizes: list[int], lanes: int, shuffle_rows: int, batch_size: int, epoch: int
) -> None:
    parts = MemoryParts(sizes)
    options = {"lanes": lanes, "shuffle_rows": shuffle_rows, "batch_size": batch_size}
    alone = batches([parts.feed(**options)], epoch)
    assert sorted(itertools.chain(*alone)) == list(range(sum(sizes)))
    assert all(len(batch) == batch_size for batch in alone[:-1])
    assert len(alone) == parts.feed(**options).num_batches(epoch)
    for num_workers in (2, 3, 4):
        feeds = [parts.feed(rank, num_workers, **options) for rank in range(num_workers)]
        assert batches(feeds, epoch) == alone
        assert sum(feed.samples for feed in feeds) == sum(sizes)


@settings(max_examples=30)
@given(SIZES, st.integers(1, 3), st.data())
def test_from_any_position_on_the_rest_is_the_same(
    sizes: list[int], num_workers: int, data: st.DataObject
) -> None:
    parts = MemoryParts(sizes)
    feeds = [parts.feed(rank, num_workers) for rank in range(num_workers)]
    whole = [[b["value"].tolist() if b else [] for b in feed.batches(1)] for feed in feeds]
    start = data.draw(st.integers(0, len(whole[0])))
    for feed, expected in zip(feeds, whole, strict=True):
        rest = [b["value"].tolist() if b else [] for b in feed.batches(1, 7 * start)]
        assert rest == expected[start:], "in the same order within the batches too"


@given(SIZES, st.integers(1, 6))
def test_positions_are_those_of_going_round_the_lanes(sizes: list[int], num_lanes: int) -> None:
    lanes = Lanes.of(sizes, [str(index) for index in range(len(sizes))], num_lanes, 8, seed=0)
    order, turns = EpochOrder(lanes, sizes, 0), by_hand(lanes, sizes, 0)
    assert order.num_rows == len(turns)
    count = np.zeros(num_lanes, dtype=int)
    for position, lane in enumerate(turns):
        assert (order.taken(position) == count).all()
        assert order.position_of(lane, int(count[lane])) == position
        count[lane] += 1
    assert (order.taken(len(turns)) == count).all()
    assert (order.taken(len(turns) + 5) == count).all()


@given(st.lists(st.integers(0, 100), max_size=40), st.integers(1, 9))
def test_deals_everything_once_and_evenly(sizes: list[int], num_bins: int) -> None:
    bins = deal(sizes, num_bins)
    assert sorted(itertools.chain(*bins)) == list(range(len(sizes)))
    rows = [sum(sizes[index] for index in each) for each in bins]
    assert max(rows) - min(rows) <= max(sizes, default=0)


def test_every_epoch_and_every_seed_has_an_order_of_its_own() -> None:
    parts = MemoryParts([30, 20, 10, 25])
    orders = [
        tuple(itertools.chain(*batches([parts.feed(seed=seed)], epoch)))
        for seed in (0, 1)
        for epoch in (0, 1)
    ]
    assert len(set(orders)) == 4
    assert orders[0] == tuple(itertools.chain(*batches([parts.feed(seed=0)], 0)))


def test_an_order_mixes_parts_and_the_rows_of_each() -> None:
    parts = MemoryParts([100] * 8)
    feed = parts.feed(lanes=2, shuffle_rows=400, batch_size=20)
    first = values(next(iter(feed.batches(0))))
    assert len({value // 100 for value in first}) > 3, "from several parts of each lane"
    ranks = np.argsort(np.concatenate([values(batch) for batch in feed.batches(0)]))
    assert abs(np.corrcoef(ranks, np.arange(800))[0, 1]) < 0.5


def test_a_part_is_read_once_an_epoch_and_only_by_the_worker_that_owns_it() -> None:
    parts = MemoryParts([9, 30, 1, 17, 8, 25, 12, 4])
    for _ in (feed := parts.feed(0, 2)).batches(0):
        pass
    first = list(parts.asked)
    parts.asked.clear()
    for _ in parts.feed(1, 2).batches(0):
        pass
    assert sorted(first + parts.asked) == sorted(parts.tables)
    assert feed.samples == sum(parts.tables[name].num_rows for name in first)


def test_no_more_parts_are_open_than_the_lanes_buffers_need() -> None:
    """Two lanes that shuffle among 20 rows each, in parts of 10: two parts a lane, and two more where it moves on."""
    parts = MemoryParts([10] * 20)
    feed = parts.feed(lanes=2, shuffle_rows=40, batch_size=4)
    taken = 0
    for batch in feed.batches(0):
        taken += len(batch["value"])
        assert 10 * len(parts.asked) <= taken + 2 * 2 * 10


def test_the_order_is_that_of_the_parts_wherever_they_lie() -> None:
    """It is drawn from the names of shards: a copy of the data, which has other times, has the same order."""
    from dataclasses import replace

    parts = MemoryParts([9, 30, 12, 17, 8, 21])
    before = batches([parts.feed(lanes=2, shuffle_rows=2)], 2)
    parts.rows = [
        replace(rows, part=replace(rows.part, url="elsewhere", fingerprint=f"later {index}"))
        for index, rows in enumerate(parts.rows)
    ]
    assert batches([parts.feed(lanes=2, shuffle_rows=2)], 2) == before


def test_a_sample_that_is_no_longer_good_leaves_a_gap_and_moves_no_other() -> None:
    parts = MemoryParts([9, 30, 12])
    before = batches([parts.feed()], 0)
    table = parts.tables["1.tar"]
    lost = table["value"][4].as_py()
    parts.tables["1.tar"] = table.filter(np.arange(30) != 4)
    assert batches([parts.feed()], 0) == [
        [value for value in batch if value != lost] for batch in before
    ]


def test_samples_are_repeated_as_often_as_asked_in_each_epoch() -> None:
    parts = MemoryParts([9, 14, 12])

    def repeats(index, epoch):
        return np.array([1 + (label == "2") * (1 + epoch) for label in index["label"].to_pylist()])

    for epoch in (0, 1):
        for num_workers in (1, 3):
            feeds = [parts.feed(r, num_workers, repeats=repeats) for r in range(num_workers)]
            found = list(itertools.chain(*batches(feeds, epoch)))
            expected = [
                value
                for table in parts.tables.values()
                for value, label in zip(
                    *(table[n].to_pylist() for n in ("value", "label")), strict=True
                )
                for _ in range(1 + (label == "2") * (1 + epoch))
            ]
            assert sorted(found) == sorted(expected)
            assert sum(feed.samples for feed in feeds) == 35, "each counted once"
    chance = [seed for b in parts.feed(repeats=repeats).batches(0) for seed in b[CHANCE].tolist()]
    assert len(set(chance)) == len(chance), "a repeat has a chance of its own"


@pytest.mark.parametrize("num_workers", [2, 3])
def test_chance_is_the_samples_own(num_workers: int) -> None:
    parts = MemoryParts([9, 30, 12, 17])

    def chance(feeds: list[LaneFeed], epoch: int) -> dict[int, int]:
        return {
            value: seed
            for feed in feeds
            for batch in feed.batches(epoch)
            for value, seed in zip(values(batch), batch.get(CHANCE, ()), strict=True)
        }

    alone = {k: int(v) for k, v in chance([parts.feed(batch_size=5)], 1).items()}
    several = chance([parts.feed(rank, num_workers) for rank in range(num_workers)], 1)
    assert alone == {k: int(v) for k, v in several.items()}
    other = {k: int(v) for k, v in chance([parts.feed()], 2).items()}
    assert not set(alone.values()) & set(other.values())
