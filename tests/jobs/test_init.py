"""A starter configuration is one that the other jobs accept, and says what was guessed."""

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.tones import make_samples, png, write_tar
from support.vectors import npy, wave

from jobs import _job, init, pack
from pipeline.config import Config, load
from pipeline.modalities.audio import AudioConfig
from pipeline.modalities.image import ImageConfig
from pipeline.modalities.vector import VectorConfig
from pipeline.sample import Sample
from pipeline.shards.planning.plan import expand, plan
from pipeline.shards.reading.reader import read_part


def start(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Config, str]:
    """The configuration that is written for a source, and what is said of it."""
    to = tmp_path / "start.yaml"
    assert init.main([str(source), "--to", str(to), "--data", str(tmp_path / "shards")]) == 0
    return load(to), capsys.readouterr().out


def test_shards(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("birds-train-0", "birds-train-1", "birds-val-0", "birds-test-0"):
        write_tar(tmp_path / "data" / f"{name}.tar", make_samples(30, seed=len(name)))
    config, said = start(tmp_path / "data", tmp_path, capsys)
    assert config.run == "runs/birds"
    shards = {split: expand(getattr(config.input, split)) for split in ("train", "val", "test")}
    assert {split: len(found) for split, found in shards.items()} == {
        "train": 2,
        "val": 1,
        "test": 1,
    }
    assert config.input.metadata == ("json",)
    modalities = config.modalities.by_name()
    assert {name: each.fields for name, each in modalities.items()} == {
        "image": ("png",), "text": ("txt",), "audio": ("wav",),
    }  # fmt: skip
    assert isinstance(modalities["image"], ImageConfig)
    assert modalities["image"].size == 32, "the images are small"
    assert isinstance(modalities["audio"], AudioConfig)
    assert modalities["audio"].max_seconds <= 1, "the sounds are short"
    assert config.require_objective().label == "cls"
    assert "next: python -m jobs.lint" in said


def test_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "photos").mkdir()
    rows = []
    for number in range(24):
        (tmp_path / "photos" / f"{number}.png").write_bytes(png())
        rows.append(
            {
                "Id": f"b{number}",
                "Photo": f"photos/{number}.png",
                "What": f"a bird, the {number}th on the wire",
                "Species": ("tit", "finch")[number % 2],
                "Grams": 7.25 + number,
            }
        )
    with (tmp_path / "t.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    config, said = start(tmp_path / "t.csv", tmp_path, capsys)
    assert config.pack is not None
    assert config.pack.columns == {"png": "Photo", "txt": "What", "cls": "Species"}
    assert config.pack.key == "Id"
    assert "the column Grams is not packed" in said
    assert "next: python -m jobs.pack" in said

    assert _job.main(pack.JOB, [str(tmp_path / "start.yaml")]) == 0
    shards = [
        shard
        for split in ("train", "val", "test")
        for shard in expand(getattr(config.input, split))
    ]
    samples = [sample for part in plan(shards) for sample in read_part(part)]
    assert len(samples) == 24


def test_a_table_with_files_inside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = {
        "image": [{"bytes": png(), "path": None}] * 12,
        "label": [number % 3 for number in range(12)],
    }
    pq.write_table(pa.table(table), tmp_path / "t.parquet")
    config, _ = start(tmp_path / "t.parquet", tmp_path, capsys)
    assert config.pack is not None
    assert config.pack.columns == {"png": "image", "cls": "label"}


def test_of_two_columns_that_look_like_labels_one_is_the_label_and_the_other_no_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Shown to the model, the other might give the label away."""
    rows = [
        {
            "genus": ("parus", "corvus")[number % 2],
            "text": f"a bird, the {number}th on the wire",
            "Label": ("great tit", "jackdaw")[number % 2],
            "y": 0.5 + number,
        }
        for number in range(24)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    config, said = start(tmp_path / "t.parquet", tmp_path, capsys)
    assert config.pack is not None
    assert config.pack.columns == {
        "cls": "Label", "txt": "text", "genus.cls": "genus", "y.cls": "y",
    }  # fmt: skip
    assert config.require_objective().label == "cls", "the column that is called like a label"
    assert {name: each.fields for name, each in config.modalities.by_name().items()} == {
        "text": ("txt",)
    }
    assert set(config.input.metadata) == {"genus.cls", "y.cls"}
    comments = (
        line[2:] for line in (tmp_path / "start.yaml").read_text().splitlines() if "#" in line
    )
    written = " ".join(comments)
    for word in (
        "genus.cls looks like a label too, and cls was taken",
        "objective.label=genus.cls learns it instead",
        "among modalities.text.fields it would be an input",
        "y.cls holds a number of each sample's own",
        "target: y.cls} estimates it",
    ):
        assert word in said
        assert word in written

    assert _job.main(pack.JOB, [str(tmp_path / "start.yaml")]) == 0
    [part, *_] = plan(expand(config.input.train or ""))
    sample = next(item for item in read_part(part) if isinstance(item, Sample))
    assert {"genus.cls", "y.cls"} < sample.fields.keys()


def test_a_column_of_splits_splits_and_other_notes_on_rows_are_no_label(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {
            "Usage": ("Train", "dev", "test")[number % 3],
            "fold": "ab"[number % 2],
            "text": f"a bird, the {number}th on the wire",
            "genus": ("parus", "corvus")[number % 2],
        }
        for number in range(24)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    config, said = start(tmp_path / "t.parquet", tmp_path, capsys)
    assert config.pack is not None
    assert config.pack.split_column == "Usage"
    assert config.pack.columns == {"fold.cls": "fold", "txt": "text", "cls": "genus"}
    assert config.require_objective().label == "cls"
    assert config.input.metadata == ("fold.cls",)
    assert "fold.cls looks like a note on where a sample is from" in said
    assert _job.main(pack.JOB, [str(tmp_path / "start.yaml")]) == 0
    for split in ("train", "val", "test"):
        shards = expand(getattr(config.input, split))
        samples = [sample for part in plan(shards) for sample in read_part(part)]
        assert len(samples) == 8


def test_a_field_of_splits_is_no_label(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither by its name nor by its values, beside the samples or in their JSON."""
    words = ("train", "val", "test")
    samples = {
        f"s{n}": {
            "png": png(),
            "part": words[n % 3].encode(),
            "subset": b"ab"[n % 2 :][:1],
            "json": json.dumps({"n": n, "split": words[n % 3], "kind": words[n % 3]}).encode(),
        }
        for n in range(12)
    }
    write_tar(tmp_path / "x.tar", samples)
    config, said = start(tmp_path / "x.tar", tmp_path, capsys)
    assert config.objective is None
    assert "nothing looks like a label" in said
    assert set(config.input.metadata) == {"json", "part", "subset"}
    assert set(config.modalities.by_name()) == {"image"}
    for fields in samples.values():
        fields["genus"] = b"parus" if fields["subset"] == b"a" else b"corvus"
    write_tar(tmp_path / "x.tar", samples)
    (tmp_path / "start.yaml").unlink()
    config, _ = start(tmp_path / "x.tar", tmp_path, capsys)
    assert config.require_objective().label == "genus"


def test_columns_whose_names_have_no_latin_letters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"文": f"the {n}th text", "种": "ab"[n % 2], "属": "cd"[n % 2], "科": "ef"[n % 2]}
        for n in range(12)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    config, _ = start(tmp_path / "t.parquet", tmp_path, capsys)
    assert config.pack is not None
    assert config.pack.columns == {
        "txt": "文", "cls": "种", "column2.cls": "属", "column3.cls": "科",
    }  # fmt: skip


