"""Shards, outputs and models that lie in an object store, in a program of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support.tones import make_samples, write_tar

import pipeline
from bench.soak.workload import MODALITIES, write_bundle
from jobs import _job, infer
from pipeline import storage

DECODED_ALIKE = {"modalities": MODALITIES, "label": "cls", "num_cpus": 1}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two shards with a bad picture in each, and a model."""
    for number in range(2):
        samples = make_samples(6, seed=number)
        samples["s0001"]["png"] = b"no picture"
        write_tar(tmp_path / "data" / f"x-{number}.tar", samples)
    write_bundle(tmp_path / "model")
    return tmp_path


@pytest.fixture
def store(folder: Path, bucket: str) -> str:
    """The same in a bucket, and what infer writes there of them."""
    for path in folder.rglob("*"):
        if path.is_file():
            url = storage.join(bucket, path.relative_to(folder).as_posix())
            storage.write_bytes(url, path.read_bytes())
    settings = {
        "run": f"{bucket}/run",
        "input": {"test": f"{bucket}/data/*.tar", "max_bad_fraction": 1},
        "modalities": MODALITIES,
        "infer": {"model": f"{bucket}/model"},
        "cluster": {"num_cpus": 1, "executor": "here"},
    }
    path = folder / "job.yaml"
    path.write_text(json.dumps(settings))
    assert _job.main(infer.JOB, [str(path)]) == 0
    return bucket


def test_python_reads_stores_as_it_reads_folders(folder: Path, store: str) -> None:
    here = pipeline.read(f"{folder}/data/*.tar", **DECODED_ALIKE)
    there = pipeline.read([f"{store}/data/x-{{0..1}}.tar"], **DECODED_ALIKE)
    pairs = list(zip(here, there, strict=True))
    assert len(pairs) == 10
    for one, other in pairs:
        assert (one.key, one.shard, one.label) == (other.key, other.shard, other.label)
        for name in MODALITIES:
            assert np.array_equal(one[name], other[name]), name
    assert here.quarantine == there.quarantine != []
    keys = [key for batch in there.batches(4, shuffle=1) for key in batch["key"]]
    assert keys == [key for batch in here.batches(4, shuffle=1) for key in batch["key"]]

    model = pipeline.load_model(f"{store}/model")
    assert model.fingerprint == pipeline.load_model(folder / "model").fingerprint
    predictions = model.predict(there)
    assert [bad.reason for bad in predictions.quarantine] == ["bad_image"] * 2

    output = pipeline.open_output(f"{store}/run/embeddings")
    assert len(output) == len(predictions) == 10
    places = [
        place
        for group in output.groups(["key", "shard"])
        for place in zip(group["key"], group["shard"], strict=True)
    ]
    written = dict(zip(places, output.arrays("embedding").values, strict=True))
    for row in predictions:
        assert np.array_equal(row["embedding"], written[row["key"], row["shard"]])


def test_what_a_store_does_not_have_is_told_by_its_url(bucket: str) -> None:
    with pytest.raises(pipeline.ConfigError, match=rf"no job has written here.*{bucket}/none"):
        pipeline.open_output(f"{bucket}/none")
    with pytest.raises(pipeline.ModelError, match=rf"no model bundle.*{bucket}/none"):
        pipeline.load_model(f"{bucket}/none")
    with pytest.raises(pipeline.PipelineError, match=rf"{bucket}/none"):
        pipeline.read(f"{bucket}/none-*.tar", image={})
