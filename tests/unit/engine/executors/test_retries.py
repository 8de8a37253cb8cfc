"""Bad samples that are tried again: what the output has beside them stays, whatever became of its input."""

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.tones import make_samples, write_tar

from pipeline.config import ClusterConfig
from pipeline.engine.decoding.part import decode_part
from pipeline.engine.executors.batch import BatchJob
from pipeline.engine.executors.workplace import Workplace
from pipeline.errors import SinkError
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.runs import Summary
from pipeline.shards.planning.plan import Part, expand, limit, plan
from pipeline.sinks import ParquetConfig
from pipeline.sinks.parquet import ParquetSink

DECODER = Decoder.build(
    ModalitiesConfig.model_validate({"image": {"fields": ["png"], "size": 8}}), None
)


def output(folder: Path) -> ParquetSink:
    return ParquetSink(str(folder / "out"), {"model": "m"}, {}, ("image",), config=ParquetConfig())


def parts(folder: Path) -> list[Part]:
    return plan(expand(str(folder / "x-*.tar")))


def run(folder: Path, planned: list[Part], *, retry: bool = False) -> list[tuple[str, str]]:
    """A job from its begin to its publication; the rows that are seen then."""
    with Workplace(ClusterConfig(executor="here", num_cpus=2)) as workplace:
        job = BatchJob("infer", planned, DECODER, output(folder), workplace, retry=retry)
        job.begin()
        job.run(Summary("infer"))
    tables = [pq.read_table(file) for file in (folder / "out").glob("part-*.parquet")]
    return sorted((row["shard"], row["key"]) for table in tables for row in table.to_pylist())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for index in range(3):
        samples = make_samples(5, seed=index)
        if index == 0:
            samples["s0001"]["png"] = b"broken"
        write_tar(tmp_path / f"x-{index}.tar", samples)
    return tmp_path


@pytest.mark.parametrize("change", ["nothing", "changed", "gone", "grown"])
def test_a_retry_takes_nothing_away(folder: Path, change: str) -> None:
    before = run(folder, parts(folder))
    if change == "changed":
        write_tar(folder / "x-1.tar", make_samples(2, seed=9))
    elif change == "gone":
        (folder / "x-1.tar").unlink()
    elif change == "grown":
        write_tar(folder / "x-9.tar", make_samples(2, seed=9))
    assert run(folder, parts(folder), retry=True) == before


def test_a_retry_over_all_keeps_what_a_first_try_did(folder: Path) -> None:
    before = run(folder, limit(parts(folder), 7))
    assert run(folder, parts(folder), retry=True) == before


def test_a_retry_of_other_samples_than_those_in_the_quarantine_is_refused(folder: Path) -> None:
    """An earlier version may have counted the samples of a shard otherwise; their rows would be there twice."""
    before = run(folder, parts(folder))
    sink = output(folder)
    part = sink.retries(parts(folder))[0]
    good = next(ordinal for ordinal in range(5) if ordinal not in part.only)
    with pytest.raises(SinkError, match="not those in the quarantine"):
        sink.write(decode_part(replace(part, only=(good,)), DECODER))
    assert run(folder, parts(folder), retry=True) == before
