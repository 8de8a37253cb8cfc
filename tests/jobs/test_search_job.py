"""jobs.search on what jobs.infer wrote: the neighbours that brute force finds, or one line that says why not."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.sealed import seal
from support.tones import CLASSES, WORDS, make_samples

from jobs import _job, infer, search
from pipeline import storage

PROJECT = Path(__file__).resolve().parents[2]
Row = Mapping[str, Any]


@pytest.fixture(scope="module")
def config(tone_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a bundle, and the embeddings of 48 samples in two shards."""
    folder = tmp_path_factory.mktemp("search")
    path = folder / "c.yaml"
    path.write_text(
        f"""
run: {folder}/run
input: {{test: "{tone_data}/tone-test-*.tar", metadata: [json]}}
modalities:
  image: {{fields: [png], size: 16}}
  text: {{fields: [txt], max_tokens: 16, vocab_size: 300, max_bytes: 1000}}
  audio: {{fields: [wav], sample_rate_hz: 8000, max_seconds: 0.3, num_mels: 20}}
objective: {{kind: classify, label: cls, width: 32, fusion: {{kind: concat}}}}
cluster: {{num_cpus: 1, executor: here}}
""",
        encoding="utf-8",
    )
    seal(path, folder / "run" / "model", CLASSES, list(WORDS.values()))
    assert _job.main(infer.JOB, [str(path)]) == 0
    return path


def rows(config: Path) -> dict[tuple[str, str], Row]:
    files = sorted((config.parent / "run" / "embeddings").glob("part-*.parquet"))
    found = [row for file in files for row in pq.read_table(file).to_pylist()]
    return {(row["shard"], row["key"]): row for row in found}


