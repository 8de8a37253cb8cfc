"""Parts on Ray: every part once, by tasks and by Ray Data, whose blocks are the parts, uncut."""

from __future__ import annotations

import itertools
import os
import signal
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.experimental import internal_kv
from support.tones import make_samples, write_tar

from pipeline.engine.cluster.failures import plain_errors
from pipeline.engine.decoding.part import decode_part
from pipeline.engine.executors import dataset
from pipeline.engine.executors.base import Executor, Stage, handed_over
from pipeline.engine.executors.dataset import DatasetExecutor, read_parts
from pipeline.engine.executors.on_ray import RayExecutor
from pipeline.engine.executors.tasks import TASKS_AHEAD, group_parts, work_through
from pipeline.engine.infer.predictors import PredictorPool
from pipeline.engine.observe.begun import MARKS, Marks
from pipeline.errors import SinkError
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.objectives.classify.labels import ClassTarget
from pipeline.prediction.spec import ModelSpec
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
@pytest.mark.parametrize("num_actors", [0, 1], ids=["tasks", "actors"])
def test_every_part_comes_back_from_ray_data_even_one_without_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_actors: int
) -> None:
    if num_actors:  # as with many parts a core
        monkeypatch.setattr(dataset, "PARTS_A_CPU", 1)
    write_tar(tmp_path / "x-0.tar", make_samples(3, seed=0))
    for number in (1, 2):
        write_tar(tmp_path / f"x-{number}.tar", {})
    parts = plan(expand(str(tmp_path / "x-*.tar")))
    expected = [decode_part(part, DECODER) for part in parts]
    with plain_errors("test"):
        tables = DatasetExecutor().run(parts, Stage("test", DECODER, handed_over))
        by_shard = {table["shard"][0].as_py(): table for table in tables}
    assert by_shard == {table["shard"][0].as_py(): table for table in expected}


@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize(
    ("executor", "kills"),
    [
        (RayExecutor(), "decode"),
        pytest.param(DatasetExecutor(), "decode", marks=pytest.mark.slow),
        (DatasetExecutor(), "predict"),
    ],
    ids=["tasks", "Ray Data's tasks", "Ray Data's actors"],
)
def test_parts_that_are_done_again_are_counted(
    parts: list[Part],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    executor: Executor,
    kills: str,
) -> None:
    """A worker that dies in the middle of a part, in a task that decodes or in an actor that predicts, once."""
    flag = tmp_path / "killed"

    def die_once(table: pa.Table) -> pa.Table:
        if table["shard"][0].as_py() == "x-3.tar" and not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return table

    def shard_of(table: pa.Table) -> str:
        return str(table["shard"][0].as_py())

    if kills == "decode":
        stage = Stage("test", DECODER, lambda table: shard_of(die_once(table)))
    else:
        spec = ModelSpec("none", ModalitiesConfig.model_validate({"image": {}}))
        pool = PredictorPool(spec, num_actors=1, num_gpus=0)
        stage = Stage("test", DECODER, shard_of, pool, lambda: die_once)
    losses: list[int] = []
    with caplog.at_level("INFO"), plain_errors("test"):
        shards = list(executor.run(parts, stage, lambda: losses.append(1)))
    assert sorted(shards) == [part.shard for part in parts]
    assert len(losses) == 1
    [said] = [line for line in caplog.messages if line.startswith("part_lost")]
    assert "shard=x-3.tar" in said
    assert "again=1" in said
    assert internal_kv._internal_kv_list(MARKS) == [], "marks are removed"


@pytest.mark.usefixtures("local_ray")
def test_a_job_that_fails_leaves_no_marks_though_work_goes_on_behind_it(
    parts: list[Part], tmp_path: Path
) -> None:
    """Its tasks that wait in a queue begin their parts when the job is over."""
    (tmp_path / "begun").mkdir()

    def fail_first(table: pa.Table) -> None:
        shard = table["shard"][0].as_py()
        (tmp_path / "begun" / shard).touch()
        if shard == "x-0.tar":
            raise SinkError("the disk is full", where=shard, fix="free some space")
        while not (tmp_path / "failed").exists():
            time.sleep(0.01)
        (tmp_path / f"{shard}.ended").touch()

    with pytest.raises(SinkError), plain_errors("test"):
        list(RayExecutor().run(parts, Stage("test", DECODER, fail_first)))
    (tmp_path / "failed").touch()
    ahead = TASKS_AHEAD * 2 - 1  # that were handed out beside the first
    while len(list(tmp_path.glob("*.ended"))) < ahead:
        time.sleep(0.01)
    assert internal_kv._internal_kv_list(MARKS) == []


@pytest.mark.usefixtures("local_ray")
def test_a_run_sweeps_the_marks_of_jobs_that_are_no_longer_alive() -> None:
    internal_kv._internal_kv_put(f"{MARKS}ffffffff/0/part/decode/0", b"")
    alive = Marks.opened()
    other = Marks.opened()
    assert len(internal_kv._internal_kv_list(MARKS)) == 2
    assert alive.begin(Part("x", "", ""), "decode") == 0
    other.forget()
    assert alive.begin(Part("x", "", ""), "decode") == 1, "of another run of the same job"
    alive.forget()
    assert internal_kv._internal_kv_list(MARKS) == []
