"""A person's own classes on the workers of Ray: they lie beside the configuration, where no worker looks by itself."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.own_configuration import write_configuration
from support.ray_cluster import PROJECT, RAY, Family, Head
from support.tones import make_samples, write_tar
from test_own_predictors import SOURCES

from jobs import _job, pack

pytestmark = pytest.mark.ray
PYTHON = [sys.executable, "-m"]


def run(words: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(
        words,
        env=environment,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


@pytest.fixture(scope="module")
def trained(ray_head: Head, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration of own classes, with a model that a driver has trained on the cluster that it joined."""
    folder = tmp_path_factory.mktemp("own")
    config = write_configuration(folder)
    assert _job.main(pack.JOB, [str(config)]) == 0
    options = ["cluster.executor=ray", f"cluster.address={ray_head.address}", "train.epochs=1"]
    run([*PYTHON, "jobs.train", str(config), *options], ray_head.client())
    assert (folder / "run" / "model" / "bundle.json").is_file()
    return config


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "way",
    [
        "handed over",
        "a Ray of its own",
        pytest.param("joined", marks=pytest.mark.slow),  # as the model that they share was trained
        pytest.param("submitted by Ray", marks=pytest.mark.slow),
    ],
)
def test_workers_import_them(
    ray_head: Head, family: Family, trained: Path, tmp_path: Path, way: str
) -> None:
    job = [*PYTHON, "jobs.infer", str(trained)]
    options = ["cluster.executor=ray", f"infer.output={tmp_path}/rows"]
    if way == "joined":
        run([*job, *options, f"cluster.address={ray_head.address}"], ray_head.client())
    elif way == "handed over":
        words = [*PYTHON, "jobs.submit", "infer", str(trained), "--address", ray_head.url]
        run([*words, *options], ray_head.client())
    elif way == "submitted by Ray":
        submit = [RAY, "job", "submit", "--working-dir", ".", "--address", ray_head.url, "--"]
        words = ["python", "-m", "jobs.infer", str(trained), *options, "cluster.address=auto"]
        run([*submit, *words], ray_head.client())
    else:
        run([*job, *options], family.environment())
    summary = json.loads((tmp_path / "rows" / "summary.json").read_text())
    assert summary["samples_written"] > 0
    assert summary["samples_read"] == 24


@pytest.mark.timeout(300)
def test_a_predictor_is_handed_over(ray_head: Head, tmp_path: Path) -> None:
    """Its module lies beside the configuration, and what it raises there comes back with its line."""
    import torch
    from torch import nn

    write_tar(tmp_path / "shards" / "test-0.tar", make_samples(12, seed=2))
    source = SOURCES["Shades"].replace("/ 255", "/ (255 if self.width > 4 else self.nothing)")
    (tmp_path / "shades_afar.py").write_text(source)
    torch.save(nn.Sequential(nn.Conv2d(3, 8, 3, stride=2)).state_dict(), tmp_path / "shades.pt")
    (tmp_path / "mine.yaml").write_text(
        f"""
run: {tmp_path}/run
input: {{test: {tmp_path}/shards/*.tar, max_bad_fraction: 1}}
modalities: {{image: {{size: 32}}}}
infer: {{model: "python:shades_afar:Shades", weights: {tmp_path}/shades.pt, settings: {{width: 8}}}}
""",
        encoding="utf-8",
    )
    words = [*PYTHON, "jobs.submit", "infer", str(tmp_path / "mine.yaml"), "--address"]
    run([*words, ray_head.url], ray_head.client())
    summary = json.loads((tmp_path / "run" / "embeddings" / "summary.json").read_text())
    assert summary["samples_written"] > 0

    torch.save(nn.Sequential(nn.Conv2d(3, 4, 3, stride=2)).state_dict(), tmp_path / "shades.pt")
    options = ["infer.settings.width=4", f"infer.output={tmp_path}/rows"]
    failed = subprocess.run(
        [*words, ray_head.url, *options],
        env=ray_head.client(),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert failed.returncode == 2, failed.stdout[-4000:] + failed.stderr[-4000:]
    [told] = [line for line in failed.stdout.splitlines() if line.startswith("ModelError")]
    assert "shades_afar.py:" in told
    assert "in predict: pixels = batch" in told
    assert "shard=test-0.tar offset=0, samples s0000 to " in told
