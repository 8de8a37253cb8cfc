"""A set of shards is never replaced by one that was made from something else, unless that is asked for."""

import json
import os

import pytest
from packed import pack, samples

from pipeline.errors import ConfigError, SinkError
from pipeline.limits import Limits
from pipeline.packing.reading import Reading
from pipeline.shards.writing.writer import ShardSetWriter

COLUMNS = {"txt": "t", "cls": "c"}


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(
        "".join(json.dumps({"t": f"text {i}", "c": "ab"[i % 2]}) + "\n" for i in range(9))
    )
    return path


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("changed", ["source", "columns", "seed", "max_shard_samples"])
def test_another_source_or_setting_is_refused(source, tmp_path, changed):
    out = tmp_path / "out"
    pack(source, out, columns=COLUMNS)
    before = contents(out)
    other = tmp_path / "b.jsonl"
    other.write_text('{"t": "another", "c": "a"}\n')
    settings = {
        "source": {"source": other},
        "columns": {"columns": {"txt": "t"}},
        "seed": {"seed": 1},
        "max_shard_samples": {"max_shard_samples": 2},
    }[changed]
    settings = {"source": source, "columns": COLUMNS} | settings
    with pytest.raises(ConfigError) as caught:
        pack(output=out, **settings)
    words = str(caught.value)
    assert f"pack.{changed}" in words
    assert " was " in words
    assert " and is now " in words
    for way in ("pack.output", "pack.name", "pack.overwrite=true"):
        assert way in words
    assert contents(out) == before
    pack(output=out, name="beside", **settings)
    assert before.items() <= contents(out).items()
    pack(output=out, overwrite=True, **settings)
    assert samples(out) == samples(out, "beside")


def test_shards_of_unknown_origin_are_refused(source, tmp_path):
    out = tmp_path / "out"
    with ShardSetWriter(out, name="data", max_shard_bytes=10**6, max_shard_samples=9) as writer:
        writer.write("train", "k", {"txt": b"mine"})
    with pytest.raises(ConfigError, match=r"nothing .* tells .*data-train-000000.tar.*overwrite"):
        pack(source, out, columns=COLUMNS)
    assert samples(out) == {"k": {"txt": b"mine"}}
    pack(source, out, columns=COLUMNS, overwrite=True)
    assert len(samples(out)) == 9


def test_what_is_done_is_not_done_again(source, tmp_path, monkeypatch):
    out = tmp_path / "out"
    first = pack(source, out, columns=COLUMNS)
    with monkeypatch.context() as patched:
        patched.setattr(ShardSetWriter, "write", None)
        again = pack(source, out, columns=COLUMNS)
    assert again.is_done_before
    assert not first.is_done_before
    assert again.report() == first.report()
    assert again.shards == first.shards


@pytest.mark.parametrize("change", ["row", "file", "limit", "shard"])
def test_what_has_changed_is_done_again(tmp_path, change):
    (tmp_path / "p").mkdir()
    (tmp_path / "p/0.jpg").write_bytes(b"one")
    table = tmp_path / "t.csv"
    table.write_text("i,t\np/0.jpg,one\n")
    out = tmp_path / "out"
    columns = {"jpg": "i", "txt": "t"}
    pack(table, out, columns=columns)
    reading = Reading()
    if change == "row":
        table.write_text("i,t\np/0.jpg,one\np/0.jpg,two\n")
    elif change == "file":
        (tmp_path / "p/0.jpg").write_bytes(b"other")
    elif change == "limit":
        reading = Reading(limits=Limits(member_bytes=2))
    else:
        next(out.glob("*.tar")).unlink()
    result = pack(table, out, columns=columns, reading=reading)
    assert not result.is_done_before
    if change == "limit":
        assert result.reasons == {"too_large": 1}
        return
    read = samples(out)
    assert len(read) == (2 if change == "row" else 1)
    assert read["00000000"]["jpg"] == (b"other" if change == "file" else b"one")
    assert any("has changed" in note for note in result.notes) == (change in ("row", "file"))


@pytest.mark.parametrize("in_place", [0, 2])
@pytest.mark.parametrize("replaced", [True, False])
def test_a_kill_amid_publishing_is_gone_over(source, tmp_path, monkeypatch, in_place, replaced):
    """None or some of a set lie there, and the rerun knows them for its own; over a set that it replaces too."""
    out = tmp_path / "out"
    if replaced:
        pack(source, out, columns={"txt": "t"}, max_shard_samples=2)
    replace, tars = os.replace, []

    def breaks(old, new):
        if str(new).endswith(".tar"):
            tars.append(new)
            if len(tars) > in_place:
                raise OSError(5, "cut off")
        replace(old, new)

    settings = {"columns": COLUMNS, "max_shard_samples": 3}
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", breaks)
        with pytest.raises(SinkError):
            pack(source, out, overwrite=True, **settings)
    result = pack(source, out, **settings)
    assert not result.is_done_before
    assert len(samples(out)) == 9
    assert all("cls" in fields for fields in samples(out).values())


def test_what_is_remembered_is_no_shard(source, tmp_path):
    out = tmp_path / "out"
    pack(source, out, columns=COLUMNS)
    names = {path.name for path in out.iterdir()} - {path.name for path in out.glob("data-*.tar")}
    assert names == {"data.pack.json"}
