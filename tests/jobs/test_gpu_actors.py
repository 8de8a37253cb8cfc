"""How many actors there are on how many GPUs, on a Ray that counts two: it hands them out whether or not they exist."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.ray_cluster import PROJECT, Family
from support.tones import make_samples, write_tar

from bench.soak.workload import MODALITIES, write_bundle

PROGRAM = """
import json, sys
import ray
from jobs import _job, infer
from pipeline.config import load
from pipeline.engine.executors.on_ray import RayExecutor
from pipeline.engine.infer.predictors import predictor_pool

ray.init(num_cpus=2, num_gpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
found = {}
for gpus in ("0.25", "0.5", "1", "2"):
    config = load(sys.argv[1], [f"cluster.gpus_per_worker={gpus}"])
    pool = predictor_pool(config, RayExecutor().resources)
    assert (pool.num_gpus, pool.spec.device, pool.whole_parts) == (float(gpus), "cuda", False)
    found[gpus] = pool.num_actors
print(json.dumps(found), flush=True)
sys.exit(_job.main(infer.JOB, [sys.argv[1], "cluster.gpus_per_worker=0.5", "infer.actors=3"]))
"""


@pytest.mark.ray
def test_as_many_actors_as_fit_on_the_gpus(tmp_path: Path, family: Family) -> None:
    write_bundle(tmp_path / "model")
    write_tar(tmp_path / "in" / "a.tar", make_samples(8, seed=1))
    settings = {
        "run": str(tmp_path / "run"),
        "modalities": MODALITIES,
        "infer": {"input": f"{tmp_path}/in/*.tar", "model": str(tmp_path / "model")},
    }
    config = tmp_path / "job.yaml"
    config.write_text(json.dumps(settings))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(config)],
        env=family.environment(),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert json.loads(done.stdout.splitlines()[0]) == {"0.25": 8, "0.5": 4, "1": 2, "2": 1}
    if torch.cuda.is_available():
        assert done.returncode == 0, done.stderr
    else:  # the actors were placed, and their process says what it is missing
        assert done.returncode == 1, done.stderr
        last = done.stderr.splitlines()[-1]
        assert "torch sees no GPU" in last
        assert "set cluster.gpus_per_worker=0" in last
