"""kill -9 of each process that batch inference has, also while it makes up for the last kill: no row is touched."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import torchvision
from support.encoders import in_this_process
from support.tones import make_samples, write_tar

from bench.soak.kills import DECODING, SURVIVED, InferenceJob, Point
from bench.soak.readers import Poller, read_output
from bench.soak.workload import make_workload
from pipeline.config import load

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")

# What is killed in each run of the same job, ten in all; the last one is left alone.
RUNS = [
    ["decode worker", "model actor", "driver"],
    ["model actor", "decode worker", "raylet"],
    ["raylet", "driver"],
    ["model actor", "whole tree"],
]
COMMITS = 4  # at most, from one kill to the next: some are to be left for the last run


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_job_is_killed_ten_times_and_its_rows_are_those_of_one_that_was_not(
    tmp_path: Path,
) -> None:
    workload = make_workload(tmp_path, 32, 6)
    output = tmp_path / "out"
    shutil.copytree(workload.before, output)
    random = np.random.default_rng(20261121)
    plan, jobs = [list(kinds) for kinds in RUNS], list[InferenceJob]()
    with Poller(output, frozenset({workload.old.digest(), workload.new.digest()})) as poller:
        try:
            while plan:
                assert len(jobs) < 2 * len(RUNS), f"there is no {plan[0]} to kill"
                jobs.append(InferenceJob(workload.config, output, tmp_path / f"{len(jobs)}.log"))
                wanted = plan.pop(0)
                struck = strike(jobs[-1], wanted, random)
                code = jobs[-1].wait()
                assert (code == 0) == (struck <= set(SURVIVED)), jobs[-1].said()
                if missed := [kind for kind in wanted if kind not in struck]:
                    plan.append(missed)  # it had ended, or had no such process any more
            jobs.append(InferenceJob(workload.config, output, tmp_path / "last.log"))
            assert jobs[-1].wait() == 0, jobs[-1].said()
            assert [job.wait_gone(30) for job in jobs] == [[]] * len(jobs), "nothing is left behind"
        finally:
            for job in jobs:
                job.end()
    assert poller.problems == []
    assert poller.read == [workload.old.digest(), workload.new.digest()], "nothing in between"
    assert poller.looks > 100
    assert set(workload.new.difference(read_output(output)).values()) == {0}
    named = {file["name"] for file in json.loads((output / "_manifest.json").read_text())["files"]}
    visible = {file.name for file in output.glob("part-*.parquet")}
    assert visible == named, "who globs sees what the manifest lists, now that no job works"
    assert not list(output.rglob("_parts/*.parquet"))


@pytest.mark.timeout(600)
def test_without_ray_a_job_is_killed_and_its_rows_are_those_of_one_that_was_not(
    tmp_path: Path,
) -> None:
    """A killed decoding process costs nothing; a killed driver takes its decoding processes with it."""
    workload, output = make_workload(tmp_path, 24, 6, executor="here"), tmp_path / "out"
    random, jobs = np.random.default_rng(20261129), list[InferenceJob]()
    try:
        for kinds in ([DECODING, "driver"], [DECODING, DECODING, "whole tree"], [DECODING]):
            log = tmp_path / f"{len(jobs)}.log"
            jobs.append(InferenceJob(workload.config, output, log))
            killed = [
                jobs[-1].strike(kind, Point(at, 0.05), random) for at, kind in enumerate(kinds)
            ]
            assert all(killed), jobs[-1].said()
            code = jobs[-1].wait()
            assert code == (0 if kinds[-1] == DECODING else -9), jobs[-1].said()
            assert jobs[-1].wait_gone(10) == [], "nothing is left behind"
    finally:
        for job in jobs:
            job.end()
    assert set(workload.new.difference(read_output(output)).values()) == {0}


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_a_process_that_decodes_embeds_and_writes_is_killed_twice(tmp_path: Path) -> None:
    """The job goes on with another, and embeds what that one had not committed."""
    network = torchvision.models.shufflenet_v2_x0_5(weights=None)
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    for number in range(12):
        write_tar(tmp_path / "in" / f"s-{number:02d}.tar", make_samples(24, number))
    model, weights = "torchvision:shufflenet_v2_x0_5", str(tmp_path / "weights.pth")
    settings = {
        "run": str(tmp_path / "run"),
        "modalities": {"image": {"fields": ["png"]}},
        "infer": {"input": f"{tmp_path}/in/*.tar", "model": model, "weights": weights},
        "cluster": {"num_cpus": 2, "executor": "ray"},
    }
    config, output = tmp_path / "job.yaml", tmp_path / "out"
    config.write_text(json.dumps(settings))
    job = InferenceJob(config, output, tmp_path / "killed.log")
    try:
        random = np.random.default_rng(1)
        victims = [job.strike("decode worker", Point(2, 0.05), random) for _ in range(2)]
        assert victims == ["ray::_work_on"] * 2
        assert job.wait() == 0, job.said()
    finally:
        job.end()
    expected = in_this_process(load(config), f"{tmp_path}/in/*.tar")
    found = [
        row for file in output.glob("part-*.parquet") for row in pq.read_table(file).to_pylist()
    ]
    assert sorted((row["shard"], row["key"]) for row in found) == sorted(expected)
    for row in found:
        assert row["embedding"] == expected[row["shard"], row["key"]]["embedding"]


def strike(job: InferenceJob, kinds: list[str], random: np.random.Generator) -> set[str]:
    """Kills what is wanted, one after the other; returns what there was to kill."""
    struck = set[str]()
    for kind in kinds:
        point = Point.draw(kind, random, COMMITS)
        # Nothing is committed without a raylet; and what survives is to be there for certain.
        if "raylet" in struck or kind in SURVIVED:
            point = replace(point, commits=0)
        if job.strike(kind, point, random):
            struck.add(kind)
    return struck
