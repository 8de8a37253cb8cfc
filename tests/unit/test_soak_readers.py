"""The reader that watches killed jobs sees what is wrong."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.soak.readers import Poller, Rows, read_output


def publish(output: Path, *files: list[dict[str, object]]) -> Rows:
    """An output of these rows, a file for each list, without bad samples."""
    (output / "_quarantine").mkdir(parents=True, exist_ok=True)
    names = [f"part-{index}.parquet" for index in range(len(files))]
    for name, rows in zip(names, files, strict=True):
        pq.write_table(pa.Table.from_pylist(rows), output / name)
    manifest = {"files": [{"name": name} for name in names], "quarantine": []}
    (output / "_manifest.json").write_text(json.dumps(manifest))
    return read_output(output)


def row(key: str, value: float = 0.5) -> dict[str, object]:
    return {"shard": "a.tar", "key": key, "embedding": [value]}


def test_every_way_in_which_rows_may_differ_is_counted(tmp_path: Path) -> None:
    right = publish(tmp_path / "right", [row("a"), row("b")], [row("c")])
    same = publish(tmp_path / "same", [row("c"), row("b"), row("a")])
    assert set(right.difference(same).values()) == {0}
    assert right.digest() == same.digest(), "whatever the files and the order"
    nearly = 0.5 + 2**-52
    wrong = publish(tmp_path / "wrong", [row("a", nearly), row("a", nearly), row("c"), row("d")])
    assert right.difference(wrong) == {
        "lost": 1,
        "doubled": 1,
        "different": 1,
        "foreign": 1,
        "quarantine": 0,
    }


@pytest.mark.parametrize("place", [".", "_parts", "_quarantine"])
def test_a_file_that_is_not_whole_is_seen(tmp_path: Path, place: str) -> None:
    right = publish(tmp_path, [row("a")])
    poller = Poller(tmp_path, frozenset({right.digest()}))
    poller.look()
    assert poller.problems == []
    data = (tmp_path / "part-0.parquet").read_bytes()
    (tmp_path / place).mkdir(exist_ok=True)
    (tmp_path / place / "part-1.parquet").write_bytes(data[:-20])
    poller.look()
    assert len(poller.problems) == 1
    assert "part-1.parquet is visible and not whole" in poller.problems[0]


def test_a_snapshot_that_is_not_one_of_those_expected_is_seen(tmp_path: Path) -> None:
    right = publish(tmp_path, [row("a")])
    poller = Poller(tmp_path, frozenset({right.digest()}))
    poller.look()
    publish(tmp_path, [row("a")], [row("a")])
    poller.look()
    assert ["no unkilled job wrote" in problem for problem in poller.problems] == [True]
    assert len(poller.read) == 2


def test_a_snapshot_whose_files_are_gone_is_seen(tmp_path: Path) -> None:
    right = publish(tmp_path, [row("a")])
    poller = Poller(tmp_path, frozenset({right.digest()}))
    poller.look()
    (tmp_path / "part-0.parquet").unlink()
    poller.look()
    assert poller.problems == ["the manifest names part-0.parquet, which is not there"]
    (tmp_path / "_manifest.json").unlink()
    poller.look()
    assert poller.problems[-1] == "the manifest is gone"
