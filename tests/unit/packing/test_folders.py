"""Folders as people have them: by class, by modality, and with what desktops leave behind."""

import pytest
from packed import pack, samples

from pipeline.errors import ConfigError
from pipeline.modalities import ModalitiesConfig
from pipeline.packing.reading import Reading


def make(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return folder


def notes_with(result, word):
    return [note for note in result.notes if word in note]


BY_MODALITY = [f"{name}/{i}.{ending}" for i in range(4)
               for name, ending in (("images", "jpg"), ("audio", "wav"), ("captions", "txt"))]  # fmt: skip


def test_folders_of_one_modality_each_are_joined(tmp_path):
    source = make(tmp_path / "in", *BY_MODALITY, "images/4.png")
    result = pack(source, tmp_path / "out")
    read = samples(tmp_path / "out")
    assert read.keys() == {"0", "1", "2", "3", "4"}
    assert read["2"] == {"jpg": b"images/2.jpg", "wav": b"audio/2.wav", "txt": b"captions/2.txt"}
    assert read["4"] == {"png": b"images/4.png"}
    [note] = notes_with(result, "joined")
    assert "pack.layout=flat" in note
    result = pack(source, tmp_path / "flat", layout="flat")
    assert len(samples(tmp_path / "flat")) == 13
    assert not notes_with(result, "joined")


@pytest.mark.parametrize(
    "names",
    [
        # Classes, whose files are numbered alike; in different formats too.
        ["cat/1.jpg", "cat/2.jpg", "dog/1.jpg", "dog/2.jpg"],
        ["cat/1.jpg", "cat/2.jpg", "dog/1.png", "dog/2.png"],
        # One modality each, and hardly a name in common.
        ["images/1.jpg", "images/2.jpg", "captions/8.txt", "captions/9.txt"],
        # Samples side by side already.
        ["a/1.jpg", "a/1.txt", "b/1.jpg", "b/1.txt"],
        # Something beside the folders.
        ["images/1.jpg", "captions/1.txt", "2.txt"],
    ],
)
def test_other_folders_are_not_joined(tmp_path, names):
    pack(make(tmp_path / "in", *names), tmp_path / "out")
    assert samples(tmp_path / "out").keys() == {name.partition(".")[0] for name in names}


def test_a_joined_layout_can_be_asked_for(tmp_path):
    source = make(tmp_path / "in", "images/cat/1.jpg", "captions/cat/1.txt", "captions/dog/2.txt")
    pack(source, tmp_path / "out", layout="joined", label="folder")
    assert samples(tmp_path / "out") == {
        "cat/1": {"jpg": b"images/cat/1.jpg", "txt": b"captions/cat/1.txt", "cls": b"cat"},
        "dog/2": {"txt": b"captions/dog/2.txt", "cls": b"dog"},
    }
    with pytest.raises(ConfigError, match=r"two files .*a/1\.jpg, .*b/1\.jpg .*pack.layout=flat"):
        pack(make(tmp_path / "two", "a/1.jpg", "b/1.jpg"), tmp_path / "no", layout="joined")


def test_what_desktops_and_tables_leave_is_no_sample(tmp_path):
    leftovers = ["Thumbs.db", "a/.DS_Store", "a/desktop.ini", "a/Thumbs.db"]
    tables = ["metadata.csv", "a/list.JSONL", "x.parquet", "b.xlsx"]
    source = make(tmp_path / "in", *leftovers, *tables, "a/1.jpg", "a/2.jpg")
    result = pack(source, tmp_path / "out")
    assert samples(tmp_path / "out").keys() == {"a/1", "a/2"}
    assert (result.samples_read, result.quarantined) == (2, [])
    [note] = notes_with(result, "desktop")
    assert "Thumbs.db" in note
    [note] = notes_with(result, "tables")
    assert note.endswith(" and 1 more")
    assert "set pack.source to it" in note
    reading = Reading(ModalitiesConfig.model_validate({"image": {}}), metadata=("csv",))
    make(source, "a/1.csv")
    pack(source, tmp_path / "meta", reading=reading)
    assert samples(tmp_path / "meta")["a/1"]["csv"] == b"a/1.csv"


def test_a_version_in_a_name_is_told_or_kept_in_the_key(tmp_path):
    source = make(tmp_path / "in", "final.v2.jpg", "other.jpg")
    result = pack(source, tmp_path / "out")
    assert [row.reason for row in result.quarantined] == ["no_modality"]
    [note] = notes_with(result, "v2.jpg")
    assert "modalities.image.fields" in note
    assert "pack.extension=last_dot" in note
    result = pack(source, tmp_path / "last", extension="last_dot")
    assert samples(tmp_path / "last") == {
        "final%2Ev2": {"jpg": b"final.v2.jpg"},
        "other": {"jpg": b"other.jpg"},
    }
    assert not notes_with(result, "v2")


def test_odd_names_of_files_are_keys(tmp_path):
    names = ["a\\b.jpg", "tab\tin.jpg", "a b/ü.jpg", "__meta__/1.jpg", "50%41.jpg"]
    result = pack(make(tmp_path / "in", *names), tmp_path / "out")
    read = samples(tmp_path / "out")
    assert {fields["jpg"].decode() for fields in read.values()} == set(names)
    assert not result.quarantined
    (tmp_path / "in" / "k\udce9.jpg").write_bytes(b"not UTF-8")
    result = pack(tmp_path / "in", tmp_path / "out")
    assert [(row.key, row.reason) for row in result.quarantined] == [("k\\udce9", "bad_key")]
    assert len(samples(tmp_path / "out")) == 5


def test_folders_of_splits_are_told(tmp_path):
    source = make(tmp_path / "in", "train/cat/1.jpg", "train/cat/2.jpg", "test/cat/1.jpg")
    result = pack(source, tmp_path / "out")
    [note] = notes_with(result, "look like splits")
    assert "pack.split='{test: 1}'" in note
    pack(source / "test", tmp_path / "test", split={"test": 1}, name="test")
    assert samples(tmp_path / "test", "test").keys() == {"cat/1"}
