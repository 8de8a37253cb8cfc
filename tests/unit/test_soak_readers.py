"""The reader that watches killed jobs sees what is wrong, and results count for the code that was measured."""

import json
import subprocess
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.soak.readers import Poller, Rows, read_output
from bench.soak.results import WRONG, Measured, Results


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


def git(project: Path, *words: str) -> None:
    name = ("-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run(["git", "-C", str(project), *name, *words], check=True, capture_output=True)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with a line of code."""
    (tmp_path / "project" / "pipeline").mkdir(parents=True)
    (tmp_path / "project" / "pipeline" / "code.py").write_text("one = 1\n")
    git(tmp_path, "init", "project")
    git(tmp_path / "project", "add", ".")
    git(tmp_path / "project", "commit", "-m", "one")
    return tmp_path / "project"


def trial(number: int, **wrong: object) -> dict[str, object]:
    return (
        {"trial": number, "kind": "driver", "killed_exit_code": -9}
        | dict.fromkeys(WRONG, 0)
        | wrong
    )


@pytest.mark.parametrize("change", ["commit", "edit", "new file", "seed"])
def test_results_of_other_code_are_named_and_not_counted(
    project: Path, tmp_path: Path, change: str
) -> None:
    path = tmp_path / "soak.jsonl"
    before = Results(path, Measured.of(project, seed=1))
    before.add(trial(0))
    before.add(trial(1, lost=3))
    if change == "commit":
        git(project, "commit", "--allow-empty", "-m", "two")
    elif change == "edit":
        (project / "pipeline" / "code.py").write_text("one = 2\n")
    elif change == "new file":
        (project / "pipeline" / "more.py").write_text("two = 2\n")
    after = Results(path, Measured.of(project, seed=2 if change == "seed" else 1))
    assert after.trials == [], "it starts anew"
    assert after.verdict() == [
        f"not counted, of {before.measured}: 2 kills, 1 went wrong: [1]",
        f"of {after.measured}: 0 kills, 0 went wrong",
    ]
    after.add(trial(0))
    assert Results(path, after.measured).trials == [trial(0)]


def test_a_soak_of_the_same_code_goes_on(project: Path, tmp_path: Path) -> None:
    path = tmp_path / "soak.jsonl"
    (project / "pipeline" / "code.py").write_text("one = 2\n")
    Results(path, Measured.of(project, seed=1)).add(trial(0))
    (project / "README.md").write_text("no code")
    again = Results(path, Measured.of(project, seed=1))
    again.add(trial(1))
    assert [found["trial"] for found in again.trials] == [0, 1]
    heads = [line for line in path.read_text().splitlines() if '"trial"' not in line]
    assert len(heads) == 1
    assert json.loads(heads[0])["changes"]
