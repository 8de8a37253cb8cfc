"""What a night costs that has nothing to do, where new rows go, and what becomes of another model."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.sealed import seal
from support.tones import make_samples, write_tar
from test_jobs import run

from jobs import infer, nightly
from pipeline import storage
from pipeline.nightly.ledger import Ledger, Night
from pipeline.storage import ByteSource


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A night over two shards, one of them so large that it is cut into parts."""
    path = tmp_path / "night.yaml"
    path.write_text(
        f"""
run: {tmp_path}/run
input: {{max_bad_fraction: 1}}
modalities:
  image: {{fields: [png, jpg], size: 16}}
objective: {{kind: classify, label: cls, width: 32, fusion: {{kind: concat}}}}
infer: {{input: "{tmp_path}/in/*.tar", model: "{tmp_path}/model", output: "{tmp_path}/out"}}
cluster: {{num_cpus: 1, executor: here}}
""",
        encoding="utf-8",
    )
    seal(path, tmp_path / "model", ["a", "b"], [])
    write_tar(tmp_path / "in" / "small.tar", make_samples(4, seed=0))
    large = make_samples(6, seed=1)
    for sample in large.values():
        sample["bin"] = bytes(8 << 20)  # 48 MiB in all, that no modality looks at
    write_tar(tmp_path / "in" / "large.tar", large)
    return path


def night(config: Path, date: str, *words: str) -> Night:
    assert nightly.main([str(config), *words, "--date", date]) == 0
    found = Ledger(str(config.parent / "run")).read(date)
    assert found is not None
    return found


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Shards that this process opens."""
    names: list[str] = []
    real: Callable[..., ByteSource] = storage.open_source

    def noted(url: str, *arguments: Any, **options: Any) -> ByteSource:
        names.append(os.path.basename(url))
        return real(url, *arguments, **options)

    monkeypatch.setattr(storage, "open_source", noted)
    return names


def test_what_has_not_changed_costs_nothing(config: Path, opened: list[str]) -> None:
    first = night(config, "2026-11-20")
    assert first.shards == {"new": 2, "changed": 0, "deleted": 0, "unchanged": 0}
    assert first.parts["done"] >= 3
    assert "large.tar" in opened, "it is planned by its headers"
    opened.clear()
    second = night(config, "2026-11-21")
    assert second.shards == {"new": 0, "changed": 0, "deleted": 0, "unchanged": 2}
    # No part is done, so that no worker reads and no model is asked; and the driver opens no shard.
    assert second.parts == {"done": 0, "left": 0}
    assert opened == []

    large = config.parent / "in" / "large.tar"
    os.utime(large, (1_700_000_000, 1_700_000_000))
    assert night(config, "2026-11-22").shards["changed"] == 1, "a listing knows no better"


def test_a_shard_may_be_known_by_its_content(config: Path) -> None:
    by_content = ("input.fingerprint=content",)
    assert night(config, "2026-11-20", *by_content).shards["new"] == 2
    large = config.parent / "in" / "large.tar"
    os.utime(large, (1_700_000_000, 1_700_000_000))
    assert night(config, "2026-11-21", *by_content).shards["unchanged"] == 2
    status = large.stat()
    with large.open("r+b") as file:  # one byte, the same size, the same time
        file.seek(4 << 20)
        file.write(b"x")
    os.utime(large, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert night(config, "2026-11-22", *by_content).shards["changed"] == 1


def test_another_model_is_refused_or_written_beside(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = "infer.input=" + str(tmp_path / "in" / "small.tar")
    assert run(infer.JOB, config, few) == 0
    before = (tmp_path / "out" / "_manifest.json").read_bytes()
    seal(config, tmp_path / "model", ["a", "b", "c"], [])
    capsys.readouterr()
    assert run(infer.JOB, config, few) == 2
    [line] = capsys.readouterr().err.splitlines()[-1:]
    assert "model was" in line
    assert "infer.new_version=true" in line
    for _ in range(2):  # the second goes on in the folder of the first
        assert run(infer.JOB, config, few, "infer.new_version=true") == 0
    assert (tmp_path / "out" / "_manifest.json").read_bytes() == before
    assert json.loads((tmp_path / "out-v2" / "_manifest.json").read_text())["num_rows"] == 3
    assert not (tmp_path / "out-v3").exists()
    summary = json.loads((tmp_path / "out-v2" / "summary.json").read_text())
    assert summary["outputs"]["embeddings"] == f"{tmp_path}/out-v2"
    assert (summary["parts_done"], summary["parts_skipped"]) == (0, 1)


def test_another_input_is_refused_replaced_or_written_beside(
    config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_tar(tmp_path / "other" / "small.tar", make_samples(3, seed=7))
    few, other = f"infer.input={tmp_path}/in/small.tar", f"infer.input={tmp_path}/other/*.tar"
    assert run(infer.JOB, config, few) == 0
    before = (tmp_path / "out" / "_manifest.json").read_bytes()
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    assert run(infer.JOB, config, "infer.input=./in/small.tar", "input.max_samples=100") == 0
    assert "infer: done already" in capsys.readouterr().out
    for refused in ([other], [few, "input.max_samples=1"], [other, "infer.retry_quarantined=true"]):
        assert run(infer.JOB, config, *refused) == 2
        [line] = [each for each in capsys.readouterr().err.splitlines() if "Error: " in each]
        assert (
            f"made from {'the first 100 samples of ' * (refused[0] == few)}{tmp_path}/in/small.tar"
            in line
        )
        assert "infer.replace=true" in line
        assert "choose another infer.output" in line
    assert run(infer.JOB, config, other, "--dry-run") == 2
    assert (tmp_path / "out" / "_manifest.json").read_bytes() == before
    assert run(infer.JOB, config, other, "infer.new_version=true") == 0
    assert json.loads((tmp_path / "out-v2" / "_manifest.json").read_text())["num_rows"] == 3
    assert run(infer.JOB, config, other, "infer.replace=true") == 0
    assert json.loads((tmp_path / "out" / "_manifest.json").read_text())["num_rows"] == 3
    assert run(infer.JOB, config, few) == 2, "it is of the other input now"
    night(config, "2026-11-20", few)
    assert json.loads((tmp_path / "out" / "_manifest.json").read_text())["num_rows"] == 3


def test_new_rows_go_to_the_partition_of_their_night(config: Path, tmp_path: Path) -> None:
    few = (f"infer.input={tmp_path}/in/[sn]*.tar", "nightly.date_partitions=true")
    night(config, "2026-11-20", *few)
    write_tar(tmp_path / "in" / "new.tar", make_samples(3, seed=5))
    night(config, "2026-11-21", *few)
    found = duckdb.sql(
        f"SELECT date::VARCHAR, count(*) FROM '{tmp_path}/out/date=*/part-*.parquet' GROUP BY 1 ORDER BY 1"
    ).fetchall()
    assert found == [("2026-11-20", 3), ("2026-11-21", 3)]
    assert json.loads((tmp_path / "out" / "_manifest.json").read_text())["num_rows"] == 6
