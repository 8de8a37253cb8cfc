"""What the tests share: small real shards, and one local Ray for all tests that need it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from support.object_store import bucket, s3_server
from support.ray_cluster import family, ray_head
from support.tones import make_samples, write_tar

from pipeline.config import ClusterConfig
from pipeline.engine.executors.workplace import Workplace

pytest_plugins = ["support.passes"]
hypothesis.settings.register_profile("no-timing", deadline=None)  # a test is never a timing
hypothesis.settings.load_profile("no-timing")
__all__ = ["bucket", "family", "ray_head", "s3_server"]


def pytest_runtest_setup() -> None:
    """Workers of pytest-xdist ignore Ctrl-C, and so would every job that a test starts there."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def tone_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards tone-{train,val,test}-*.tar with three classes; some samples lack a modality."""
    folder = tmp_path_factory.mktemp("tones")
    for shard in range(3):
        write_tar(folder / f"tone-train-{shard:06d}.tar", make_samples(40, seed=shard))
    write_tar(folder / "tone-val-000000.tar", make_samples(24, seed=10))
    write_tar(folder / "tone-test-000000.tar", make_samples(24, seed=20))
    write_tar(folder / "tone-test-000001.tar", make_samples(24, seed=21))
    return folder


@pytest.fixture
def tone_config(tone_data: Path, tmp_path: Path) -> Path:
    """A configuration of the shards above, with a run folder of its own."""
    path = tmp_path / "tones.yaml"
    path.write_text(
        f"""
run: {tmp_path}/run
input:
  train: {tone_data}/tone-train-{{000000..000002}}.tar
  val: {tone_data}/tone-val-*.tar
  test: {tone_data}/tone-test-*.tar
  metadata: [json]
modalities:
  image: {{fields: [png, jpg], size: 16, encoder: {{kind: cnn}}}}
  text: {{fields: [txt], max_tokens: 16, vocab_size: 300, encoder: {{kind: transformer}}}}
  audio: {{fields: [wav], sample_rate_hz: 8000, max_seconds: 0.3, num_mels: 20, encoder: {{kind: cnn}}}}
objective: {{kind: classify, label: cls, width: 32, fusion: {{kind: concat}}, dropout: 0.1}}
train: {{epochs: 3, batch_size: 16, learning_rate: 3e-3, seed: 1}}
evaluate: {{num_bootstrap: 50}}
cluster: {{num_cpus: 1, executor: here}}
""",
        encoding="utf-8",
    )
    return path


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """One Ray of 2 CPUs; jobs that run in this process find it and use it."""
    from pipeline.engine.cluster.session import connect

    with connect(ClusterConfig(num_cpus=2)):
        yield


@pytest.fixture(params=["here", "ray"])
def workplace(request: pytest.FixtureRequest) -> Iterator[Workplace]:
    """Each kind of executor in turn, with 2 CPUs."""
    if request.param == "ray":
        request.getfixturevalue("local_ray")
    with Workplace(ClusterConfig(num_cpus=2, executor=request.param)) as workplace:
        yield workplace


@pytest.fixture
def workplace_here() -> Iterator[Workplace]:
    """This process and 2 decoding processes."""
    with Workplace(ClusterConfig(num_cpus=2, executor="here")) as workplace:
        yield workplace
