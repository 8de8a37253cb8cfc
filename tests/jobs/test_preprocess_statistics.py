"""stats.json of preprocess: the same bytes whatever ran, where and when."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.tones import CLASSES, make_samples, write_tar

from jobs import _job, preprocess


def run(config: Path, output: Path, *overrides: str) -> bytes:
    assert _job.main(preprocess.JOB, [str(config), f"preprocess.output={output}", *overrides]) == 0
    return (output / "stats.json").read_bytes()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    for index in range(4):
        samples = make_samples(30, seed=index)
        samples["s0005"]["png"] = b"broken"
        del samples["s0007"]["cls"]
        write_tar(folder / f"x-{index}.tar", samples)
    return folder


def test_the_same_bytes_with_and_without_parquet_and_in_pieces(
    tone_config: Path, tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = ("input.max_bad_fraction=0.5", f"preprocess.input={data}/x-*.tar")
    whole = run(tone_config, tmp_path / "a", *both)
    assert run(tone_config, tmp_path / "b", *both, "sink.kind=none") == whole
    first = run(tone_config, tmp_path / "c", *both[:1], f"preprocess.input={data}/x-{{1,3}}.tar")
    assert first != whole
    capsys.readouterr()
    assert run(tone_config, tmp_path / "c", *both, "--json") == whole
    counts = json.loads(capsys.readouterr().out)
    assert (counts["parts_done"], counts["parts_skipped"]) == (2, 2)
    assert counts["outputs"]["statistics"] == f"{tmp_path}/c/stats.json"
    (tmp_path / "c" / "stats.json").unlink()
    assert run(tone_config, tmp_path / "c", *both) == whole, "nothing done again, all of it told"

    found = json.loads(whole)
    assert found["samples"] == 4 * 29
    assert found["quarantined"] == {"bad_image": 4}
    assert set(found["labels"]["counts"]) == set(CLASSES)
    assert found["labels"]["unlabelled"] == 4
    files = list((tmp_path / "a").glob("part-*.parquet"))
    rows = [row for file in files for row in pq.read_table(file).to_pylist()]
    assert sum(row["label"] is None for row in rows) == 4
    assert {row["label"] for row in rows} == {None, *CLASSES}
    assert found["modalities"]["image"]["present"] == sum(r["image"] is not None for r in rows)
    manifest = (tmp_path / "a" / "_manifest.json").read_text()
    assert "squares" not in manifest, "sums would make it grow"


def test_without_an_objective_there_is_no_label(
    tone_config: Path, tmp_path: Path, data: Path
) -> None:
    run(tone_config, tmp_path / "a", "objective=null", f"preprocess.input={data}/x-0.tar",
        "input.max_bad_fraction=0.5")  # fmt: skip
    [file] = (tmp_path / "a").glob("part-*.parquet")
    assert "label" not in pq.read_schema(file).names
    assert "labels" not in json.loads((tmp_path / "a" / "stats.json").read_text())


def test_metadata_that_would_be_a_second_column_is_refused(
    tone_config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _job.main(preprocess.JOB, [str(tone_config), "input.metadata=[label]"]) == 2
    assert "label would be a second column" in capsys.readouterr().err