def ask(config: Path, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    capsys.readouterr()
    assert search.main([str(config), *words, "--json"]) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer["report"]


def names(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(each["shard"], each["key"]) for each in report["neighbours"]]


def refused(
    config: Path, capsys: pytest.CaptureFixture[str], code: int, *words: str, says: list[str]
) -> None:
    capsys.readouterr()
    assert search.main([str(config), *words]) == code
    told = capsys.readouterr()
    assert told.out == ""
    [line] = [each for each in told.err.splitlines() if each.count(" | ") or "Error" in each]
    for each in says:
        assert each in line


def test_a_row_and_its_neighbours(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shard, key = "tone-test-000001.tar", "s0005"
    report = ask(config, capsys, "--key", key, "--shard", shard)
    found = rows(config)
    query = np.array(found[shard, key]["embedding"], np.float64)
    scores = {}
    for name, row in found.items():
        vector = np.array(row["embedding"], np.float64)
        scores[name] = query @ vector / np.linalg.norm(query) / np.linalg.norm(vector)
    del scores[shard, key]
    want = sorted(scores, key=lambda name: (-round(scores[name], 9), *name))[:10]
    assert names(report) == want
    assert report["rows_compared"] == 47
    for each in report["neighbours"]:
        row = found[each["shard"], each["key"]]
        assert each["score"] == pytest.approx(scores[each["shard"], each["key"]], abs=1e-8)
        assert each["prediction"] == row["prediction"]
        assert each["metadata"] == {"json": row["json"]}
        assert each["modalities"] == row["modalities"]

    refused(
        config, capsys, 2, "--key", key, says=["2 rows have this key", "tone-test-000000.tar", shard]
    )  # fmt: skip
    index = ask(config, capsys, "--key", key, "--shard", shard, "--index", "usearch")
    assert index["neighbours"] == report["neighbours"]
    run = config.parent / "run"
    assert [file.suffix for file in (run / "search").iterdir()] == [".usearch"]
    summary = json.loads((run / "embeddings" / "summary.json").read_text())
    assert summary["job"] == "infer", "a search leaves the output as it is"


def test_a_sample_given_as_files_finds_itself(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = make_samples(24, seed=21)["s0006"]  # of tone-test-000001.tar
    for name in ("png", "wav"):
        (tmp_path / f"query.{name}").write_bytes(own[name])
    words = ["--text", own["txt"].decode(), "--image", f"{tmp_path}/query.png"]
    words += ["--audio", f"{tmp_path}/query.wav", "--top", "3"]
    report = ask(config, capsys, *words)
    assert names(report)[0] == ("tone-test-000001.tar", "s0006")
    assert report["neighbours"][0]["score"] == pytest.approx(1, abs=1e-5)
    assert report["query"]["prediction"] == rows(config)[names(report)[0]]["prediction"]
    assert ask(config, capsys, *words) == report, "asked again, answered the same"
    for alone in (words[:2], words[2:4], words[4:6]):
        assert len(ask(config, capsys, *alone)["neighbours"]) == 10

    capsys.readouterr()
    page = tmp_path / "found.html"
    assert search.main([str(config), *words, "--html", str(page)]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == ["rank", "score", "shard", "key", "text", "prediction", "metadata"]
    assert len(table) == 1 + 3 + 2
    texts = {
        key: each["txt"].decode()
        for key, each in make_samples(24, seed=21).items()
        if "txt" in each
    }
    assert all(texts.get(row["key"]) == row["text"] for row in report["neighbours"])
    assert own["txt"].decode() in table[1]
    html = page.read_text("utf-8")
    assert html.count("<img ") == 1 + sum("image" in n["modalities"] for n in report["neighbours"])
    assert html.count("<audio ") == 1 + sum(
        "audio" in n["modalities"] for n in report["neighbours"]
    )

    gone = f"input.test={tmp_path}/gone-*.tar"
    assert search.main([str(config), gone, *words, "--html", str(page)]) == 0
    html = page.read_text("utf-8")
    assert html.count("<img ") == 1
    assert html.count("the input cannot be read: no shard matches") == 3


def test_what_cannot_be_asked_is_one_line(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def no(*words: str, says: list[str], code: int = 2) -> None:
        refused(config, capsys, code, *words, says=says)

    bad = tmp_path / "bad.png"
    bad.write_bytes(b"\x89PNG\r\n\x1a\n broken")
    no("--image", str(bad), says=["--image", "bad.png", "bad_image"])
    no("--audio", str(bad), says=["bad_audio"])
    no("--image", str(tmp_path / "none.png"), says=["there is no such file", "none.png"])
    no("--image", str(tmp_path), says=["there is no such file"])
    no(
        "--image",
        str(bad),
        "limits.member_bytes=4",
        says=["over the limit of 4", "limits.member_bytes"],
    )
    no("--text", "x" * 1001, says=["--text", "modalities.text.max_bytes is 1000", "too_large"])
    no("--text", "nul \0", says=["--text", "bad_text"])
    no("--text", "bytes \udcff", says=["--text", "bad_text"])
    no("--key", "nobody", says=["no row has this key", "--key nobody"])
    no("--key", "bytes \udcff", says=["no row has this key"])
    no("--text", "x", "--top", "49", says=["49 neighbours are wanted, and there are 48 rows"])
    no("--text", "x", "--top", "0", says=["--top is 0"])
    no("--text", "x", "--in", "image", says=["there is no column image_embedding", "embedding"])
    no("--text", "x", "--column", "score", says=["score is float, and no vectors"])
    no("--text", "x", "--column", "nothing", says=["there is no column nothing"])
    no(
        "--text",
        "x",
        f"infer.output={tmp_path}/none",
        says=["no embeddings to search", "jobs.infer"],
    )
    no("--text", "x", "infer.output=x/date={date}", says=["the folder of one date"])
    no(says=["nothing is asked for"])
    no("--text", " \n", says=["--text is empty"])
    no("--key", "a", "--text", "b", says=["--key does not go with --text"])
    no("--text", "a", "--shard", "b", says=["--shard goes with --key only"])


def test_another_model_is_refused_and_both_are_named(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = json.loads((config.parent / "run" / "model" / "bundle.json").read_text())["fingerprint"]
    other = seal(config, tmp_path / "other", CLASSES, ["other texts"]).fingerprint
    assert other != ours
    words = ("--text", "x", f"infer.model={tmp_path}/other")
    refused(config, capsys, 2, *words, says=[ours, other])
    key = ("--key", "s0001", "--shard", "tone-test-000000.tar")
    assert len(ask(config, capsys, *key, words[-1])["neighbours"]) == 10, "no model is asked"
    refused(config, capsys, 2, *words[:2], "infer.model=nowhere", says=["no model bundle"])


def test_a_plain_folder_and_an_object_store(
    config: Path, tmp_path: Path, bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    key = ("--key", "s0001", "--shard", "tone-test-000000.tar")
    want = ask(config, capsys, *key)["neighbours"]
    embeddings = config.parent / "run" / "embeddings"
    (tmp_path / "plain").mkdir()
    for file in embeddings.glob("part-*.parquet"):
        shutil.copy(file, tmp_path / "plain")
        storage.write_bytes(f"{bucket}/out/{file.name}", file.read_bytes())
    # A file that is not of the snapshot: the manifest says so.
    storage.write_bytes(f"{bucket}/out/part-old.parquet", file.read_bytes())
    manifest = (embeddings / "_manifest.json").read_bytes()
    storage.write_bytes(f"{bucket}/out/_manifest.json", manifest)
    assert ask(config, capsys, *key, f"infer.output={tmp_path}/plain")["neighbours"] == want
    assert ask(config, capsys, *key, f"infer.output={bucket}/out")["neighbours"] == want
    remote = (f"infer.output={bucket}/out", f"run={bucket}/run", "--index", "usearch")
    assert ask(config, capsys, *key, *remote)["neighbours"] == want
    assert ask(config, capsys, *key, *remote)["neighbours"] == want, "from the index that is kept"
    assert len(storage.list_files(f"{bucket}/run/search")) == 1


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_stopped_in_the_middle(
    sign: signal.Signals, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.search.written import Written

    def stopped(*_: object) -> None:
        os.kill(os.getpid(), sign)

    monkeypatch.setattr(Written, "scan", stopped)
    words = ["--key", "s0001", "--shard", "tone-test-000000.tar"]
    assert search.main([str(config), *words]) == 130


def test_it_needs_no_ray(config: Path) -> None:
    code = (
        "import sys; sys.modules['ray'] = None\n"
        "from jobs import search\n"
        "sys.exit(search.main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, str(config), "--text", "a low tone", "--json"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["report"]["neighbours"]) == 10
