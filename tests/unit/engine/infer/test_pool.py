"""Parts through actors: the same rows with any number of them, what is lost is done again, and bugs are not."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ray import cloudpickle
from ray.exceptions import RayError
from support.tones import make_samples, write_tar

from bench.soak.workload import MODALITIES, write_bundle
from jobs import _job, infer
from pipeline.engine.cluster.nodes import NodeWatch
from pipeline.engine.executors.tasks import RETRIES
from pipeline.engine.infer.pool import Share, Stages, through_stages
from pipeline.shards.planning.plan import Part

pytestmark = pytest.mark.usefixtures("local_ray")
cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers do not find the tests
PARTS = [Part(f"{index}.tar", f"{index}.tar", "") for index in range(6)]
TWO_ACTORS = Share(num_actors=2, actor_cpus=0.25, actor_gpus=0, cpus=2)


def rows_of(part: Part) -> pa.Table:
    return pa.table({"shard": [part.shard], "process": [0]})


def with_process(table: pa.Table) -> pa.Table:
    return table.set_column(1, "process", pa.array([os.getpid()]))


def predictor() -> Callable[[pa.Table], pa.Table]:
    return with_process


def shard_of(table: pa.Table) -> str:
    return str(table["shard"][0].as_py())


def trouble(folder: Path, times: int, kind: str) -> None:
    """Ends this process, or raises, as often as said; notes each time."""
    done = len(list(folder.iterdir()))
    if done < times:
        (folder / str(done)).touch()
        if kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise ValueError("a bug")


def troubled_decode(part: Part, folder: Path, times: int, kind: str) -> pa.Table:
    if part == PARTS[2]:
        trouble(folder, times, kind)
    return rows_of(part)


def troubled_predictor(folder: Path, times: int, kind: str) -> Callable[[pa.Table], pa.Table]:
    return partial(troubled_predict, folder=folder, times=times, kind=kind)


def troubled_predict(table: pa.Table, folder: Path, times: int, kind: str) -> pa.Table:
    if shard_of(table) == PARTS[2].shard:
        trouble(folder, times, kind)
    return table


def troubled_load(folder: Path, times: int, kind: str) -> Callable[[pa.Table], pa.Table]:
    trouble(folder, times, kind)
    return with_process


def troubled_write(table: pa.Table, folder: Path, times: int, kind: str) -> str:
    if shard_of(table) == PARTS[2].shard:
        trouble(folder, times, kind)
    return shard_of(table)


def stages(where: str, folder: Path, times: int, kind: str) -> Stages[str]:
    given = {"folder": folder, "times": times, "kind": kind}
    return Stages(
        decode=partial(troubled_decode, **given) if where == "decode" else rows_of,
        load={
            "predict": partial(troubled_predictor, **given),
            "load": partial(troubled_load, **given),
        }.get(where, predictor),
        write=partial(troubled_write, **given) if where == "write" else shard_of,
    )


@pytest.mark.parametrize("where", ["decode", "load", "predict", "write"])
def test_what_is_lost_is_done_again_and_comes_out_once(where: str, tmp_path: Path) -> None:
    again: list[int] = []
    work = stages(where, tmp_path, times=2, kind="kill")
    found = list(through_stages(PARTS, work, TWO_ACTORS, lambda: again.append(1)))
    assert sorted(found) == [part.shard for part in PARTS]
    assert len(list(tmp_path.iterdir())) == 2, "it was lost as often as that"
    assert bool(again) == (where != "load"), "an actor that has no part yet loses none"


@pytest.mark.parametrize(
    ("where", "most"),
    [("decode", RETRIES + 1), ("predict", RETRIES + 1), ("load", RETRIES + 1 + 2)],
)
def test_what_is_always_lost_ends_the_job(where: str, most: int, tmp_path: Path) -> None:
    work = stages(where, tmp_path, times=1000, kind="kill")
    with pytest.raises(RayError):
        list(through_stages(PARTS, work, TWO_ACTORS))
    assert RETRIES < len(list(tmp_path.iterdir())) <= most


@pytest.mark.parametrize("where", ["decode", "load", "predict", "write"])
def test_a_bug_is_not_tried_again(where: str, tmp_path: Path) -> None:
    again: list[int] = []
    with pytest.raises(ValueError, match="a bug"):
        list(
            through_stages(
                PARTS, stages(where, tmp_path, 1000, "raise"), TWO_ACTORS, lambda: again.append(1)
            )
        )
    assert again == []
    # Two actors load at the same time.
    assert len(list(tmp_path.iterdir())) <= (2 if where == "load" else 1)


def stuck_decode(part: Part, folder: Path) -> pa.Table:
    if part == PARTS[2] and not (folder / "begun").exists():
        (folder / "begun").touch()
        time.sleep(600)
    return rows_of(part)


class NodeLostOnce:
    """A watch that sees a node gone as soon as nothing gets done, and no other after it."""

    lost = 0.0

    def progress(self) -> None:
        pass

    def stalled_since(self) -> float:
        self.lost = self.lost or time.monotonic()
        return self.lost


def test_what_a_lost_node_keeps_is_done_again(tmp_path: Path) -> None:
    again: list[int] = []
    work = Stages(partial(stuck_decode, folder=tmp_path), predictor, shard_of)
    watch = cast(NodeWatch, NodeLostOnce())
    found = list(through_stages(PARTS, work, TWO_ACTORS, lambda: again.append(1), watch))
    assert sorted(found) == [part.shard for part in PARTS]
    assert again


def test_tables_of_the_driver_come_out_once_whatever_is_lost(tmp_path: Path) -> None:
    again: list[int] = []
    lossy = partial(troubled_predictor, folder=tmp_path, times=1, kind="kill")
    work: Stages[str] = Stages(rows_of, lossy)
    tables = list(through_stages(PARTS, work, TWO_ACTORS, lambda: again.append(1)))
    assert sorted(map(shard_of, tables)) == [part.shard for part in PARTS]
    assert again


def test_without_a_writer_the_driver_is_handed_tables_of_several_actors() -> None:
    work: Stages[str] = Stages(rows_of, predictor)
    tables = list(through_stages(PARTS, work, TWO_ACTORS))
    assert sorted(map(shard_of, tables)) == [part.shard for part in PARTS]
    assert 1 <= len({table["process"][0].as_py() for table in tables}) <= 2
    assert list(through_stages([], work, TWO_ACTORS)) == []


def test_rows_of_two_actors_are_those_of_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bundle(tmp_path / "model")
    for index in range(8):
        write_tar(tmp_path / "in" / f"s-{index}.tar", make_samples(9, index))
    config = tmp_path / "job.yaml"
    settings = {
        "run": str(tmp_path / "run"),
        "modalities": MODALITIES,
        "infer": {"input": f"{tmp_path}/in/*.tar", "model": str(tmp_path / "model")},
        "input": {"metadata": ["json"]},
        "cluster": {"executor": "ray"},
    }
    config.write_text(json.dumps(settings))
    outputs = []
    for actors in (1, 2):
        output = tmp_path / f"by-{actors}"
        words = [str(config), f"infer.actors={actors}", f"infer.output={output}"]
        assert _job.main(infer.JOB, [*words, "--dry-run"]) == 0
        assert f"predicted by one of {actors} actors" in capsys.readouterr().out
        assert _job.main(infer.JOB, words) == 0
        rows = [row for file in output.glob("part-*") for row in pq.read_table(file).to_pylist()]
        outputs.append(sorted(rows, key=lambda row: (row["shard"], row["key"])))
    assert len(outputs[0]) == 8 * 9
    assert outputs[0] == outputs[1]
