"""Batch inference and nights with pretrained encoders, through the real jobs."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import torchvision
from support.encoders import in_this_process, save_clip
from support.tones import make_samples, write_tar
from test_jobs import rows, run, summary

from jobs import evaluate, infer, nightly
from pipeline.config import load
from pipeline.engine.infer.predictors import Resources, model_spec, precision_of, predictor_pool
from pipeline.errors import ConfigError
from pipeline.prediction.spec import open_model

TWO_CORES = Resources(cpus=2, memory_bytes=1 << 34)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_clip(tmp_path_factory.mktemp("clip"))


def test_a_shared_space(tone_config: Path, tmp_path: Path, clip: Path, capsys) -> None:
    """With two actors the rows are those of one process, and they are done once."""
    home = tmp_path / "run" / "embeddings"
    options = (f"infer.model=hf:{clip}", "infer.actors=2", "infer.batch_size=8")
    assert run(infer.JOB, tone_config, *options) == 0
    found = rows(home)
    config = load(tone_config, options)
    assert isinstance(config.input.test, str)
    expected = in_this_process(config, config.input.test)
    assert [(row["shard"], row["key"]) for row in found] == sorted(expected)
    names = ("embedding", "image_embedding", "text_embedding")
    for row in found:
        other = expected[row["shard"], row["key"]]
        for name in names:
            assert row[name] == other[name], (row["key"], name)
            assert (row[name] is None) == (name[:-10] not in (*row["modalities"], ""))
        np.testing.assert_allclose(np.linalg.norm(row["embedding"]), 1, rtol=1e-5)
    schema = pq.read_schema(next(home.glob("part-*.parquet")))
    assert schema.names == ["key", "shard", "modalities", *names, "json"]
    assert str(schema.field("text_embedding").type) == "fixed_size_list<element: float>[24]"
    told = summary(home)
    assert told["samples_read"] == told["samples_written"] == 48

    capsys.readouterr()
    assert run(infer.JOB, tone_config, *options, "infer.actors=1", "--json") == 0
    again = json.loads(capsys.readouterr().out)
    assert (again["parts_done"], again["parts_skipped"]) == (0, 2)
    assert run(infer.JOB, tone_config, *options, "infer.precision=bfloat16") == 2
    assert "precision was 'float32' and is now 'bfloat16'" in capsys.readouterr().err
    assert precision_of(load(tone_config, ["cluster.gpus_per_worker=1"])) == "bfloat16"


def test_a_night_with_images_alone(tone_config: Path, tmp_path: Path, capsys) -> None:
    """Samples without an image are filtered, changed weights are refused, and judges are told what is missing."""
    weights = tmp_path / "shufflenet.pth"
    torch.manual_seed(0)
    network = torchvision.models.shufflenet_v2_x0_5(weights=None)
    torch.save(network.state_dict(), weights)
    write_tar(tmp_path / "in" / "a.tar", make_samples(24, seed=1))
    options = (
        "infer.model=torchvision:shufflenet_v2_x0_5",
        f"infer.weights={weights}",
        f"infer.input={tmp_path}/in/*.tar",
        "input.metadata=[]",
    )
    home = tmp_path / "run" / "embeddings"
    assert nightly.main([str(tone_config), *options, "--date", "2026-11-01"]) == 0
    told = summary(home)
    without = sum("png" not in fields for fields in make_samples(24, seed=1).values())
    assert without > 0
    assert told["samples_filtered"] == without
    assert told["samples_written"] == 24 - without
    assert told["samples_quarantined"] == 0
    assert len(rows(home)[0]["embedding"]) == 1024
    quarantine = pq.read_table(home / "_quarantine").to_pylist()
    assert {(row["reason"], row["outcome"]) for row in quarantine} == {
        ("filtered_modality", "filtered")
    }

    network.conv1[0].weight.data += 0.01
    torch.save(network.state_dict(), weights)
    capsys.readouterr()
    assert run(infer.JOB, tone_config, *options) == 2, "other weights are another output"
    assert "model" in capsys.readouterr().err
    assert run(evaluate.JOB, tone_config, *options) == 2
    assert "no predictions that could be judged" in capsys.readouterr().err


def test_as_many_actors_and_threads_as_there_are_cores(tone_config: Path, clip: Path) -> None:
    for overrides, actors, threads in (
        ((), 2, 1),
        (("infer.actors=3",), 3, 1),
        (("infer.threads=2",), 2, 2),
    ):
        config = load(tone_config, [f"infer.model=hf:{clip}", *overrides])
        pool = predictor_pool(config, TWO_CORES, open_model(model_spec(config)))
        assert (pool.num_actors, pool.spec.num_threads) == (actors, threads)
        assert pool.whole_parts, "they decode for themselves"
        assert 1.99 < pool.num_actors * pool.num_cpus <= 2, "no core is left over"
        assert pool.spec.device == "cpu"
    config = load(tone_config, [f"infer.model=hf:{clip}", "infer.actors=1"])
    pool = predictor_pool(config, TWO_CORES, open_model(model_spec(config)))
    assert pool.num_cpus == 1, "all CPUs of a cluster may be more than a node has"
    pool = predictor_pool(load(tone_config, ["infer.actors=2"]), TWO_CORES)
    assert pool.num_actors * pool.num_cpus <= 1, "half of the cores is left to decoding"
    assert not pool.whole_parts
    with pytest.raises(ConfigError, match=r"each actor is to have 0.5 GPUs"):
        predictor_pool(load(tone_config, ["cluster.gpus_per_worker=0.5"]), TWO_CORES)


def test_relative_weights_are_refused_on_a_cluster(tone_config: Path, monkeypatch) -> None:
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    full = ["infer.model=timm:test_vit", "infer.weights=/models/vit.safetensors"]
    full += ["cluster.executor=auto"]
    assert load(tone_config, full).infer.model == "timm:test_vit"
    for wrong, words in (
        (["infer.model=hf:models/clip"], "infer.model: models/clip is relative"),
        (
            ["infer.model=timm:test_vit", "infer.weights=vit.pth"],
            "infer.weights: vit.pth is relative",
        ),
    ):
        with pytest.raises(ConfigError, match=words):
            load(tone_config, [*wrong, "cluster.executor=auto"])
