"""Predictors that a person has written: the page's examples through batch inference, what is refused, what fails."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from support.encoders import save_tokenizer, small_text
from support.tones import make_samples, write_tar
from test_jobs import rows, run, summary
from torch import nn

import pipeline
from jobs import evaluate, infer, preprocess
from pipeline import plugins
from pipeline.config import load, names_classes
from pipeline.engine.cluster.package import working_dir

PAGE = (Path(plugins.__file__).parents[1] / "docs" / "own-models.md").read_text("utf-8")
SOURCES = {
    match[1]: match[0]
    for match in re.findall(r"```python\n(.*?class (\w+).*?)```", PAGE, re.DOTALL)
}
SAMPLES = make_samples(14, seed=4)


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with shards, the page's example, and its configuration; its modules are forgotten in the end."""
    monkeypatch.setattr(plugins, "_folders", set())
    monkeypatch.setattr(plugins, "_imported", set())
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.chdir(tmp_path)
    write_tar(tmp_path / "shards" / "test-0.tar", SAMPLES)
    (tmp_path / "shades.py").write_text(SOURCES["Shades"])
    block = next(
        text for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if "Shades" in text
    )
    block = block.replace("  image:", "  text:\n  image:")  # so that a sample may lack its image
    (tmp_path / "my.yaml").write_text(block + "cluster: {num_cpus: 1, executor: here}\n")
    torch.manual_seed(5)
    torch.save(nn.Sequential(nn.Conv2d(3, 8, 3, stride=2)).state_dict(), tmp_path / "shades.pt")
    yield tmp_path
    forget()


def forget() -> None:
    for name in ("shades", "sentences"):
        sys.modules.pop(name, None)


def rewrite(folder: Path, old: str, new: str) -> None:
    """Changes the example's code, as its author would between two jobs."""
    path = folder / "shades.py"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    shutil.rmtree(folder / "__pycache__", ignore_errors=True)
    forget()