def test_folders_that_are_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(12):
        folder = tmp_path / "pets" / ("cat", "dog")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.png").write_bytes(png())
    config, said = start(tmp_path / "pets", tmp_path, capsys)
    assert config.pack is not None
    assert config.pack.label == "folder"
    assert config.require_objective().label == "cls"
    assert "names are taken as labels" in said


def test_a_label_inside_json_and_one_that_is_a_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = {
        f"s{n}": {
            "png": png(),
            "json": json.dumps({"note": f"n{n}", "class": "ab"[n % 2]}).encode(),
        }
        for n in range(9)
    }
    write_tar(tmp_path / "x.tar", samples)
    config, _ = start(tmp_path / "x.tar", tmp_path, capsys)
    assert config.require_objective().label == "json.class"
    for number, fields in enumerate(samples.values()):
        fields.pop("json")
        fields["cls"] = f"{number / 7:.3f}".encode()
    write_tar(tmp_path / "y.tar", samples)
    (tmp_path / "start.yaml").unlink()
    config, said = start(tmp_path / "y.tar", tmp_path, capsys)
    assert config.objective is None
    assert "a number of each sample's own" in said
    assert "text" not in config.modalities.by_name(), "a target is no input"


def test_nothing_is_replaced_and_nothing_is_made_of_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tar(tmp_path / "x.tar", make_samples(6, seed=1))
    to = tmp_path / "mine.yaml"
    to.write_text("mine")
    assert init.main([str(tmp_path / "x.tar"), "--to", str(to)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert to.read_text() == "mine"
    assert init.main([str(tmp_path / "x.tar"), "--to", str(to), "--overwrite"]) == 0
    assert load(to).input.train == str(tmp_path / "x.tar")
    for source in ("nowhere", str(tmp_path / "empty")):
        (tmp_path / "empty").mkdir(exist_ok=True)
        assert init.main([source, "--to", str(tmp_path / "z.yaml")]) == 2
        assert not (tmp_path / "z.yaml").exists()


def test_vectors_are_found_by_their_content_with_their_shape(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = {f"s{i}": {"npy": npy(wave(3, i / 9)), "cls": b"ab"[i % 2 :][:1]} for i in range(12)}
    write_tar(tmp_path / "data" / "acc-train-0.tar", samples)
    config, _ = start(tmp_path / "data", tmp_path, capsys)
    [section] = config.modalities.by_name().values()
    assert isinstance(section, VectorConfig)
    assert section.fields == ("npy",)
    assert section.shape == (64, 2)
