"""The pack job, from a table to shards that the other jobs read."""

import json
import re
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.tones import png

from jobs import _job, pack
from pipeline.packing.config import PackConfig


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rows = ["id,photo,notes,kind"]
    for index in range(20):
        (tmp_path / f"p{index}.png").write_bytes(png())
        rows.append(f"k{index:02d},p{index}.png,a note {index},{'ab'[index % 2]}")
    (tmp_path / "p7.png").unlink()
    path = tmp_path / "table.csv"
    path.write_text("\n".join(rows))
    config = tmp_path / "c.yaml"
    config.write_text(
        f"""
run: {tmp_path}/run
modalities: {{image: {{fields: [png]}}, text: {{}}}}
pack:
  source: {path}
  output: {tmp_path}/out
  key: id
  columns: {{png: photo, txt: notes, cls: kind}}
"""
    )
    return config


def test_pack_and_what_could_not_be_packed(table: Path, tmp_path: Path) -> None:
    assert _job.main(pack.JOB, [str(table)]) == 0
    out = tmp_path / "out"
    found = json.loads((out / "summary.json").read_text())
    assert (found["samples_read"], found["samples_written"], found["samples_quarantined"]) == (
        20,
        19,
        1,
    )
    [row] = pq.read_table(out / "_quarantine" / "pack.parquet").to_pylist()
    assert (row["key"], row["field"], row["reason"]) == ("k07", "png", "missing_file")
    assert row["setting"] is None
    assert "table.csv" in row["shard"]
    before = {file: file.read_bytes() for file in out.glob("*.tar")}
    assert _job.main(pack.JOB, [str(table)]) == 0
    assert {file: file.read_bytes() for file in out.glob("*.tar")} == before


def test_too_much_bad_data_ends_with_3_and_says_why(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rest is packed, its counts and the reasons are told; again, and until more is allowed."""
    for index in range(8, 14):
        (tmp_path / f"p{index}.png").write_bytes(b"")
    assert _job.main(pack.JOB, [str(table)]) == 3
    told = capsys.readouterr().err
    assert "7 of 20 samples are bad" in told
    assert re.search(r"6 +bad_image .*\n +1 +missing_file ", told)
    assert re.search(r"split +samples +image +label +text\n +train +\d+", told)
    out = tmp_path / "out"
    summary = json.loads((out / "summary.json").read_text())
    assert "settings" not in summary
    assert (summary["exit_code"], summary["status"]) == (3, "failed")
    assert (summary["samples_read"], summary["samples_written"]) == (20, 13)
    assert summary["reasons"] == {"bad_image": 6, "missing_file": 1}
    assert pq.read_table(out / "_quarantine" / "pack.parquet").num_rows == 7
    assert len(list(out.glob("*.tar"))) > 0
    assert _job.main(pack.JOB, [str(table)]) == 3
    capsys.readouterr()
    assert _job.main(pack.JOB, [str(table), "input.max_bad_fraction=0.5"]) == 0
    assert "done already" in capsys.readouterr().out
    assert pq.read_table(out / "_quarantine" / "pack.parquet").num_rows == 7


def test_nothing_that_can_be_packed_ends_with_3(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(table), "limits.member_bytes=3", "input.max_bad_fraction=1"]
    assert _job.main(pack.JOB, arguments) == 3
    told = capsys.readouterr().err
    assert "none of 20 samples can be packed" in told
    assert re.search(r"19 +too_large .*\n +see limits.member_bytes", told)
    rows = pq.read_table(tmp_path / "out/_quarantine/pack.parquet").to_pylist()
    assert [row["setting"] for row in rows].count("limits.member_bytes") == 19
    assert len(rows) == 20
    assert not list((tmp_path / "out").glob("*.tar"))


def test_it_ends_with_what_it_packed(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = (tmp_path / "table.csv").read_text()
    (tmp_path / "table.csv").write_text(f"{rows}\nrare,p1.png,,c\n")
    assert _job.main(pack.JOB, [str(table), "pack.split={train: 0.5, val: 0.5, test: 0}"]) == 0
    told = capsys.readouterr().out
    assert "note: the split test is empty" in told
    assert re.search(r"note: the split (train|val) lacks 1 of 3 classes: c\n", told + "\n")
    report = json.loads((tmp_path / "out/summary.json").read_text())["report"]
    splits = report["splits"]
    assert sum(split["samples"] for split in splits.values()) == 20
    assert sum(split["modalities"].get("text", 0) for split in splits.values()) == 19
    classes = sum((Counter(split["classes"]) for split in splits.values()), Counter())
    assert classes == {"a": 10, "b": 9, "c": 1}


def test_every_setting_says_what_it_is() -> None:
    fields = PackConfig.model_fields.items()
    assert not [name for name, field in fields if not field.description]


@pytest.mark.parametrize(
    ("override", "code", "words"),
    [
        ("pack.source=/nowhere", 2, "the source does not exist"),
        ("pack.output=/proc/x", 1, "/proc/x"),
        ("pack=null", 2, "there is nothing to pack"),
    ],
)
def test_pack_errors_are_one_line(
    table: Path, capsys: pytest.CaptureFixture[str], override: str, code: int, words: str
) -> None:
    assert _job.main(pack.JOB, [str(table), override]) == code
    lines = [line for line in capsys.readouterr().err.splitlines() if "Error: " in line]
    assert len(lines) == 1
    assert words in lines[0]
