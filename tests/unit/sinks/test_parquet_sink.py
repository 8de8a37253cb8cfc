"""The Parquet output: each sample once, whatever is repeated, interrupted or added."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.tones import make_samples, write_tar

from pipeline import storage
from pipeline.engine.decoding.part import decode_part
from pipeline.errors import ConfigError, RunError, SinkError
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.shards.planning.plan import Part, expand, plan
from pipeline.sinks import ParquetConfig
from pipeline.sinks.origin import Origin
from pipeline.sinks.parquet import ParquetSink
from pipeline.sinks.quarantine import read_quarantine

DECODER = Decoder.build(
    ModalitiesConfig.model_validate({"image": {"fields": ["png"], "size": 8}}),
    None,
    metadata=["json"],
)


def sink(folder: Path, **identity: object) -> ParquetSink:
    return ParquetSink(
        str(folder), {"model": "m", **identity}, {"model": "m"}, ("image",), config=ParquetConfig()
    )


def shards(folder: Path, count: int, samples: int = 8) -> list[Part]:
    for index in range(count):
        if not (folder / f"x-{index}.tar").exists():
            write_tar(folder / f"x-{index}.tar", make_samples(samples, seed=index))
    return plan(expand(str(folder / "x-*.tar")))


def write(into: ParquetSink, parts: list[Part]) -> None:
    for part in parts:
        into.write(decode_part(part, DECODER))


def rows(folder: Path) -> list[tuple[str, str]]:
    """What a reader that globs sees, which must be what the manifest lists."""
    files = sorted(folder.glob("part-*.parquet"))
    manifest = json.loads((folder / "_manifest.json").read_text())
    assert [f.name for f in files] == sorted(f["name"] for f in manifest["files"])
    found = [r for f in files for r in pq.read_table(f).select(["shard", "key"]).to_pylist()]
    assert len(found) == manifest["num_rows"]
    return sorted((r["shard"], r["key"]) for r in found)


def expected(parts: list[Part]) -> list[tuple[str, str]]:
    tables = [decode_part(part, DECODER).to_pylist() for part in parts]
    return sorted((r["shard"], r["key"]) for table in tables for r in table if not r["error"])


def test_large_parts_are_files_of_their_own_and_small_ones_are_merged(tmp_path: Path) -> None:
    parts = shards(tmp_path, 4)
    tables = [decode_part(part, DECODER) for part in parts]
    out = sink(tmp_path / "out")
    large = replace(out, config=ParquetConfig(min_file_mb=1), columns=("image", "noise"))
    large.begin()
    for number, table in enumerate(tables):
        size = (1 << 18) if number == 1 else 1
        noise = np.random.default_rng(number).integers(0, 256, (len(table), size), dtype=np.uint8)
        large.write(table.append_column("noise", pa.array(list(noise))))
    large.commit(parts)
    assert rows(tmp_path / "out") == expected(parts)
    manifest = json.loads((tmp_path / "out" / "_manifest.json").read_text())
    files = [[part["id"] for part in file["parts"]] for file in manifest["files"]]
    assert files == [[parts[0].id], [parts[1].id], [parts[2].id, parts[3].id]]
    assert not list((tmp_path / "out" / "_parts").glob("*.parquet"))


def test_each_sample_once_after_repetition_and_growth(tmp_path: Path) -> None:
    parts = shards(tmp_path, 3)
    out = sink(tmp_path / "out")
    out.begin()
    assert out.done(parts) == set()
    write(out, parts[:2])
    write(out, parts[:1])  # a part done twice, as after a retry
    write(out, parts[2:])
    out.commit(parts)
    assert rows(tmp_path / "out") == expected(parts)

    again = sink(tmp_path / "out")
    again.begin()
    assert again.done(parts) == {part.id for part in parts}
    before = {f: f.stat().st_mtime_ns for f in (tmp_path / "out").rglob("*") if f.is_file()}
    again.commit(parts)
    after = {f: f.stat().st_mtime_ns for f in (tmp_path / "out").rglob("*") if f.is_file()}
    assert before == after, "a finished job changes nothing"

    more = shards(tmp_path, 5)
    again.begin()
    todo = [part for part in more if part.id not in again.done(more)]
    assert [part.shard for part in todo] == ["x-3.tar", "x-4.tar"]
    first = next((tmp_path / "out").glob("part-*.parquet"))
    write(again, todo)
    again.commit(more)
    assert rows(tmp_path / "out") == expected(more)
    assert first.exists(), "files whose parts did not change stay"


def test_a_changed_shard_replaces_its_rows(tmp_path: Path) -> None:
    parts = shards(tmp_path, 3)
    out = sink(tmp_path / "out")
    out.begin()
    write(out, parts)
    out.commit(parts)
    write_tar(tmp_path / "x-1.tar", make_samples(5, seed=99))
    changed = plan(expand(str(tmp_path / "x-*.tar")))
    todo = [part for part in changed if part.id not in out.done(changed)]
    assert [part.shard for part in todo] == ["x-1.tar"]
    write(out, todo)
    out.commit(changed)
    assert rows(tmp_path / "out") == expected(changed)


def test_interrupted_before_the_manifest_a_rerun_completes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = shards(tmp_path, 3)
    out = sink(tmp_path / "out")
    out.begin()
    write(out, parts)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(storage, "replace_if", killed)
        with pytest.raises(KeyboardInterrupt):
            out.commit(parts)
    assert not list((tmp_path / "out").glob("part-*.parquet")), "what is not published is not seen"
    again = sink(tmp_path / "out")
    again.begin()
    assert not list((tmp_path / "out").rglob("part-*.parquet")), "and is cleared away"
    assert again.done(parts) == {part.id for part in parts}
    again.commit(parts)
    assert rows(tmp_path / "out") == expected(parts)


def test_an_interrupted_write_leaves_nothing_visible(tmp_path: Path) -> None:
    def interrupted() -> None:
        with storage.create(str(tmp_path / "a.bin")) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not list(tmp_path.iterdir())


def test_another_identity_is_refused_and_named(tmp_path: Path) -> None:
    sink(tmp_path / "out", size=8).begin()
    with pytest.raises(ConfigError, match="size was 8 and is now 9"):
        sink(tmp_path / "out", size=9).begin()


def test_bad_rows_go_to_the_quarantine_and_the_manifest(tmp_path: Path) -> None:
    samples = make_samples(4, seed=1)
    samples["s0001"]["png"] = b"broken"
    path = write_tar(tmp_path / "x.tar", samples)
    path.write_bytes(path.read_bytes()[:-9000])  # cut inside the last sample
    parts = plan(expand(str(path)))
    out = sink(tmp_path / "out")
    out.begin()
    result = out.write(decode_part(parts[0], DECODER))
    out.commit(parts)
    table = read_quarantine(str(tmp_path / "out"))
    found = {(row["key"], row["reason"]) for row in table.to_pylist()}
    assert ("s0001", "bad_image") in found
    assert result.damages == sum(key is None for key, _ in found) == 1
    manifest = json.loads((tmp_path / "out" / "_manifest.json").read_text())
    assert all((tmp_path / "out" / name).exists() for name in manifest["quarantine"])
    assert len(manifest["quarantine"]) == 1


def test_columns_types_and_footer(tmp_path: Path) -> None:
    parts = shards(tmp_path, 1)
    out = sink(tmp_path / "out")
    out.begin()
    write(out, parts)
    out.commit(parts)
    [file] = (tmp_path / "out").glob("part-*.parquet")
    schema = pq.read_schema(file)
    assert schema.names == ["key", "shard", "modalities", "image", "json"]
    assert schema.field("image").type == pa.list_(pa.uint8(), 8 * 8 * 3)
    assert schema.field("image").metadata[b"shape"] == b"8,8,3"
    assert schema.metadata[b"model"] == b"m"


def test_a_block_that_lost_rows_is_a_bug(tmp_path: Path) -> None:
    parts = shards(tmp_path, 1)
    table = decode_part(parts[0], DECODER)
    with pytest.raises(RunError, match="this is a bug"):
        sink(tmp_path / "out").write(table.slice(1))


def test_a_part_whose_rows_are_gone_is_done_again(tmp_path: Path) -> None:
    """A job that is killed while it publishes may have removed rows, and not yet the record of them."""
    parts = shards(tmp_path, 2)
    out = sink(tmp_path / "out")
    out.begin()
    write(out, parts)
    record = tmp_path / "out" / "_commit" / f"{parts[1].id}.json"
    stale = record.read_bytes()
    out.commit(parts)
    out.commit(parts[:1])
    assert not record.exists(), "what is forgotten is forgotten whole"
    record.write_bytes(stale)
    assert out.done(parts) == {parts[0].id}
    write(out, parts[1:])
    out.commit(parts)
    assert rows(tmp_path / "out") == expected(parts)


def test_parts_that_are_pending_stay_done_and_are_not_seen(tmp_path: Path) -> None:
    parts = shards(tmp_path, 3)
    out = sink(tmp_path / "out")
    out.begin()
    write(out, parts)
    out.commit(parts[:1], pending=[parts[1].id, parts[2].id])
    assert rows(tmp_path / "out") == expected(parts[:1])
    out.begin()
    assert out.done(parts) == {part.id for part in parts}
    out.commit(parts[1:], keep=[parts[0].id])
    assert rows(tmp_path / "out") == expected(parts)
    assert not list((tmp_path / "out" / "_parts").glob("*.parquet"))


def test_another_input_is_refused_and_named(tmp_path: Path) -> None:
    parts = shards(tmp_path, 2)
    mine = Origin.of(str(tmp_path / "x-*.tar"))
    out = replace(sink(tmp_path / "out"), origin=mine, replacing="infer.replace")
    out.begin(parts)
    write(out, parts)
    out.commit(parts)
    before = rows(tmp_path / "out")
    write_tar(tmp_path / "y.tar", make_samples(3, seed=9))
    others = plan(expand(str(tmp_path / "y.tar")))
    other = replace(out, origin=Origin.of(str(tmp_path / "y.tar")))
    for step in (other.check, other.begin):
        with pytest.raises(ConfigError) as refused:
            step(others)
        assert "\n" not in str(refused.value)
        for word in (
            f"{tmp_path}/x-*.tar",
            f"{tmp_path}/y.tar",
            "infer.replace=true",
            "choose another",
        ):
            assert word in str(refused.value)
    assert rows(tmp_path / "out") == before
    out.begin(parts)  # who was refused has changed nothing

    other.begin(None)  # as a night does, which follows its input
    with pytest.raises(ConfigError):
        out.begin(parts[:1])


@pytest.mark.parametrize("change", ["settings", "input"])
def test_what_is_replaced_is_seen_until_the_new_rows_are_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    parts = shards(tmp_path, 3)
    old = replace(sink(tmp_path / "out"), origin=Origin.of("x"))
    old.begin(parts)
    write(old, parts)
    old.commit(parts[:2], pending=[parts[2].id])  # one is done that readers do not see
    before = rows(tmp_path / "out")
    if change == "settings":
        wanted, seed = parts, 7
        new = replace(
            sink(tmp_path / "out", model="n"), footer={"model": "n"}, origin=Origin.of("x")
        )
    else:
        wanted, seed = parts[:1], 0
        new = replace(old, origin=Origin.of("z"))
    with pytest.raises(ConfigError):
        new.begin(wanted)
    new = replace(new, replace=True)
    new.begin(wanted)
    assert rows(tmp_path / "out") == before
    done = new.done(wanted)
    assert done == ({parts[0].id} if change == "input" else set())
    write(new, [part for part in wanted if part.id not in done])
    if seed:
        # A writer of the job that was replaced lives on, and is faster with one part.
        old.write(decode_part(parts[0], DECODER))
        assert json.loads((tmp_path / "out" / "_commit" / f"{parts[0].id}.json").read_text())[
            "made"
        ]

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(storage, "replace_if", killed)
        with pytest.raises(KeyboardInterrupt):
            new.commit(wanted)
    manifest = json.loads((tmp_path / "out" / "_manifest.json").read_text())
    seen = [
        r
        for f in manifest["files"]
        for r in pq.read_table(tmp_path / "out" / f["name"]).to_pylist()
    ]
    assert sorted((r["shard"], r["key"]) for r in seen) == before, "the old rows are still whole"
    new.begin(wanted)
    assert new.done(wanted) == {part.id for part in wanted}, (
        "a replacement goes on where it was killed"
    )
    new.commit(wanted)
    assert rows(tmp_path / "out") == expected(wanted)
    files = list((tmp_path / "out").glob("part-*.parquet"))
    model = b"n" if change == "settings" else b"m"
    assert {pq.read_schema(file).metadata[b"model"] for file in files} == {model}


def test_a_part_of_a_job_that_was_replaced_is_never_published(tmp_path: Path) -> None:
    parts = shards(tmp_path, 2)
    old = sink(tmp_path / "out")
    old.begin(parts)
    write(old, parts)
    old.commit(parts)
    new = replace(sink(tmp_path / "out", model="n"), footer={"model": "n"}, replace=True)
    new.begin(parts)
    write(old, parts[:1])  # a worker of the old job, which does not know yet
    write(new, parts[1:])
    with pytest.raises(SinkError, match="1 parts were written by a job of other settings"):
        new.commit(parts)
    new.begin(parts)
    assert new.done(parts) == {parts[1].id}
    write(old, parts[:1])
    write(new, parts[:1])
    new.commit(parts)
    files = (tmp_path / "out").glob("part-*.parquet")
    assert {pq.read_schema(file).metadata[b"model"] for file in files} == {b"n"}
    assert rows(tmp_path / "out") == expected(parts)
