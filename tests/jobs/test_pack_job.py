"""The pack job, from a table to shards that the other jobs read."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tones import png

from jobs import _job, pack


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
    assert "table.csv" in row["shard"]
    before = {file: file.read_bytes() for file in out.glob("*.tar")}
    assert _job.main(pack.JOB, [str(table)]) == 0
    assert {file: file.read_bytes() for file in out.glob("*.tar")} == before


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
