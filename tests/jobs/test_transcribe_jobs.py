"""Transcripts end to end: shards, training, inference, evaluation, the page, and what is refused."""

import json
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from support.tones import write_tar

from jobs import evaluate, infer, report, train
from jobs._job import Job, main

RATE = 8000
TONES_HZ = {"a": 500.0, "b": 1200.0, "c": 2500.0}


def spoken(text: str, random: np.random.Generator, path: Path) -> bytes:
    """A tone for each letter, with a breath between."""
    pieces = []
    for letter in text:
        time = np.arange(int(RATE * random.uniform(0.08, 0.12))) / RATE
        pieces += [0.4 * np.sin(2 * np.pi * TONES_HZ[letter] * time), np.zeros(RATE // 25)]
    sound = np.concatenate([np.zeros(RATE // 20), *pieces])
    soundfile.write(path, sound + random.normal(0, 0.005, len(sound)), RATE)
    return path.read_bytes()


def samples(count: int, seed: int, folder: Path) -> dict[str, dict[str, bytes]]:
    random = np.random.default_rng(seed)
    made = {}
    for index in range(count):
        text = "".join(random.choice(list(TONES_HZ), random.integers(1, 5)))
        sound = spoken(text, random, folder / "sound.wav")
        made[f"s{index:04d}"] = {"wav": sound, "txt": text.encode()}
    return made


@pytest.fixture
def config(tmp_path: Path) -> Path:
    first = samples(80, 0, tmp_path)
    first["s0002"]["txt"] = b" \n"
    first["s0005"]["txt"] = b"abc" * 14  # 42 symbols, and 0.8 s have 41 tokens
    val = samples(24, 1, tmp_path)
    val["s0003"]["txt"] = b"abz"
    write_tar(tmp_path / "data" / "t-train-000000.tar", first)
    write_tar(tmp_path / "data" / "t-val-000000.tar", val)
    write_tar(tmp_path / "data" / "t-test-000000.tar", samples(24, 2, tmp_path))
    path = tmp_path / "transcribe.yaml"
    path.write_text(
        f"""
run: {tmp_path}/run
input:
  train: {tmp_path}/data/t-train-*.tar
  val: {tmp_path}/data/t-val-*.tar
  test: {tmp_path}/data/t-test-*.tar
modalities:
  audio:
    fields: [wav]
    sample_rate_hz: {RATE}
    max_seconds: 0.8
    num_mels: 16
    encoder: {{kind: sequence, token_ms: 20, layers: 1}}
    augment: {{shift_fraction: 0.0}}
objective: {{kind: transcribe, width: 32, search: {{kind: beam, language: {{order: 2, weight: 0.1}}}}}}
train: {{epochs: 8, batch_size: 8, learning_rate: 1e-2, seed: 1}}
evaluate: {{num_bootstrap: 50}}
cluster: {{num_cpus: 1, executor: here}}
""",
        encoding="utf-8",
    )
    return path


def run(job: Job, path: Path, *words: str) -> int:
    return main(job, [str(path), *words])


def test_transcripts_from_shards_to_a_report(config: Path, tmp_path: Path) -> None:
    home = tmp_path / "run"
    assert run(train.JOB, config) == 0
    trained = json.loads((home / "model" / "summary.json").read_text())
    assert trained["samples_quarantined"] == 2, (
        "the text that is empty, and the one that is too long"
    )
    assert trained["reasons"]["too_short"] == 1
    rows = [
        row
        for path in (home / "_quarantine").glob("*.parquet")
        for row in pq.read_table(path).to_pylist()
    ]
    assert [row["setting"] for row in rows if row["reason"] == "too_short"] == [
        "modalities.audio.encoder"
    ]
    bundle = json.loads((home / "model" / "bundle.json").read_text())
    learned, kept = bundle["learned"], bundle["training"]["kept"]
    assert learned["vocabulary"] == {"kind": "characters", "characters": "abc"}
    assert learned["seconds_per_token"] == pytest.approx(0.02)
    history = [json.loads(line) for line in (home / "metrics.jsonl").read_text().splitlines()]
    assert kept["chosen_by"] == "val_cer"
    assert history[kept["epoch"] - 1]["val_cer"] == min(row["val_cer"] for row in history)
    assert history[0]["val_lacking_characters"] == 1, "the z of the validation split"

    assert run(infer.JOB, config) == 0
    [path] = (home / "embeddings").glob("part-*.parquet")
    table = pq.read_table(path)
    for row in table.to_pylist():
        assert "".join(token["symbol"] for token in row["tokens"]) == row["transcript"]
        assert row["score"] <= 0
    starts = [row["tokens"][0]["start"] for row in table.to_pylist() if row["tokens"]]
    assert np.median(starts) == pytest.approx(0.05, abs=0.04), "where the first tone begins"

    assert run(evaluate.JOB, config) == 0
    metrics = json.loads((home / "evaluation" / "summary.json").read_text())["metrics"]
    assert metrics["cer"] < 0.1
    assert metrics["cer"] == metrics["cer_audio"]
    whole = json.loads((home / "evaluation" / "metrics.json").read_text())
    assert whole["overall"]["cer_of_most_frequent"] > 0.4
    judged = pq.read_table(home / "evaluation" / "predictions.parquet").to_pylist()
    by_key = {row["key"]: row["transcript"] for row in table.to_pylist()}
    for row in judged:
        assert by_key[row["key"]] == row["transcript"]
    exact = np.mean([row["transcript"] in row["label"] for row in judged])
    assert exact == pytest.approx(metrics["exact_match"])

    assert run(report.JOB, config) == 0
    page = (home / "report.html").read_text()
    assert "of the characters" in page
    assert "The fewest errors" in page
    spans = re.findall(r'--from:([\d.]+);--to:([\d.]+)" title="[^"]+"><bdi>[abc]</bdi>', page)
    assert page.count('class="in-time"') >= 5, "a spectrogram with the symbols below it"
    assert len(spans) >= 5
    assert all(0 <= float(start) < float(end) <= 1.1 for start, end in spans)
    assert re.search(r"<bdi>[abc]</bdi> 0\.\d\d–0\.\d\d", page), "when symbols are said"


@pytest.mark.parametrize(
    ("words", "code", "what"),
    [
        (["objective.target=json.nothing"], 2, "no training sample has a text"),
        (["modalities.audio.encoder={kind: statistics}"], 2, "does not tell when its tokens are"),
        (["modalities={text: {}}"], 2, "no encoder of modalities.text (text) has"),
        (["modalities.audio.encoder.token_ms=80", "modalities.audio.max_seconds=0.1"], 2, "need "),
        (["train.learning_rate=1e30"], 2, "the loss of epoch 1 is not finite"),
    ],
)
def test_what_cannot_be_learned_is_told_in_one_line(
    config: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, what: str
) -> None:
    assert run(train.JOB, config, "train.epochs=2", *words) == code
    error = capsys.readouterr().err
    assert what in error
    assert "Traceback" not in error