def test_a_module_of_torch(beside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = beside / "runs" / "shades" / "embeddings"
    assert run(infer.JOB, beside / "my.yaml", "infer.batch_size=4") == 0
    table = rows(home)
    with_image = {key for key, fields in SAMPLES.items() if "png" in fields}
    assert {row["key"] for row in table} == with_image
    assert summary(home)["samples_filtered"] == len(SAMPLES) - len(with_image)
    schema = pq.read_schema(next(home.glob("part-*.parquet")))
    assert schema.names == ["key", "shard", "modalities", "embedding", "brightness"]
    assert str(schema.field("embedding").type) == "fixed_size_list<element: float>[8]"

    # By hand: one sample at a time, in double precision.
    convolution = nn.Conv2d(3, 8, 3, stride=2).double()
    state = torch.load(beside / "shades.pt", weights_only=True)
    convolution.load_state_dict({name.removeprefix("0."): value for name, value in state.items()})
    decoded = pipeline.read(beside / "shards" / "*.tar", image={"size": 32})
    pixels = {sample.key: sample["image"] for sample in decoded}
    for row in table:
        image = torch.tensor(np.array(pixels[row["key"]])).double().reshape(1, 32, 32, 3) / 255
        features = convolution(image.permute(0, 3, 1, 2)).relu().mean((2, 3))[0].detach()
        np.testing.assert_allclose(row["embedding"], features, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(row["brightness"], image.mean(), rtol=1e-5)
    assert run(evaluate.JOB, beside / "my.yaml") == 2
    assert "no predictions that could be judged" in capsys.readouterr().err


def test_a_model_of_transformers(beside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers

    torch.manual_seed(6)
    folder = beside / "bert"
    names = ("bos_token_id", "eos_token_id")
    config = {name: value for name, value in small_text().items() if name not in names}
    network = transformers.BertModel(transformers.BertConfig(**config)).eval()
    network.save_pretrained(folder)
    tokenizer = save_tokenizer(folder)
    (beside / "sentences.py").write_text(SOURCES["Sentences"])
    monkeypatch.syspath_prepend(beside)  # as Python does for a script
    model, settings = "python:sentences:Sentences", {"width": 32, "max_tokens": 12}
    predict = pipeline.load_model(
        model, weights=str(folder), settings=settings, modalities={"text": {}}, batch_size=2
    ).predict
    texts = ["a cat on the mat", "red", "a loud dog runs on the blue rug"]
    table = predict([{"txt": text.encode()} for text in texts]).table
    for text, embedding in zip(texts, table["embedding"].to_pylist(), strict=True):
        tokens = tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            states = network(**tokens).last_hidden_state[0].double()
        np.testing.assert_allclose(embedding, states.mean(0), rtol=1e-4, atol=1e-5)
    options = [f"infer.model={model}", f"infer.weights={folder}", f"infer.settings={settings}"]
    assert run(infer.JOB, beside / "my.yaml", *options, "modalities={text: {}}", "run=runs/b") == 0
    assert len(rows(beside / "runs" / "b" / "embeddings")[0]["embedding"]) == 32


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("infer.model=python:shades", "infer.model: a class is written package.module:Class"),
        ("infer.model=python:shades:Shadow", "infer.model: shades has no class Shadow"),
        ("infer.model=python:nowhere:X", "infer.model: nowhere cannot be imported"),
        ("infer.model=python:json:JSONDecoder", "json:JSONDecoder has no inputs, no columns, no load, no predict: "),
        ("infer.settings={widht: 3}", "unexpected keyword argument 'widht' | infer.model | check infer.settings"),
        ("infer.weights=nothing.pt", "there are no weights"),
        ("infer.compile=true", "call torch.compile in its load()"),
        ("modalities={text: {}}", "takes image, and the configuration has text"),
        ("infer={model: runs/x, settings: {width: 3}}", "settings are those of a python:package.module:Class"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(
    beside: Path, capsys: pytest.CaptureFixture[str], override: str, words: str
) -> None:
    assert run(infer.JOB, beside / "my.yaml", override) == 2
    assert words in capsys.readouterr().err
    assert not list(beside.glob("runs/**/*.json"))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("def predict(self", "def answer(self", "shades:Shades has no predict: a predictor has the methods"),
        ('{"image": None}', '{"image": AudioInput(8000, 1)}', "shades.py:"),
        ('"image": None', '"sound": None', "takes sound, and the configuration has image and text"),
        ("pa.list_(pa.float32(), self.width)", "pa.string()", "a column embedding that is no pa.list_"),
        ('"brightness": pa.', '"shard": pa.', "names shard, which every row has already"),
        ("self.network.to(device)", "self.network.too(device)", "in load: self.network.too(device).eval()"),
        ("import pyarrow as pa", "import pyarrow as pa\n1 / 0", "in <module>: 1 / 0"),
        ('"brightness": pixels', '"brightnes": pixels', "brightnes, and columns() names embedding, brightness"),
        ("pixels.mean((1, 2, 3))", "pixels.mean((1, 2, 3))[1:]", "values of brightness for"),
        ("pixels.mean((1, 2, 3))", "pixels.mean((1, 2, 3)) / 0", "numbers of brightness that are not finite"),
        ("self.network(pixels)", "self.network(pixels)[:, 1:]", "what columns() does not announce"),
        ("self.network(pixels)", "[None] * len(pixels)", "no embedding of 4 samples"),
    ],
)  # fmt: skip
def test_a_fault_of_the_class_is_told_in_one_line(
    beside: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, words: str
) -> None:
    rewrite(beside, old, new)
    assert run(infer.JOB, beside / "my.yaml", "infer.batch_size=4") == 2
    told = capsys.readouterr().err
    assert words in told.splitlines()[-1]


def test_what_fails_names_the_line_and_the_samples(
    beside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the person's own line, not of torch's inside it."""
    rewrite(beside, "/ 255", "@ pixels")
    number = (
        (beside / "shades.py")
        .read_text()
        .splitlines()
        .index('        pixels = batch["image"].permute(0, 3, 1, 2).float() @ pixels')
    )
    assert run(infer.JOB, beside / "my.yaml", "infer.batch_size=4") == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert "shades:Shades.predict failed: " in told
    assert f"{beside}/shades.py:{number + 1}, in predict: pixels = batch" in told
    assert "shard=test-0.tar offset=0, samples s0000 to s0004" in told


def test_rows_remember_code_settings_and_weights(
    beside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = beside / "my.yaml"
    assert run(infer.JOB, config) == 0
    assert run(infer.JOB, config) == 0, "nothing is left to do"
    assert summary(beside / "runs" / "shades" / "embeddings")["parts_skipped"] == 1
    rewrite(beside, "/ 255", "/ 256")
    assert run(infer.JOB, config) == 2
    assert "model was" in capsys.readouterr().err
    rewrite(beside, "/ 256", "/ 255")
    assert run(infer.JOB, config) == 0
    assert run(infer.JOB, config, "infer.settings={width: 8, }") == 0
    state = torch.load(beside / "shades.pt", weights_only=True)
    torch.save({name: value + 1 for name, value in state.items()}, beside / "shades.pt")
    assert run(infer.JOB, config) == 2, "other weights are another output"
    torch.save(nn.Sequential(nn.Conv2d(3, 4, 3, stride=2)).state_dict(), beside / "shades.pt")
    assert run(infer.JOB, config, "infer.settings={width: 4}") == 2, "other settings, too"
    assert run(infer.JOB, config, "infer.settings={width: 4}", "infer.new_version=true") == 0


def test_it_goes_where_the_job_goes(beside: Path) -> None:
    assert names_classes(beside / "my.yaml")
    load(beside / "my.yaml")
    with working_dir(beside / "my.yaml") as (folder, _):
        assert (folder / "shades.py").read_text() == SOURCES["Shades"]


def test_rows_of_preprocess_are_refused(beside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = beside / "my.yaml"
    assert run(preprocess.JOB, config, "preprocess.input=test") == 0
    assert run(infer.JOB, config, "infer.input=runs/shades/decoded") == 2
    assert "preprocessed rows are no longer what it looks at" in capsys.readouterr().err
    assert yaml.safe_load(config.read_text())["infer"]["model"] == "python:shades:Shades"
