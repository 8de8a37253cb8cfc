"""What jobs do with bad samples: where they end, how they are counted, and how they come back."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.tones import make_samples, png, write_tar
from test_jobs import rows, run, summary

from jobs import infer, preprocess, train
from pipeline.sample import REASONS


def quarantine(folder: Path) -> list[dict]:
    files = sorted((folder / "_quarantine").glob("*.parquet"))
    found = [row for file in files for row in pq.read_table(file).to_pylist()]
    return sorted(found, key=lambda row: (row["shard"], row["ordinal"], row["field"] or ""))


def test_quarantined_samples_come_back_after_a_fix(
    tone_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    large = make_samples(20, seed=3)
    for key in ("s0003", "s0007", "s0019"):
        large[key]["png"] = png((10, 200, 30), size=40)
    large["s0005"]["png"] = b"no picture"
    write_tar(tmp_path / "new" / "a-0.tar", large)
    write_tar(tmp_path / "new" / "a-1.tar", make_samples(5, seed=4))
    given = (f"infer.input={tmp_path}/new/a-*.tar",)
    assert run(train.JOB, tone_config, "train.epochs=1") == 0

    assert run(infer.JOB, tone_config, *given, f"infer.output={tmp_path}/whole") == 0
    capsys.readouterr()
    strict = (*given, "modalities.image.max_megapixels=0.001")
    assert run(infer.JOB, tone_config, *strict) == 3, "too much bad data, and the good is committed"
    said = capsys.readouterr().err
    assert "3  too_large" in said
    assert "1  bad_image" in said
    home = tmp_path / "run" / "embeddings"
    assert summary(home)["samples_quarantined"] == 4
    assert summary(home)["reasons"] == {"bad_image": 1, "too_large": 3}
    before = rows(home)
    assert len(before) == 21

    again = (*given, "infer.retry_quarantined=true", "input.max_bad_fraction=1")
    assert run(infer.JOB, tone_config, *again) == 0
    done = summary(home)
    assert (done["samples_read"], done["samples_written"], done["parts_done"]) == (4, 3, 1)
    assert rows(home) == rows(tmp_path / "whole")
    assert [row["key"] for row in quarantine(home)] == ["s0005"]
    manifest = json.loads((home / "_manifest.json").read_text())
    assert manifest["num_rows"] == 24
    assert {f"_quarantine/{file.name}" for file in (home / "_quarantine").iterdir()} == set(
        manifest["quarantine"]
    )

    assert run(infer.JOB, tone_config, *again) == 0, "a second time changes nothing"
    assert rows(home) == rows(tmp_path / "whole")
    assert run(infer.JOB, tone_config, *given) == 0
    assert summary(home)["parts_skipped"] == 2


def test_a_bad_field_is_dropped_and_recorded(tone_config: Path, tmp_path: Path) -> None:
    samples = make_samples(6, seed=3)
    samples["s0001"]["png"] = b"no picture"
    samples["s0002"] |= {"png": b"", "wav": b"RIFF", "txt": b"\xff\xfe\xff"}
    samples["s0004"]["wav"] = samples["s0004"]["wav"][:-100]
    write_tar(tmp_path / "x.tar", samples)
    given = (f"preprocess.input={tmp_path}/x.tar", f"preprocess.output={tmp_path}/out")
    options = ("input.on_bad_field=drop", "quarantine.keep_bytes=true", "input.max_bad_fraction=1")
    assert run(preprocess.JOB, tone_config, *given, *options) == 0
    found = {row["key"]: row for row in rows(tmp_path / "out")}
    assert sorted(found) == ["s0000", "s0001", "s0003", "s0004", "s0005"]
    assert found["s0001"]["modalities"] == ["text", "audio"]
    assert found["s0001"]["image"] is None
    assert found["s0004"]["modalities"] == ["image", "text"]
    bad = [
        (row["key"], row["field"], row["outcome"], row["bytes"])
        for row in quarantine(tmp_path / "out")
    ]
    assert bad == [
        ("s0001", "png", "field dropped", b"no picture"),
        ("s0002", "png", "quarantined", b""),
        ("s0004", "wav", "field dropped", samples["s0004"]["wav"]),
    ]
    counts = summary(tmp_path / "out")
    assert (counts["samples_read"], counts["samples_written"], counts["samples_quarantined"]) == (
        6, 5, 1,
    )  # fmt: skip
    assert set(counts["reasons"]) <= set(REASONS)
