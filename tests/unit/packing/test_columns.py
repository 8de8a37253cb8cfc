"""Columns of values are told from columns of paths, and what looks like a mistake is named."""

import csv
import json

import pytest
from packed import pack, samples, split_of_keys

from pipeline.errors import ConfigError
from pipeline.modalities import ModalitiesConfig
from pipeline.packing.reading import Reading


@pytest.fixture
def folder(tmp_path):
    """Three samples with a picture, a caption in a file, and columns of all kinds."""
    folder = tmp_path / "in"
    rows = []
    for number in range(3):
        for kind, text in (("img", "picture"), ("cap", "caption"), ("meta", '{"n": 1}')):
            path = (
                folder / kind / f"{number}.{ {'img': 'jpg', 'cap': 'txt', 'meta': 'json'}[kind] }"
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text} {number}" if kind != "meta" else text)
        rows.append(
            {
                "id": f"k{number}",
                "photo": f"img/{number}.jpg",
                "caption": f"cap/{number}.txt",
                "meta": f"meta/{number}.json",
                "score": number / 2,
                "place": "Rio de Janeiro.",
            }
        )
    with (folder / "t.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folder


def test_columns_are_told_by_looking(folder, tmp_path):
    columns = {"jpg": "photo", "score": "score", "place": "place", "thumb": "photo", "json": "meta"}
    result = pack(folder / "t.csv", tmp_path / "out", columns=columns, key="id")
    assert samples(tmp_path / "out")["k1"] == {
        "jpg": b"picture 1",
        "score": b"0.5",
        "place": b"Rio de Janeiro.",
        "thumb": b"picture 1",
        "json": b'{"n": 1}',
    }
    assert not result.quarantined


def test_values_and_prefixes_say_otherwise(folder, tmp_path):
    columns = {"jpg": "photo", "thumb": "photo", "place": "value:photo", "json": "path:meta"}
    pack(folder / "t.csv", tmp_path / "out", columns=columns, key="id", values=["thumb"])
    fields = samples(tmp_path / "out")["k1"]
    assert fields["thumb"] == fields["place"] == b"img/1.jpg"
    assert fields["json"] == b'{"n": 1}'
    pack(folder / "t.csv", tmp_path / "all", columns=columns, key="id", values=["photo"])
    assert samples(tmp_path / "all")["k1"]["jpg"] == b"img/1.jpg"


def test_a_text_column_of_paths_is_named_or_read(folder, tmp_path):
    columns = {"txt": "caption", "jpg": "photo"}
    result = pack(folder / "t.csv", tmp_path / "out", columns=columns, key="id")
    [note] = [note for note in result.notes if "caption" in note]
    assert "pack.text_from_file=true" in note
    assert samples(tmp_path / "out")["k1"]["txt"] == b"cap/1.txt"
    result = pack(
        folder / "t.csv", tmp_path / "read", columns=columns, key="id", text_from_file=True
    )
    assert samples(tmp_path / "read")["k1"]["txt"] == b"caption 1"
    assert not [note for note in result.notes if "caption" in note]


def test_a_column_of_paths_to_nothing_is_no_value(folder, tmp_path):
    (folder / "t.jsonl").write_text(
        '{"x": "gone/1.bin", "t": "a"}\n{"x": "gone/2.bin", "t": "b"}\n{"t": "c"}\n'
    )
    result = pack(folder / "t.jsonl", tmp_path / "out", columns={"dat": "x", "txt": "t"})
    assert [row.reason for row in result.quarantined] == ["missing_file"] * 2


def test_fields_that_nothing_reads_are_named_with_the_mend(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"\xff\xd8\xff\xe0 a JPEG")
    (tmp_path / "t.jsonl").write_text('{"p": "a.bin", "t": "one", "x": "1", "s": "two"}\n')
    columns = {"image": "p", "txt": "t", "cls": "x", "remark": "s"}
    result = pack(tmp_path / "t.jsonl", tmp_path / "out", columns=columns)
    notes = {name: note for note in result.notes for name in columns if f"field {name}:" in note}
    assert notes.keys() == {"image", "remark"}
    assert "call it jpg" in notes["image"]
    assert "modalities.image.fields" in notes["image"]
    assert "call it txt" in notes["remark"]
    assert "input.metadata" in notes["remark"]
    with pytest.raises(
        ConfigError, match=r"no modality reads any of the fields image, text, .*jpg"
    ):
        pack(tmp_path / "t.jsonl", tmp_path / "none", columns={"image": "p", "text": "t"})
    reading = Reading(
        ModalitiesConfig.model_validate({"image": {"fields": ["image"]}}), metadata=("remark",)
    )
    result = pack(tmp_path / "t.jsonl", tmp_path / "read", columns=columns, reading=reading)
    [note] = [note for note in result.notes if "no modality reads" in note]
    assert "field txt:" in note


def test_whole_numbers_of_a_table_tool(tmp_path):
    """A column of whole numbers, one of which is missing, comes out of table tools as 1.0, 2.0."""
    (tmp_path / "t.csv").write_text("id,t,c,x\n1.0,a,3.0,1.0\n2.0,b,,2.5\n10.0,c,4.0,\n")
    columns = {"txt": "t", "cls": "c", "x": "x"}
    pack(tmp_path / "t.csv", tmp_path / "out", columns=columns, key="id")
    read = samples(tmp_path / "out")
    assert read.keys() == {"1", "2", "10"}
    assert read["1"] == {"txt": b"a", "cls": b"3", "x": b"1.0"}
    # One that is no whole number, and none of them are.
    pack(tmp_path / "t.csv", tmp_path / "x", columns=columns | {"cls": "x"}, key="t")
    assert samples(tmp_path / "x")["a"]["cls"] == b"1.0"


@pytest.mark.parametrize(
    "name", ["../secret.txt", "{absolute}", "link.txt", "deep/link/secret.txt"]
)
def test_files_outside_the_folder_are_asked_for(tmp_path, name):
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "deep/link").symlink_to(tmp_path)
    (folder / "inside.txt").write_text("inside")
    name = name.format(absolute=tmp_path / "secret.txt")
    rows = [{"t": name}, {"t": "deep/../inside.txt"}, {"t": str(folder / "inside.txt")}]
    (folder / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {"columns": {"txt": "t"}, "text_from_file": True}
    result = pack(folder / "t.jsonl", tmp_path / "out", **settings)
    [row] = result.quarantined
    assert (row.reason, row.ordinal) == ("outside_source", 0)
    assert row.setting == "pack.allow_outside"
    assert {fields["txt"] for fields in samples(tmp_path / "out").values()} == {b"inside"}
    pack(folder / "t.jsonl", tmp_path / "all", **settings, allow_outside=True)
    assert samples(tmp_path / "all")["00000000"]["txt"] == b"secret"


def test_paths_of_another_system(tmp_path):
    (tmp_path / "img").mkdir()
    (tmp_path / "img/a b.jpg").write_bytes(b"1")
    (tmp_path / "t.csv").write_text("p\nimg\\a b.jpg\n")
    pack(tmp_path / "t.csv", tmp_path / "out", columns={"jpg": "p"})
    assert samples(tmp_path / "out")["00000000"] == {"jpg": b"1"}


def test_a_column_names_the_splits(tmp_path):
    lines = ["id,t,part", "a,x,train", "b,x,validation", "c,x,", "d,x,a split", "e,x,train"]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    settings = {"columns": {"txt": "t"}, "key": "id", "split_column": "part"}
    result = pack(tmp_path / "t.csv", tmp_path / "out", **settings)
    assert split_of_keys(tmp_path / "out") == {"a": "train", "b": "validation", "e": "train"}
    assert result.samples_per_split == {"train": 2, "validation": 1}
    assert [row.reason for row in result.quarantined] == ["bad_row", "bad_row"]
    for other in ({"stratify": True}, {"split": {"all": 1.0}}, {"group": "t"}):
        with pytest.raises(ConfigError, match="split_column"):
            pack(tmp_path / "t.csv", tmp_path / "no", **settings, **other)


def test_keys_with_dots_and_slashes_are_escaped(tmp_path):
    names = ["v1.2", "a/b", "/abs", "a//b", "../up", "50%", "50%2E", "50.", "._mac", "back\\slash",
             "__MACOSX/a", "a/@eaDir/b", "__url__", ".git/x", "Thumbs.db"]  # fmt: skip
    (tmp_path / "t.jsonl").write_text(
        "".join(json.dumps({"k": name, "t": name}) + "\n" for name in names)
    )
    result = pack(tmp_path / "t.jsonl", tmp_path / "out", columns={"txt": "t"}, key="k")
    assert not result.quarantined
    read = samples(tmp_path / "out")
    assert {fields["txt"].decode() for fields in read.values()} == set(names)
    assert {"v1%2E2", "a/b", "%2Fabs", "50%", "50%252E", "50%2E"} <= read.keys()


def test_paths_count_from_the_table_or_another_folder(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [{"p": f"in/img/{number}.jpg", "t": "x"} for number in range(3)]
    (folder / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = {"jpg": "p", "txt": "t"}
    result = pack(folder / "t.jsonl", tmp_path / "out", columns=columns)
    assert len(result.quarantined) == 3
    assert any("pack.root=." in note for note in result.notes)
    result = pack(folder / "t.jsonl", tmp_path / "out", columns=columns, root=".")
    assert samples(tmp_path / "out")["00000001"]["jpg"] == b"picture 1"
    assert not any("pack.root" in note for note in result.notes)
    with pytest.raises(ConfigError, match="pack.root=gone"):
        pack(folder / "t.jsonl", tmp_path / "no", columns=columns, root="gone")


def test_numbers_in_the_cells_of_a_vector_are_said_to_need_pack_values(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("id,series\n" + "".join(f"k{n},{n}.5 2 -1.25\n" for n in range(3)))
    vector = {"kind": "vector", "fields": ["csv"], "shape": [3], "separator": " "}
    reading = Reading(ModalitiesConfig.model_validate({"six": vector}))
    settings = {"reading": reading, "columns": {"csv": "series"}, "key": "id"}
    result = pack(table, tmp_path / "paths", **settings)
    assert any("pack.values=[series] packs its cells themselves" in note for note in result.notes)
    result = pack(table, tmp_path / "values", **settings, values=["series"])
    assert not any("pack.values" in note for note in result.notes)
    assert samples(tmp_path / "values")["k1"]["csv"] == b"1.5 2 -1.25"
