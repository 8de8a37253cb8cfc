"""Every executor gives the same: rows to the bit, quarantine, counts, statistics, metrics; of good data and bad."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.evil import evil_decoder
from support.tones import make_samples, png, write_tar

from bench.soak.workload import MODALITIES, write_bundle
from jobs import _job, evaluate, infer, preprocess
from pipeline.config import ClusterConfig
from pipeline.engine.decoding.isolated import decode_here, decode_isolated
from pipeline.engine.executors import here
from pipeline.engine.executors import workplace as workplaces
from pipeline.engine.executors.base import Stage, handed_over
from pipeline.engine.executors.here import HereExecutor
from pipeline.engine.executors.workplace import PARTS_HERE, Workplace
from pipeline.engine.infer.predictors import PredictorPool, Resources
from pipeline.errors import SinkError
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.prediction.spec import ModelSpec
from pipeline.shards.planning.plan import Part, expand, plan

SIZES = (30, 1, 3, 17, 40)  # samples of each shard
COUNTED = ("read", "written", "quarantined", "filtered", "noted")


class OneByOne:
    """An executor as simple as can be: what the others are held against."""

    resources = Resources(cpus=2, memory_bytes=1 << 33)

    def run(self, parts, stage, on_loss=lambda: None):
        predict = stage.loader() if stage.loader else lambda table: table
        return (stage.write(predict(stage.decode(part))) for part in parts)

    def each(self, work, items, name):
        return map(work, items)

    def __enter__(self):
        return self

    def __exit__(self, *error: object) -> None:
        pass


@dataclass(frozen=True)
class Outcome:
    """What a job has left."""

    code: int
    rows: list[dict[str, Any]]
    quarantine: list[dict[str, Any]]
    counts: dict[str, Any]
    files: dict[str, str]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of uneven sizes, with bad samples of several kinds, one of which is cut in its middle."""
    folder = tmp_path_factory.mktemp("executors")
    write_bundle(folder / "run" / "model")
    for number, size in enumerate(SIZES):
        samples = make_samples(size, seed=number)
        if number == 0:
            samples["s0001"]["png"] = b"no picture"
            samples["s0002"]["png"] = png((10, 200, 30), size=40)
            samples["s0005"]["png"] = png((10, 200, 30), size=7500)
            samples["s0006"]["cls"] = b"\xff\xfe"
            samples["s0007"]["wav"] = b"no sound"
        write_tar(folder / "in" / f"x-{number}.tar", samples)
    cut = folder / "in" / "x-4.tar"
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    path = folder / "job.yaml"
    settings = {
        "run": str(folder / "run"),
        "input": {"test": f"{folder}/in/*.tar", "metadata": ["json"], "max_bad_fraction": 1},
        "modalities": MODALITIES,
        "objective": {
            "kind": "classify",
            "label": "cls",
            "width": 32,
            "fusion": {"kind": "concat"},
        },
        "preprocess": {"input": "test"},
        "evaluate": {"num_bootstrap": 10},
        "limits": {"decode_memory_bytes": 144 << 20},
        "cluster": {"num_cpus": 2},
    }
    path.write_text(json.dumps(settings))
    return path


@pytest.fixture(scope="module")
def jobs_by(config: Path) -> Callable[[str, str], list[Outcome]]:
    """Runs a job by an executor, each once; an inference is run again, with other settings for what it refused."""

    @cache
    def outcomes(job: str, executor: str) -> list[Outcome]:
        output = config.parent / f"{job}-by-{executor}"
        words = [str(config), f"cluster.executor={'here' if executor == 'plain' else executor}"]
        with pytest.MonkeyPatch.context() as patch:
            if executor == "plain":
                patch.setattr(workplaces, "HereExecutor", lambda *_: OneByOne())
            if job == "preprocess":
                words.append(f"preprocess.output={output}")
                return [read(output, _job.main(preprocess.JOB, words))]
            if job == "evaluate":
                run = output / "run"
                write_bundle(run / "model")
                return [read(run / "evaluation", _job.main(evaluate.JOB, [*words, f"run={run}"]))]
            words.append(f"infer.output={output}")
            settings = ("modalities.image.max_megapixels=0.001", "infer.retry_quarantined=true")
            return [read(output, _job.main(infer.JOB, [*words, each])) for each in settings]

    return outcomes


