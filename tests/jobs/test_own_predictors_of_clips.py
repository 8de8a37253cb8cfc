"""A person's own predictor of sounds and clips: precision, nights, search, and what is told of its faults."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from support import clips
from support.tones import wav, write_tar
from test_jobs import rows, run

from jobs import infer, nightly, search
from pipeline import plugins

SOURCE = '''
import pyarrow as pa
import torch

from pipeline.modalities.inputs import AudioInput


class Listener:
    """How loud a sound is in four bands, and how light the frames of a clip are."""

    def inputs(self):
        return {"audio": AudioInput(8000, 0.4), "video": None}

    def columns(self):
        return {
            "embedding": pa.list_(pa.float32(), 4),
            "light": pa.float32(),
            "frames": pa.list_(pa.float32()),
            "kind": pa.string(),
        }

    def load(self, device, weights):
        self.mixing = torch.eye(4, device=device)

    def predict(self, batch):
        spectra = torch.fft.rfft(batch["audio"].float()).abs()
        bands = torch.stack([band.mean(1) for band in spectra.chunk(4, dim=1)], 1)
        light = batch["video"].float().mean((2, 3, 4)) / 255
        has_video = batch["video_present"].tolist()
        return {
            "embedding": bands @ self.mixing,
            "light": [float(row.mean()) if video else None for row, video in zip(light, has_video)],
            "frames": light,
            "kind": ["clip" if video else "sound" for video in has_video],
        }
'''
TONES = {"low": 300.0, "high": 3100.0}


@pytest.fixture
def listener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the class, its configuration, and shards of sounds, some with a clip."""
    monkeypatch.setattr(plugins, "_folders", set())
    monkeypatch.setattr(plugins, "_imported", set())
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.chdir(tmp_path)
    shard(tmp_path, "a")
    (tmp_path / "listening.py").write_text(SOURCE)
    (tmp_path / "my.yaml").write_text(
        """
run: run
input: {test: "shards/*.tar"}
modalities:
  audio: {fields: [wav]}
  video: {fields: [mp4], size: 16, frames: 2}
infer: {model: "python:listening:Listener", batch_size: 3}
cluster: {num_cpus: 1, executor: here}
"""
    )
    yield tmp_path
    sys.modules.pop("listening", None)


def shard(folder: Path, name: str) -> None:
    samples = {
        f"{name}-{kind}{place}": {"wav": wav(hz + 10 * place)}
        for kind, hz in TONES.items()
        for place in range(4)
    }
    for key in list(samples)[::3]:
        samples[key]["mp4"] = clips.clip(count=6)
    write_tar(folder / "shards" / f"{name}.tar", samples)


def rewrite(folder: Path, old: str, new: str) -> None:
    assert old in SOURCE
    (folder / "listening.py").write_text(SOURCE.replace(old, new))


def test_sounds_and_clips(listener: Path) -> None:
    assert run(infer.JOB, listener / "my.yaml") == 0
    table = {str(row["key"]): row for row in rows(listener / "run" / "embeddings")}
    assert len(table) == 8
    for key, row in table.items():
        assert row["kind"] == ("clip" if "video" in row["modalities"] else "sound")
        assert (row["light"] is None) == (row["kind"] == "sound")
        assert np.argmax(row["embedding"]) == (0 if "low" in key else 3), "of its band"
        assert len(row["frames"]) == 2
    assert sum(row["kind"] == "clip" for row in table.values()) == 3


def test_precision_is_that_of_the_setting(listener: Path) -> None:
    """Products in bfloat16, embeddings written as float16; each is its own output."""
    config = listener / "my.yaml"
    assert run(infer.JOB, config) == 0
    full = np.array([row["embedding"] for row in rows(listener / "run" / "embeddings")])
    for setting, kind, bits in (
        ("infer.precision=bfloat16", "float", 8),
        ("infer.float16=true", "halffloat", 11),
    ):
        assert run(infer.JOB, config, setting) == 2, "the output is another's"
        assert run(infer.JOB, config, setting, f"infer.output={kind}") == 0
        home = listener / kind
        schema = pq.read_schema(next(home.glob("part-*.parquet")))
        assert str(schema.field("embedding").type) == f"fixed_size_list<element: {kind}>[4]"
        given = np.array([row["embedding"] for row in rows(home)], np.float64)
        error = np.abs(given - full) / np.abs(full)
        assert 0 < error.max() <= 2.0**-bits
    rewrite(listener, '"embedding": bands @ self.mixing', '"embedding": bands.tolist()')
    sys.modules.pop("listening")
    lists = ("infer.float16=true", "infer.output=lists")
    assert run(infer.JOB, config, *lists) == 0, "lists of numbers, too"
    assert rows(listener / "lists")[0]["embedding"] == rows(listener / "halffloat")[0]["embedding"]


def test_nights_and_search(listener: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, home = listener / "my.yaml", listener / "run" / "embeddings"
    place = "infer.input=shards/*.tar"
    assert nightly.main([str(config), place, "--date", "2026-11-01"]) == 0
    shard(listener, "b")
    assert nightly.main([str(config), place, "--date", "2026-11-02"]) == 0
    night = json.loads((listener / "run" / "nightly" / "2026-11-02.json").read_text())
    assert night["samples"]["read"] == 8, "what is new"
    assert "embedding_shift" in night["drift"]
    table = rows(home)
    assert {row["shard"] for row in table} == {"a.tar", "b.tar"}

    capsys.readouterr()
    assert search.main([str(config), "--key", "b-high0", "--json"]) == 0
    neighbours = json.loads(capsys.readouterr().out)["report"]["neighbours"]
    assert neighbours[0]["key"] == "a-high0"
    assert all("high" in each["key"] for each in neighbours[:7])


@pytest.mark.parametrize(
    ("old", "new", "words", "line"),
    [
        ("def inputs(", "def __init__(self): 1 // 0\n\n    def inputs(", "Listener.__init__ failed", ": 1 // 0"),
        ('return {"audio"', 'return {}["audio"], {"audio"', "Listener.inputs failed: KeyError", 'return {}["audio"]'),
        ("torch.eye(4,", "torch.eye(-4,", "Listener.load failed", "self.mixing = torch.eye(-4"),
        ("bands @ self.mixing", "bands @ self.mixing[1:]", "Listener.predict failed", "bands @ self.mixing[1:]"),
        ("bands @ self.mixing", "bands[1:]", "2 values of embedding for 3 samples", "in predict"),
        ("bands @ self.mixing", "bands[:, :3]", "what columns() does not announce", "in predict"),
        ("bands @ self.mixing", "bands * float('nan')", "numbers of embedding that are not finite", "in predict"),
        ('"frames": light', '"frames": [[float("inf")]] * len(light)', "numbers of frames that are not", "in predict"),
        ('"kind": [', '"kind": [1] + [', "4 values of kind for 3 samples", "in predict"),
        ("        spectra =", "        return\n        spectra =", "gives NoneType, and columns() names", "in predict"),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_the_line_of_theirs(
    listener: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, words: str, line: str
) -> None:
    rewrite(listener, old, new)
    assert run(infer.JOB, listener / "my.yaml") == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert words in told
    assert f"{listener}/listening.py:" in told
    assert line in told
    assert not list((listener / "run").rglob("part-*.parquet"))
