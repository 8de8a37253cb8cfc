"""Small jobs run where Ray cannot even be imported, and no torch is imported by those that need no network."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.ray_cluster import PROJECT
from support.tones import make_samples, write_tar

from bench.soak.workload import MODALITIES, write_bundle
from pipeline.config import load
from pipeline.engine.train.fit import train
from pipeline.errors import ConfigError
from pipeline.runs import Summary

# Each job ends with the modules that it has imported of those that cost seconds.
PROGRAM = """
import json, sys

class NoRay:
    def find_spec(self, name, *_):
        if name.partition(".")[0] == "ray":
            raise ImportError(f"{name} is imported by a job that runs without Ray")

sys.meta_path.insert(0, NoRay())
from jobs import _job, evaluate, infer, nightly, preprocess, train

config, run, seen = sys.argv[1], sys.argv[2], []
heavy = ("torch", "sklearn", "matplotlib")
for name, job in (
    ("preprocess", lambda words: _job.main(preprocess.JOB, words)),
    ("infer", lambda words: _job.main(infer.JOB, [*words, "--dry-run"])),
    ("night", lambda words: nightly.main([*words, "--date", "2026-11-01"])),
    ("idle night", lambda words: nightly.main([*words, "--date", "2026-11-02"])),
    ("infer again", lambda words: _job.main(infer.JOB, words)),
    ("evaluate", lambda words: _job.main(evaluate.JOB, words)),
    ("train", lambda words: _job.main(train.JOB, [*words, f"run={run}-trained"])),
):
    code = job([config])
    seen.append([name, code, [module for module in heavy if module in sys.modules]])
print(json.dumps(seen))
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "run" / "model")
    for index in range(3):
        samples = make_samples(8, seed=index)
        samples["s0001"]["png"] = b"broken"
        write_tar(tmp_path / "in" / f"x-{index}.tar", samples)
    path = tmp_path / "job.yaml"
    settings = {
        "run": str(tmp_path / "run"),
        "input": {
            "train": f"{tmp_path}/in/*.tar",
            "test": f"{tmp_path}/in/*.tar",
            "max_bad_fraction": 0.5,
        },
        "objective": {
            "kind": "classify",
            "label": "cls",
            "width": 32,
            "fusion": {"kind": "concat"},
        },
        "train": {"epochs": 1},
        "modalities": MODALITIES,
        "preprocess": {"input": "test"},
        "evaluate": {"num_bootstrap": 10},
        "cluster": {"num_cpus": 1, "executor": "here"},
    }
    path.write_text(json.dumps(settings))
    return path


def test_jobs_import_no_ray(config: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(config), str(config.parent / "run")],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    assert [(name, code) for name, code, _ in seen] == [
        (name, 0)
        for name in (
            "preprocess",
            "infer",
            "night",
            "idle night",
            "infer again",
            "evaluate",
            "train",
        )
    ], done.stderr
    assert seen[0][2] == seen[1][2] == [], (
        "what decodes and writes, or only looks, needs no network"
    )
    folder = config.parent / "run" / "embeddings"
    assert json.loads((folder / "summary.json").read_text())["parts_skipped"] == 3


def test_several_workers_are_no_work_for_one_process(tone_config: Path) -> None:
    config = load(tone_config, ["cluster.executor=here", "cluster.workers=2"])
    with pytest.raises(ConfigError, match="without Ray there is one worker"):
        train(config, Summary("train"))


def test_here_is_no_word_for_a_cluster(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for address in ("auto", "10.0.0.1:6379"):
        with pytest.raises(ConfigError, match=r"cluster\.executor: here works in one process"):
            load(config, [f"cluster.address={address}"])
        assert load(config, [f"cluster.address={address}", "cluster.executor=auto"])
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    with pytest.raises(ConfigError, match="a submitted job"):
        load(config)