def read(output: Path, code: int) -> Outcome:
    def rows(pattern: str, *order: str) -> list[dict[str, Any]]:
        tables = [pq.read_table(file) for file in output.glob(pattern)]
        values = (row for table in tables for row in table.to_pylist())
        return sorted(values, key=lambda row: [str(row[name]) for name in order])

    summary = json.loads((output / "summary.json").read_text())
    counts = {name: summary[f"samples_{name}"] for name in COUNTED}
    counts |= {name: summary[name] for name in ("parts_done", "parts_skipped", "shards_damaged")}
    counts |= {"reasons": summary["reasons"], "metrics": summary["metrics"]}
    files = ("stats.json", "metrics.json")
    return Outcome(
        code,
        rows("*.parquet", "shard", "key"),
        rows("_quarantine/*.parquet", "shard", "ordinal", "field"),
        counts,
        {name: (output / name).read_text() for name in files if (output / name).exists()},
    )


@pytest.mark.parametrize("executor", ["here", "ray", "ray_data"])
@pytest.mark.parametrize("job", ["preprocess", "infer", "evaluate"])
def test_jobs_leave_the_same(
    jobs_by: Callable[[str, str], list[Outcome]],
    job: str,
    executor: str,
    request: pytest.FixtureRequest,
) -> None:
    expected = jobs_by(job, "plain")
    for outcome in expected:
        assert outcome.code == 0
        assert len(outcome.rows) > 0
        reasons = outcome.counts["reasons"]
        assert reasons.get("bad_image") == 1, reasons
    if job == "infer":
        assert len(expected[0].rows) < len(expected[1].rows), "what was too large is no more"
    else:
        assert reasons["too_large"] == 1, reasons
        assert expected[0].counts["shards_damaged"] == 1
    if executor != "here":
        request.getfixturevalue("local_ray")
    assert jobs_by(job, executor) == expected


def test_what_kills_its_decoder_costs_itself_alone_with_several_at_work(tmp_path: Path) -> None:
    words = ("segfault", "sleep", "eat", "abort")
    for number, word in enumerate(words):
        samples = {f"k{at}": {"img": b"%d" % at, "snd": b"1"} for at in range(12)}
        samples["k5"]["img"] = word.encode()
        write_tar(tmp_path / f"x-{number}.tar", samples)
    decoder = evil_decoder()
    parts = plan(expand(f"{tmp_path}/x-*.tar"))
    with HereExecutor(num_cpus=2) as executor:
        tables = list(executor.run(parts, Stage("evil", decoder, handed_over)))
    rows = sorted((row for table in tables for row in table.to_pylist()), key=row_name)
    assert len(rows) == 12 * len(words)
    bad = {row["shard"]: row["error"]["reason"] for row in rows if row["error"]}
    reasons = ("decoder_crashed", "decoder_timeout", "decoder_memory", "decoder_crashed")
    assert bad == {f"x-{number}.tar": reason for number, reason in enumerate(reasons)}
    assert all((row["error"] is not None) == (row["key"] == "k5") for row in rows)
    assert all(row["image"] == [float(row["key"][1:])] * 4 for row in rows if not row["error"])


def row_name(row: dict[str, Any]) -> tuple[str, int]:
    return row["shard"], row["ordinal"]


@pytest.fixture
def parts(tmp_path: Path) -> list[Part]:
    """40 parts of three good samples each."""
    for number in range(40):
        samples = {f"k{at}": {"img": b"%d" % at, "snd": b"1"} for at in range(3)}
        write_tar(tmp_path / f"x-{number:02d}.tar", samples)
    return plan(expand(f"{tmp_path}/x-*.tar"))


def test_no_more_parts_are_in_flight_than_threads_and_results_that_wait(parts: list[Part]) -> None:
    """A consumer that is slow is waited for."""
    begun: list[int] = []

    def write(table: pa.Table) -> int:
        begun.append(1)
        return table.num_rows

    with HereExecutor(num_cpus=2) as executor:
        results = executor.run(parts, Stage("slow", evil_decoder(), write))
        next(results)
        time.sleep(2)
        assert len(begun) <= 2 * 2, "one that was handed over, and three more"
        assert sum(results) == 3 * (len(parts) - 1)


def test_what_a_consumer_gives_up_is_ended_and_the_next_work_is_done(parts: list[Part]) -> None:
    stage = Stage("given up", evil_decoder(), handed_over)
    with HereExecutor(num_cpus=2) as executor:
        results = executor.run(parts, stage)
        next(results)
        results.close()
        assert sum(table.num_rows for table in executor.run(parts, stage)) == 3 * len(parts)
    names = [thread.name for thread in threading.enumerate()]
    assert not any(name.startswith("part-") for name in names), names


