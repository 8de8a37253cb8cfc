"""Parts on Ray Data: every part once, blocks uncut, an order of its own each pass, equal shares for all ranks."""

from __future__ import annotations

import itertools
import time
from typing import Any, cast

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.data import Dataset
from support.tones import make_samples, write_tar

from pipeline.engine.cluster.failures import plain_errors
from pipeline.engine.decoding.part import decode_part
from pipeline.engine.executors.tasks import group_parts, work_through
from pipeline.engine.train.data import read_parts
from pipeline.errors import SinkError
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.objectives.classify.labels import ClassTarget
from pipeline.shards.planning.plan import Part, expand, plan

SIZES = (30, 3, 1, 17, 8, 25)  # samples of each shard: as uneven as real ones
DECODER = Decoder.build(
    ModalitiesConfig.model_validate({"image": {"fields": ["png"], "size": 8}}),
    None,
    target=ClassTarget("cls"),
)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[Part]:
    folder = tmp_path_factory.mktemp("uneven")
    for index, size in enumerate(SIZES):
        write_tar(folder / f"x-{index}.tar", make_samples(size, seed=index))
    return plan(expand(str(folder / "x-*.tar")))


def tables(data: Any) -> list[pa.Table]:
    return list(data.iter_batches(batch_size=None, batch_format="pyarrow"))


def shards(data: Dataset) -> list[str]:
    return [table["shard"][0].as_py() for table in tables(data)]


@given(st.integers(0, 3000), st.sampled_from([1, 2, 64, 256, 1000, 64_000]))
def test_groups_hold_every_part_once_and_leave_no_core_idle(num_parts: int, num_cpus: int) -> None:
    parts = [Part(f"{index}.tar", "", "") for index in range(num_parts)]
    groups = list(group_parts(parts, num_cpus))
    assert [part for group in groups for part in group] == parts
    assert len(groups) >= min(num_parts, num_cpus)
    assert num_cpus > 200 or all(len(group) == 1 for group in groups)


@pytest.mark.usefixtures("local_ray")
def test_a_part_is_one_block_in_order(parts: list[Part]) -> None:
    blocks = tables(read_parts(parts, DECODER, in_order=True))
    assert [block.num_rows for block in blocks] == list(SIZES)
    assert all(block.schema.names == DECODER.schema.names for block in blocks)


@pytest.mark.usefixtures("local_ray")
def test_a_seed_gives_every_pass_an_order_of_its_own_and_every_run_the_same(
    parts: list[Part],
) -> None:
    passes = []
    for _ in range(2):
        data = read_parts(parts, DECODER, in_order=True, seed=7)
        passes.append([shards(data) for _ in range(3)])
    assert passes[0] == passes[1]
    first, second, third = passes[0]
    assert sorted(first) == sorted(second) == sorted(third) == [part.shard for part in parts]
    assert len({tuple(order) for order in passes[0]}) > 1


@pytest.mark.usefixtures("local_ray")
def test_work_is_done_on_every_part_once(parts: list[Part]) -> None:
    def count(part: Part) -> tuple[str, int]:
        return part.shard, decode_part(part, DECODER).num_rows

    done = list(work_through(parts, count, num_cpus=2))
    assert sorted(done) == [(part.shard, size) for part, size in zip(parts, SIZES, strict=True)]


@pytest.mark.usefixtures("local_ray")
def test_no_more_parts_are_at_work_than_is_said(parts: list[Part]) -> None:
    def work(_: Part) -> tuple[float, float]:
        began = time.monotonic()
        time.sleep(0.1)
        return began, time.monotonic()

    done = sorted(work_through(parts, work, num_cpus=2, at_once=1))
    assert len(done) == len(parts) > 1
    assert all(end <= began for (_, end), (began, _) in itertools.pairwise(done))


@pytest.mark.usefixtures("local_ray")
def test_an_error_of_the_work_is_the_callers(parts: list[Part]) -> None:
    def refuse(part: Part) -> None:
        raise SinkError("the disk is full", where=part.shard, fix="free some space")

    with pytest.raises(SinkError, match="the disk is full"), plain_errors("test"):
        list(work_through(parts, refuse, num_cpus=2))


@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize("ranks", [2, 3])
def test_uneven_shards_give_ranks_equal_shares(parts: list[Part], ranks: int) -> None:
    """As Ray Train splits a data set; a rank with fewer batches would leave the others waiting for it."""
    splits = read_parts(parts, DECODER, seed=1).streaming_split(ranks, equal=True)
    for _ in range(2):
        rows = _rows_of_ranks(splits)
        assert len({len(keys) for keys in rows}) == 1
        together = [key for keys in rows for key in keys]
        assert len(set(together)) == len(together) > sum(SIZES) - ranks


def _rows_of_ranks(splits: list[Any]) -> list[list[tuple[str, str]]]:
    """Reads all splits at once: each waits for the others to begin an epoch."""
    from concurrent.futures import ThreadPoolExecutor

    def read(split: Any) -> list[tuple[str, str]]:
        return [
            (row["shard"], row["key"])
            for table in tables(split)
            for row in cast(pa.Table, table).select(["shard", "key"]).to_pylist()
        ]

    with ThreadPoolExecutor(len(splits)) as pool:
        return list(pool.map(read, splits))
