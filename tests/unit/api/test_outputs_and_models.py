"""What jobs wrote, as arrays; models without a job; and the page about Python, whose code runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.children import children
from support.ray_cluster import PROJECT
from support.tones import make_samples, png, write_tar

import pipeline
from bench.soak.workload import MODALITIES, write_bundle
from jobs import _job, infer

PAGE = PROJECT / "docs" / "python.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three shards with a bad picture in each, a model, and what infer writes of them."""
    folder = tmp_path_factory.mktemp("outputs")
    write_bundle(folder / "run" / "model")
    for number in range(3):
        samples = make_samples(10, seed=number)
        samples["s0001"]["png"] = b"no picture"
        write_tar(folder / "data" / f"x-{number:03d}.tar", samples)
    (folder / "picture.png").write_bytes(png())
    path = folder / "job.yaml"
    settings = {
        "run": str(folder / "run"),
        "input": {"test": f"{folder}/data/*.tar", "metadata": ["json"], "max_bad_fraction": 1},
        "modalities": MODALITIES,
        "cluster": {"num_cpus": 1, "executor": "here"},
        "limits": {"isolate": False},
    }
    path.write_text(json.dumps(settings))
    assert _job.main(infer.JOB, [str(path)]) == 0
    return folder


def test_an_output_has_each_row_once(folder: Path) -> None:
    url = folder / "run" / "embeddings"
    rows = list(pipeline.written_rows(str(url)))
    stray = next(url.rglob("*.parquet"))
    stray.with_name("left-behind.parquet").write_bytes(stray.read_bytes())
    output = pipeline.open_output(url)
    assert len(output) == len(rows) == 27
    assert output.shapes["embedding"] == (32,)
    assert output.shapes["key"] == ()
    assert output.shapes["modalities"] is None
    values, present = output.arrays("embedding")
    assert values.shape == (27, 32)
    assert values.dtype == np.float32
    assert present.all()
    assert np.array_equal(values, np.stack([row["embedding"] for row in rows]))
    groups = list(output.groups(["key", "embedding"]))
    files = [file for file in url.glob("*.parquet") if file.name != "left-behind.parquet"]
    assert len(groups) == sum(pq.ParquetFile(file).num_row_groups for file in files)
    assert [key for group in groups for key in group["key"]] == [row["key"] for row in rows]
    assert np.array_equal(np.concatenate([group["embedding"] for group in groups]), values)
    keys = {"s0000", "s0002"}
    some = output.arrays("embedding", keys=keys)
    assert np.array_equal(some.values, values[[row["key"] in keys for row in rows]])
    assert len(output.arrays("embedding", keys=["none"]).values) == 0


def test_what_is_not_there_is_told(folder: Path) -> None:
    output = pipeline.open_output(folder / "run" / "embeddings")
    with pytest.raises(pipeline.ConfigError, match="no column embeding .* embedding"):
        output.arrays("embeding")
    with pytest.raises(pipeline.ConfigError, match="are no numbers"):
        output.arrays("key")
    with pytest.raises(pipeline.ConfigError, match="no job has written here"):
        pipeline.open_output(folder)


def test_a_model_predicts_what_infer_writes(folder: Path) -> None:
    written = {
        (row["shard"], row["key"]): row
        for row in pipeline.written_rows(str(folder / "run" / "embeddings"))
    }
    samples = pipeline.read(
        f"{folder}/data/*.tar",
        image={"fields": ["png"], "size": 48},  # the model has a size of its own
        metadata=["json"],
        limits={"isolate": False},
        num_cpus=1,
    )
    model = pipeline.load_model(folder / "run" / "model")
    predictions = model.predict(samples)
    assert len(predictions) == len(written)
    for row in predictions:
        expected = written[row["shard"], row["key"]]
        assert row.keys() == expected.keys()
        for name, value in expected.items():
            assert np.array_equal(row[name], value), name
    assert [bad.reason for bad in predictions.quarantine] == ["bad_image"] * 3
    embedding = predictions.arrays("embedding")
    assert np.array_equal(embedding.values, np.stack([row["embedding"] for row in predictions]))


def test_a_model_takes_bytes_and_files(folder: Path) -> None:
    fields = make_samples(3, seed=0)["s0000"]
    before = set(children(os.getpid()))  # other tests may have theirs
    model = pipeline.load_model(folder / "run" / "model")
    both = model.predict([{name: fields[name] for name in ("png", "wav")}, {"png": b"none"}])
    [row] = both
    assert row["key"] == "0"
    [bad] = both.quarantine
    assert (bad.key, bad.field, bad.reason) == ("1", "png", "bad_image")
    [expected] = (
        row
        for row in pipeline.written_rows(str(folder / "run" / "embeddings"))
        if (row["shard"], row["key"]) == ("x-000.tar", "s0000")
    )
    assert np.array_equal(row["embedding"], expected["embedding"])
    assert len(model.predict([folder / "picture.png"])) == 1
    assert set(children(os.getpid())) <= before, "what has decoded them has ended"
    with pytest.raises(pipeline.ConfigError, match=r"modalities\.image\.sise"):
        pipeline.load_model(folder / "run" / "model", modalities={"image": {"sise": 3}})
    with pytest.raises(pipeline.ConfigError, match="cannot be read"):
        model.predict([folder / "none.png"])


def test_the_page_about_python_runs(folder: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 6
    no_ray = "import sys; sys.modules['ray'] = None\n"
    done = subprocess.run(
        [sys.executable, "-c", no_ray + "\n".join(blocks)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