def test_what_hangs_is_given_up_too(tmp_path: Path) -> None:
    """Its decoding process is ended, and no thread waits for it any more."""
    samples = {"k0": {"img": b"1", "snd": b"1"}}
    write_tar(tmp_path / "x-0.tar", samples)
    write_tar(tmp_path / "x-1.tar", {"k0": {"img": b"sleep", "snd": b"1"}})
    parts = plan(expand(f"{tmp_path}/x-*.tar"))
    stage = Stage("hangs", evil_decoder(seconds=600), handed_over)
    with HereExecutor(num_cpus=2) as executor:
        results = executor.run(parts, stage)
        assert next(results)["shard"].to_pylist() == ["x-0.tar"]
        results.close()
    names = [thread.name for thread in threading.enumerate()]
    assert not any(name.startswith("part-") for name in names), names


def test_an_error_of_the_work_is_the_callers(parts: list[Part]) -> None:
    def refuse(table: pa.Table) -> None:
        raise SinkError("the disk is full", where="x", fix="free some space")

    with HereExecutor(num_cpus=2) as executor, pytest.raises(SinkError, match="the disk is full"):
        list(executor.run(parts, Stage("full", evil_decoder(), refuse)))


def test_an_error_of_the_model_is_the_callers(parts: list[Part]) -> None:
    def fail() -> Any:
        raise SinkError("no such model", where="x", fix="train one")

    pool = PredictorPool(ModelSpec("x", modalities=None), 1, 0)  # type: ignore[arg-type]
    stage = Stage("no model", evil_decoder(), handed_over, pool, fail)
    with HereExecutor(num_cpus=2) as executor, pytest.raises(SinkError, match="no such model"):
        list(executor.run(parts, stage))


def test_parts_come_in_order_and_no_more_are_decoded_than_is_said(
    parts: list[Part], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder, begun = evil_decoder(), list[Part]()

    def decode_part(part: Part, decoder: Decoder) -> pa.Table:
        begun.append(part)
        time.sleep(0.05 * (len(begun) % 3))  # some are overtaken
        return decode_isolated(part, decoder)

    monkeypatch.setattr(here, "decode_part", decode_part)
    with HereExecutor(num_cpus=2) as executor:
        tables = executor.in_order(parts, decoder, ahead=3)
        seen = [next(tables)]
        time.sleep(2)
        assert len(begun) == len(seen) + 3
        seen += tables
    assert [table["shard"][0].as_py() for table in seen] == [part.shard for part in parts]
    assert [table.to_pylist() for table in seen] == [
        decode_here(part, decoder).to_pylist() for part in parts
    ]


def test_arrays_cross_in_shared_memory(parts: list[Part]) -> None:
    """What a thread is handed lies where the decoding process has put it: in a file of both, not in a copy."""
    with HereExecutor(num_cpus=1) as executor:
        [table] = executor.run(parts[:1], Stage("shared", evil_decoder(), handed_over))
        address = table["image"].chunk(0).values.buffers()[1].address
        assert "memfd:pipeline" in mapping_of(address)
    assert table["image"].to_pylist()[2] == [2.0] * 4, "and outlives it"


def mapping_of(address: int) -> str:
    for line in Path("/proc/self/maps").read_text().splitlines():
        first, last = (int(word, 16) for word in line.split()[0].split("-"))
        if first <= address < last:
            return line
    return ""


def test_the_executor_is_chosen_by_what_is_left_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    monkeypatch.setattr(Workplace, "_start_ray", lambda self: started.append("ray"))

    def choose(number: int, **settings: Any) -> str:
        started.clear()
        with Workplace(ClusterConfig(**settings)) as workplace:
            executor = workplace.executor(number)
        return "here" if isinstance(executor, HereExecutor) else "".join(started)

    assert choose(PARTS_HERE) == "here"
    assert choose(PARTS_HERE + 1) == "ray"
    assert choose(1, executor="ray") == choose(1, gpus_per_worker=1) == "ray"
    assert choose(1, address="auto") == choose(1, address="10.0.0.1:6379") == "ray"
    assert choose(PARTS_HERE + 1, executor="here") == "here"
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    assert choose(1) == "ray", "in a submitted job, local is that cluster"


def test_a_job_with_nothing_left_to_do_starts_no_executor(
    config: Path, monkeypatch: pytest.MonkeyPatch, jobs_by: Callable[[str, str], list[Outcome]]
) -> None:
    jobs_by("preprocess", "here")

    def refuse(*_: object) -> None:
        raise AssertionError("it is started")

    for name in ("_start_ray", "_in_this_process"):
        monkeypatch.setattr(Workplace, name, refuse)
    output = config.parent / "preprocess-by-here"
    for executor in ("here", "ray", "auto"):
        words = [str(config), f"cluster.executor={executor}", f"preprocess.output={output}"]
        assert _job.main(preprocess.JOB, words) == 0
